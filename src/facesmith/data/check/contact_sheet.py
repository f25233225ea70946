"""The worst findings as one picture: a row a kind, a tile a finding."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facesmith import images
from facesmith.data.check.problems import Kind, Problem
from facesmith.data.check.report import worst
from facesmith.data.labelled import LabelSet
from facesmith.errors import ImageError
from facesmith.faces import FIVE_OF, Faces
from facesmith.media import drawing

TILE, CAPTION, HEADING = 220, 60, 34
"""Side of a tile, and heights of the text below it and above a row, pixels."""

ACROSS = 6
"""Tiles of a row."""

_AROUND = 1.0  # of a face's side is shown on each side of it
_PAPER, _INK = 250, (30, 30, 30)


def contact_sheet(problems: Sequence[Problem], sets: Sequence[LabelSet]) -> images.RGB:
    """(H, W, 3) uint8: the up to six worst findings of each kind, but for missing pictures.

    A face is shown with its surroundings; boxes green, landmarks left eye red, right eye blue, nose yellow, left mouth
    corner pink, right mouth corner cyan. Of near-duplicates both pictures are shown.
    """
    known = {one.name: one for one in sets}
    rows = []
    for kind in Kind:
        found = [] if kind in (Kind.MISSING, Kind.UNREADABLE) else worst(problems, kind)
        tiles = [_tile(problem, known[problem.labels]) for problem in found[:ACROSS]]
        if tiles:
            blank = np.full_like(tiles[0], _PAPER)
            rows.append(_text(f"{kind.value}: {len(found):,}", ACROSS * TILE, HEADING, 20))
            rows.append(np.concatenate([*tiles, *[blank] * (ACROSS - len(tiles))], axis=1))
    if not rows:
        rows = [_text("nothing to show", ACROSS * TILE, HEADING, 20)]
    return np.concatenate(rows)


def _tile(problem: Problem, labels: LabelSet) -> images.RGB:
    try:
        if problem.other is not None:
            pictures = [_fitted(images.read(path), TILE // 2, TILE) for path in _both(problem, labels)]
            picture = np.concatenate(pictures, axis=1)
        else:
            picture = _fitted(_face(problem, labels), TILE, TILE)
    except ImageError:
        picture = np.full((TILE, TILE, 3), 128, np.uint8)
    words = (_end(word) for word in (problem.path, *problem.detail.split(" ")))
    return np.concatenate([picture, _text(" ".join(words).replace(" ", "\n", 1), TILE, CAPTION, 11)])


def _end(word: str) -> str:
    """The end of a long path."""
    return word if len(word) <= 34 else "…" + word[-33:]


def _both(problem: Problem, labels: LabelSet) -> tuple[Path, Path]:
    return labels.root / problem.path, Path(problem.other or "")


def _face(problem: Problem, labels: LabelSet) -> images.RGB:
    """The part of the picture around the face, or all of it, with what is labelled there."""
    image = images.read(labels.root / problem.path)
    label = next(one for one in labels.images if one.path == problem.path)
    faces = Faces(label.boxes, np.ones(len(label.boxes), np.float32), label.landmarks[:, list(FIVE_OF[labels.points])])
    if problem.face is None:
        return drawing.draw(image, faces, scores=False)
    corners = np.concatenate([label.boxes[problem.face].reshape(2, 2), label.landmarks[problem.face]])
    low, high = np.nanmin(corners, axis=0), np.nanmax(corners, axis=0)
    middle, half = (low + high) / 2, max((high - low).max() * (0.5 + _AROUND), 16)
    x1, y1 = np.clip(np.floor(middle - half), 0, np.array(image.shape[1::-1]) - 1).astype(int)
    x2, y2 = np.clip(np.ceil(middle + half), (x1 + 1, y1 + 1), image.shape[1::-1]).astype(int)
    scale = TILE / max(x2 - x1, y2 - y1)
    cut = cv2.resize(image[y1:y2, x1:x2], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    near = faces[[problem.face, *(i for i in range(len(faces)) if i != problem.face)][:50]]
    exact = cut.shape[1] / (x2 - x1), cut.shape[0] / (y2 - y1)
    moved = near.mapped(exact, (-x1 * exact[0], -y1 * exact[1]))
    return drawing.draw(np.asarray(cut, np.uint8), moved, scores=False)


def _fitted(image: images.RGB, width: int, height: int) -> images.RGB:
    """``image`` shrunk or enlarged into ``width`` x ``height``, on grey."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale)))
    canvas = np.full((height, width, 3), 200, np.uint8)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[y : y + size[1], x : x + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return canvas


def _text(text: str, width: int, height: int, size: int) -> images.RGB:
    paper = Image.new("RGB", (width, height), (_PAPER,) * 3)
    font = ImageFont.load_default(size)
    lines = [_wrapped(line, font, width - 8) for line in text.split("\n")]
    ImageDraw.Draw(paper).multiline_text((4, 3), "\n".join(lines), fill=_INK, font=font, spacing=1)
    return np.array(paper)


def _wrapped(line: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int) -> str:
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width or not lines[-1] else [*lines, word]
    return "\n".join(lines)
