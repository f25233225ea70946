"""The worst pictures of an evaluation, as SVG: the photograph as an embedded JPEG, boxes drawn over it."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.evaluation.landmark_mistakes import LandmarkMistakes
from facesmith.evaluation.mistakes import Kind, Mistakes

LONG_SIDE = 960
"""Photographs are embedded with at most this long side, pixels."""

MOST_BYTES = 160_000
"""A photograph is compressed more until its JPEG is below this, or the lowest quality is reached."""

_QUALITIES = (82, 65, 45, 30)
_LABELLED_BOXES = 40  # more scores than this in one picture only hide it
_DENSE = 60  # pictures with more boxes are shown larger

BOX_CLASSES = {
    "truth": "true face, found",
    "hit": "its detection",
    "missed": "true face, missed",
    "false": "false box, with its score",
    "neutral": "face that does not count",
}
"""CSS class of each kind of box -> its text in the legend."""

POINT_CLASSES = {"truth": "labelled points", "hit": "predicted points"}
"""The same for points."""


@dataclass(frozen=True)
class Choice:
    """A picture worth looking at: its index in the mistakes, and why."""

    image: int
    reason: str


def worst_pictures(mistakes: Mistakes, most: int) -> list[Choice]:
    """At most ``most`` pictures: half by faces missed, half by their best false box's score; none twice."""
    missed, false = mistakes.missed_by_image, mistakes.false_by_image
    by_missed = [int(i) for i in np.lexsort((-false, -missed)) if missed[i]][: (most + 1) // 2]
    chosen = [Choice(i, "many faces missed") for i in by_missed]
    confident = np.flatnonzero(mistakes.false)
    confident = confident[np.argsort(-mistakes.scores[confident], kind="stable")]
    others = [int(i) for i in dict.fromkeys(mistakes.images[confident].tolist()) if i not in by_missed]
    return chosen + [Choice(i, "a confident false box") for i in others[: most - len(chosen)]]


def draw_mistakes(mistakes: Mistakes, choice: Choice, path: Path) -> str:
    """A ``<figure>`` of one picture with its true faces, hits, misses and false boxes at the operating point.

    Raises:
        ImageError: the picture cannot be read.
    """
    i, labels = choice.image, mistakes.labels[choice.image]
    found, counts = mistakes.found[mistakes.face_images == i], labels.counts
    shown = mistakes.shown & (mistakes.images == i)
    hits, false = shown & (mistakes.kinds == Kind.HIT), mistakes.false & (mistakes.images == i)
    layers = {
        "neutral": labels.boxes[~counts],
        "truth": labels.boxes[counts & found],
        "hit": mistakes.boxes[hits],
        "missed": labels.boxes[counts & ~found],
        "false": mistakes.boxes[false],
    }
    missed, boxes = int((counts & ~found).sum()), int(false.sum())
    caption = (
        f"{mistakes.names[i]}: {missed} of {int(counts.sum())} faces missed, "
        f"{boxes} false box{'' if boxes == 1 else 'es'} ({choice.reason})"
    )
    return picture(images.read(path), caption, layers, texts=(mistakes.boxes[false], mistakes.scores[false]))


def picture(
    image: npt.NDArray[np.uint8],
    caption: str,
    layers: Mapping[str, npt.NDArray[np.floating]],
    *,
    texts: tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]] | None = None,
    points: Mapping[str, npt.NDArray[np.floating]] | None = None,
) -> str:
    """A ``<figure>``: the photograph, boxes (n, 4) and points (n, 2) of each CSS class, scores at boxes."""
    height, width = image.shape[:2]
    unit = max(width, height) / LONG_SIDE
    dense = sum(map(len, layers.values())) > _DENSE
    letters = (13 if dense else 20) * unit
    parts = [f'<image width="{width}" height="{height}" href="{data_uri(image)}"/>']
    for name, boxes in layers.items():
        parts += _twice(name, _box_path(boxes))
    for name, dots in (points or {}).items():
        parts += _twice(name, _point_path(dots, 8 * unit))
    if texts is not None and len(texts[0]) <= _LABELLED_BOXES:
        for (x, y, *_), score in zip(texts[0].tolist(), texts[1].tolist(), strict=True):
            place = f'x="{max(x, 0):.1f}" y="{max(y - 4 * unit, letters):.1f}"'
            style = f'style="font-size:{letters:.1f}px;stroke-width:{letters / 5:.1f}"'
            parts.append(f'<text class="score" {place} {style}>{score:.2f}</text>')
    drawing = f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
    text = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure class="picture{" dense" if dense else ""}">{drawing}{text}</figure>'


def draw_face(mistakes: LandmarkMistakes, face: int, paths: Mapping[str, Path]) -> str:
    """A ``<figure>`` of one face, cut out with some surroundings, with labelled and predicted points.

    Raises:
        ImageError: the picture cannot be read.
    """
    truth, error = mistakes.truth, mistakes.errors[face]
    name = truth.images[truth.image[face]]
    image = images.read(paths[name])
    labelled, found = truth.points[face], mistakes.points[face]
    corners = np.concatenate([labelled, truth.boxes[face].reshape(2, 2)])
    corners = np.concatenate([corners, found[np.isfinite(found).all(axis=1)]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = 0.25 * (high - low).max()
    left, top = np.maximum(np.floor(low - room), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high + room), image.shape[1::-1]).astype(int)
    cut = image[top:bottom, left:right]
    if not cut.size:  # labels beside the picture
        cut, left, top = image, 0, 0
    points = {"truth": labelled - (left, top), "hit": found - (left, top)}
    text = f"{name}: " + (f"NME {error:.3f}" if np.isfinite(error) else "not found")
    return picture(cut, text, {}, points=points)


def picture_legend(classes: Mapping[str, str]) -> str:
    """The legend of the boxes' or points' colours."""
    entries = []
    for name, text in classes.items():
        swatch = f'<svg viewBox="0 0 22 14"><rect class="box {name}" x="3" y="2" width="16" height="10"/></svg>'
        entries.append(f"<li>{swatch}{html.escape(text)}</li>")
    return f'<ul class="legend">{"".join(entries)}</ul>'


def data_uri(image: npt.NDArray[np.uint8]) -> str:
    """(H, W, 3) uint8 RGB as a JPEG data URI of limited side and size."""
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(width, height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    reversed_channels = np.ascontiguousarray(image[:, :, ::-1])
    data = b""
    for quality in _QUALITIES:
        data = cv2.imencode(".jpg", reversed_channels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _twice(name: str, path: str) -> Sequence[str]:
    """A path over a dark shadow of itself, so that it is seen on light and dark photographs."""
    return [f'<path class="shadow" d="{path}"/>', f'<path class="box {name}" d="{path}"/>'] if path else []


def _box_path(boxes: npt.NDArray[np.floating]) -> str:
    return "".join(f"M{x1:.1f} {y1:.1f}H{x2:.1f}V{y2:.1f}H{x1:.1f}Z" for x1, y1, x2, y2 in boxes.tolist())


def _point_path(points: npt.NDArray[np.floating], radius: float) -> str:
    r = radius
    return "".join(
        f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
        for x, y in points.tolist()
        if np.isfinite((x, y)).all()
    )
