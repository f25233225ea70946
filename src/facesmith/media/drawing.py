"""Faces drawn into a picture: boxes, scores, landmarks."""

import functools
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facesmith import images
from facesmith.faces import Faces, Landmark

Colour = tuple[int, int, int]
Mask = npt.NDArray[np.bool_]

BOX_COLOUR: Colour = (64, 224, 120)
TRACK_COLOURS: tuple[Colour, ...] = (
    (64, 224, 120),
    (255, 176, 46),
    (92, 172, 255),
    (255, 110, 164),
    (190, 142, 255),
    (64, 220, 220),
    (240, 226, 70),
    (255, 128, 88),
)
"""A track keeps the colour ``TRACK_COLOURS[track_id % 8]``."""

LANDMARK_COLOURS: dict[Landmark, Colour] = {
    Landmark.LEFT_EYE: (255, 64, 64),
    Landmark.RIGHT_EYE: (64, 128, 255),
    Landmark.NOSE: (255, 226, 48),
    Landmark.LEFT_MOUTH: (255, 104, 232),
    Landmark.RIGHT_MOUTH: (48, 240, 240),
}

_DARK: Colour = (16, 20, 24)
_SHIFT = 4  # OpenCV takes positions in 1/16 pixel


def draw(
    image: npt.NDArray[np.uint8], faces: Faces, *, scores: bool = True, landmarks: bool = True
) -> npt.NDArray[np.uint8]:
    """Draw ``faces`` into a copy of ``image``; better faces lie on top.

    Lines, dots and letters grow with the picture, so that it can be shown at any size, but never so far that
    they cover a small face. Tracks have a colour each, and their number before the score.

    Args:
        image: any array that :func:`facesmith.images.read` takes.
        faces: in pixels of ``image``; what lies outside is cut off.
        scores: write the score of each face, with two decimals.
        landmarks: draw those landmarks that are there.

    Returns:
        (H, W, 3) uint8, RGB; never ``image`` itself.

    Raises:
        ImageError: ``image`` is not usable as one.
    """
    canvas = images.read(image).copy()
    marks = _marks(faces[np.argsort(faces.scores, kind="stable")], canvas.shape[1::-1], scores, landmarks)
    for mark in marks:
        _draw_box(canvas, mark)
    for mark in marks:
        _draw_landmarks(canvas, mark)
    for mark in marks:
        _draw_label(canvas, mark)
    return canvas


class _Mark(NamedTuple):
    """How one face is drawn; plain numbers, worked out for all faces at once. Positions are OpenCV's, in 1/16 pixel.

    Attributes:
        first, last: corners of the box.
        line: width of its line, in pixels.
        colour: of box and label.
        points: name and position of each landmark that can be seen.
        radius: of a landmark, in pixels.
        text: the label; empty: there is none.
        letters: their size, in pixels.
        left, above, below: where the label's left edge, its lower edge and, if it is to lie below the box, its upper
            edge belongs, in pixels.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    line: int
    colour: Colour
    points: list[tuple[Landmark, tuple[int, int]]]
    radius: float
    text: str
    letters: int
    left: int
    above: float
    below: float


def _marks(faces: Faces, size: tuple[int, int], scores: bool, landmarks: bool) -> list[_Mark]:
    """A mark for each of ``faces`` in a picture of ``size`` (width, height)."""
    boxes, longer = faces.boxes.astype(np.float64), max(size)
    side = np.maximum(np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]), 0)
    line = np.maximum(np.rint(np.minimum(longer / 300, side / 20)), 1)
    edge = (2 * line + 8)[:, None]  # far enough outside to be invisible; OpenCV draws no box of a million pixels
    corners = _fixed(np.clip(boxes, -edge, np.tile(size, 2) + edge)).tolist()
    radius = np.maximum(np.minimum(longer / 180, side / 24), 1)
    rim = line / 2 + 1
    seen: Mask = np.all((boxes[:, 2:] > 0) & (boxes[:, :2] < size), axis=1)
    numbers = zip(
        line.astype(int).tolist(),
        radius.tolist(),
        np.maximum(np.rint(np.minimum(longer / 42, side * 0.3)), 10).astype(int).tolist(),
        np.rint(np.clip(boxes[:, 0] - rim, -longer, 2 * longer)).astype(int).tolist(),
        (boxes[:, 1] - rim).tolist(),
        (boxes[:, 3] + rim).tolist(),
        strict=True,
    )
    tracks = [-1] * len(faces) if faces.track_ids is None else faces.track_ids.tolist()
    points = _points(faces, size, radius) if landmarks else [[] for _ in tracks]
    return [
        _Mark(
            (corners[i][0], corners[i][1]),
            (corners[i][2], corners[i][3]),
            width,
            BOX_COLOUR if tracks[i] < 0 else TRACK_COLOURS[tracks[i] % len(TRACK_COLOURS)],
            points[i],
            dot,
            _label(tracks[i], float(faces.scores[i]) if scores else None) if seen[i] else "",
            letters,
            left,
            above,
            below,
        )
        for i, (width, dot, letters, left, above, below) in enumerate(numbers)
    ]


def _points(
    faces: Faces, size: tuple[int, int], radius: npt.NDArray[np.float64]
) -> list[list[tuple[Landmark, tuple[int, int]]]]:
    """Names and positions of those landmarks of each face that are not outside, nor NaN."""
    if faces.landmarks is None:
        return [[] for _ in range(len(faces))]
    far = 2 * radius[:, None, None]
    seen: Mask = np.all((faces.landmarks > -far) & (faces.landmarks < np.array(size) + far), axis=2)  # (n, 5)
    places = _fixed(np.where(seen[..., None], faces.landmarks, 0)).tolist()
    return [
        [(name, (place[name][0], place[name][1])) for name in Landmark if shown[name]]
        for place, shown in zip(places, seen.tolist(), strict=True)
    ]


def _label(track: int, score: float | None) -> str:
    parts = ([f"#{track}"] if track >= 0 else []) + ([f"{score:.2f}"] if score is not None else [])
    return " ".join(parts)


def _draw_box(canvas: npt.NDArray[np.uint8], mark: _Mark) -> None:
    if mark.line > 1:  # a dark rim tells the line from any background
        cv2.rectangle(canvas, mark.first, mark.last, _DARK, mark.line + 2, cv2.LINE_AA, _SHIFT)
    cv2.rectangle(canvas, mark.first, mark.last, mark.colour, mark.line, cv2.LINE_AA, _SHIFT)


def _draw_landmarks(canvas: npt.NDArray[np.uint8], mark: _Mark) -> None:
    for name, place in mark.points:
        if mark.radius > 1.5:
            _dot(canvas, place, mark.radius * 1.15 + 0.8, _DARK)
        _dot(canvas, place, mark.radius, LANDMARK_COLOURS[name])


def _draw_label(canvas: npt.NDArray[np.uint8], mark: _Mark) -> None:
    if not mark.text:
        return
    height, width = canvas.shape[:2]
    label = _shades(mark.colour)[_text(mark.text, mark.letters)]
    y = _free_place(mark.above - len(label), mark.below, len(label), height)
    x = min(max(mark.left, 0), max(width - label.shape[1], 0))
    place = canvas[y : y + label.shape[0], x : x + label.shape[1]]
    place[:] = label[: place.shape[0], : place.shape[1]]


def _free_place(above: float, below: float, label: int, height: int) -> int:
    """The row where a label starts: above its box, else below, else at the upper edge of the picture."""
    if above >= -0.3 * label or below + label > height:
        return max(0, min(round(above), height - label))
    return round(below)


@functools.lru_cache(maxsize=1024)
def _text(text: str, size: int) -> npt.NDArray[np.uint8]:
    """(h, w) coverage, 0 to 255, of ``text`` with a margin around it; equally high for all texts."""
    font, top, bottom = _font(size)
    left, _, right, _ = font.getbbox(text)
    margin = max(2, round(size * 0.22))
    picture = Image.new("L", (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin))
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, fill=255, font=font)
    return np.array(picture)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> tuple[ImageFont.ImageFont | ImageFont.FreeTypeFont, float, float]:
    """The font, and top and bottom of the letters that labels are made of."""
    font = ImageFont.load_default(size)
    _, top, _, bottom = font.getbbox("#0123456789.")
    return font, top, bottom


@functools.lru_cache(maxsize=64)
def _shades(colour: Colour) -> npt.NDArray[np.uint8]:
    """(256, 3) coverage -> colour: dark letters on ``colour``."""
    ink = np.arange(256)[:, None]
    shades: npt.NDArray[np.uint8] = (_DARK + (np.array(colour) - _DARK) * (255 - ink) / 255).round().astype(np.uint8)
    return shades


def _dot(canvas: npt.NDArray[np.uint8], centre: tuple[int, int], radius: float, colour: Colour) -> None:
    cv2.circle(canvas, centre, round(radius * (1 << _SHIFT)), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _fixed(points: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Points in the fixed-point form of OpenCV, which counts from the centre of the first pixel."""
    fixed: npt.NDArray[np.int64] = np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int64)
    return fixed
