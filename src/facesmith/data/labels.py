"""Readers of label files: RetinaFace's layout and WIDER FACE's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.box_styles import WIDER
from facesmith.errors import LabelError

FloatArray = npt.NDArray[np.float32]


class LabelledImage(NamedTuple):
    """One image's labels, in pixels of the stored image.

    ``path`` is relative to the data folder; ``boxes`` (n, 4) float32 x1, y1, x2, y2; ``landmarks`` (n, 5, 2)
    float32, NaN where a face has none; ``ignored`` (n,) bool, faces marked invalid.
    """

    path: str
    boxes: FloatArray
    landmarks: FloatArray
    ignored: npt.NDArray[np.bool_]


def read_labels(path: str | Path) -> list[LabelledImage]:
    """Read a label file, recognising its layout by the first line.

    RetinaFace's: ``# relative/path`` and a line a face, ``x y w h``, optionally followed by five times
    ``x y flag`` (left eye, right eye, nose, left mouth corner, right mouth corner; −1 −1: none) and a blur
    value. A face with landmarks and the box −1 −1 −1 −1 gets its box from the landmarks, in WIDER FACE's
    style.

    WIDER FACE's own: a line with the path, a line with the count, then ``x y w h blur expression illumination
    invalid occlusion pose`` a face (one line of zeros where the count is 0). Faces marked invalid are
    ignored.

    Boxes without area are dropped (WIDER FACE has a few).

    Raises:
        LabelError: the file is missing, empty or malformed; names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as a label file: {error}") from error
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise LabelError(f"{path}: is empty; expected '# relative/path' and a line a face")
    blocks = _retinaface_blocks(path, lines) if first.startswith("#") else _wider_blocks(path, lines)
    return [_labelled(name, rows) for name, rows in blocks]


def _retinaface_blocks(path: Path, lines: list[str]) -> Iterator[tuple[str, FloatArray]]:
    name, rows = "", list[FloatArray]()
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            if name:
                yield name, _stack(rows)
            name, rows = line[1:].strip(), []
            if not name:
                raise LabelError(f"{path}:{number}: '#' must be followed by an image path")
        elif line.strip():
            values = _numbers(path, number, line)
            if len(values) not in (4, 19, 20):
                raise LabelError(
                    f"{path}:{number}: {len(values)} numbers; expected x y w h, or these and five times x y flag"
                )
            row = np.full(15, np.nan, np.float32)
            row[:4] = values[:4]
            if len(values) > 4:
                points = values[4:19].reshape(5, 3)[:, :2]
                # One missing point is reason enough: a loss needs all five.
                row[4:14] = np.nan if (points == -1).all(axis=1).any() else points.ravel()
            row[14] = 0
            rows.append(row)
    yield name, _stack(rows)


def _wider_blocks(path: Path, lines: list[str]) -> Iterator[tuple[str, FloatArray]]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        name = lines[at].strip()
        try:
            count = int(lines[at + 1])
        except (IndexError, ValueError):
            count = -1
        if count < 0:
            raise LabelError(f"{path}:{at + 2}: expected the number of faces of {name}")
        rows = list[FloatArray]()
        for number in range(at + 3, at + 3 + max(count, 1)):
            if number > len(lines):
                raise LabelError(f"{path}:{number}: the file ends within the {count} faces of {name}")
            values = _numbers(path, number, lines[number - 1])
            if len(values) not in (4, 10):
                raise LabelError(f"{path}:{number}: {len(values)} numbers; expected x y w h and six attributes")
            row = np.full(15, np.nan, np.float32)
            row[:4] = values[:4]
            row[14] = values[7] if len(values) == 10 else 0
            rows.append(row)
        yield name, _stack(rows if count else [])
        at += 2 + max(count, 1)


def _numbers(path: Path, number: int, line: str) -> FloatArray:
    try:
        values = np.array([float(word) for word in line.split()])
    except ValueError:
        raise LabelError(f"{path}:{number}: not a line of numbers: {line.strip()[:60]!r}") from None
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise LabelError(f"{path}:{number}: NaN or infinity in {line.strip()[:60]!r}")
    return values.astype(np.float32)


def _stack(rows: list[FloatArray]) -> FloatArray:
    return np.stack(rows) if rows else np.zeros((0, 15), np.float32)


def _labelled(name: str, rows: FloatArray) -> LabelledImage:
    boxes, points = rows[:, :4].copy(), rows[:, 4:14].reshape(-1, 5, 2)
    boxless = (boxes == -1).all(axis=1) & np.isfinite(points).all(axis=(1, 2))
    boxes[:, 2:] += boxes[:, :2]
    if boxless.any():
        boxes[boxless] = WIDER.boxes(points[boxless])
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return LabelledImage(name, boxes[real], points[real], rows[real, 14] == 1)
