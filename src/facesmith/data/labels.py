"""Readers of label files: RetinaFace's layout and WIDER FACE's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.box_styles import WIDER
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF

FloatArray = npt.NDArray[np.float32]

_NO_POINTS = np.zeros((0, 2), np.float32)


class LabelledImage(NamedTuple):
    """One image's labels, in pixels of the stored image.

    ``path`` is relative to the data folder; ``boxes`` (n, 4) float32 x1, y1, x2, y2; ``landmarks`` (n, K, 2)
    float32, NaN where a face has none, K 5 or 19 and the same in all of a file; ``ignored`` (n,) bool, faces marked
    invalid.
    """

    path: str
    boxes: FloatArray
    landmarks: FloatArray
    ignored: npt.NDArray[np.bool_]


def read_labels(path: str | Path) -> list[LabelledImage]:
    """Read a label file, recognising its layout by the first line.

    RetinaFace's: ``# relative/path`` and a line a face, ``x y w h``, optionally followed by five times
    ``x y flag`` (left eye, right eye, nose, left mouth corner, right mouth corner; −1 −1: none) and a blur
    value. 19 landmarks a face, AFLW's without the ears, take the place of the five in the same way
    (:data:`facesmith.faces.FIVE_OF` has their order). A face with landmarks and the box −1 −1 −1 −1 gets its box
    from the five, in WIDER FACE's style.

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
    blocks = list(_retinaface_blocks(path, lines) if first.startswith("#") else _wider_blocks(path, lines))
    points = max((len(row.points) for _, rows in blocks for row in rows), default=0) or 5
    return [_labelled(name, rows, points) for name, rows in blocks]


class _Row(NamedTuple):
    """A face: x, y, w, h; landmarks (K, 2), or (0, 2) where the line has none; whether it is ignored."""

    box: FloatArray
    points: FloatArray
    ignored: bool


def _retinaface_blocks(path: Path, lines: list[str]) -> Iterator[tuple[str, list[_Row]]]:
    name, rows, points = "", list[_Row](), 0
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            if name:
                yield name, rows
            name, rows = line[1:].strip(), []
            if not name:
                raise LabelError(f"{path}:{number}: '#' must be followed by an image path")
        elif line.strip():
            row = _retinaface_row(path, number, line)
            points = points or len(row.points)
            if len(row.points) not in (0, points):
                raise LabelError(
                    f"{path}:{number}: {len(row.points)} landmarks, where lines before have {points}; "
                    "a file has one number of landmarks"
                )
            rows.append(row)
    yield name, rows


def _retinaface_row(path: Path, number: int, line: str) -> _Row:
    values = _numbers(path, number, line)
    if len(values) == 4:
        return _Row(values, _NO_POINTS, False)
    for count in FIVE_OF:
        if len(values) - 4 - 3 * count in (0, 1):  # there may be a blur value
            points = values[4 : 4 + 3 * count].reshape(count, 3)[:, :2]
            # One missing point is reason enough: a loss needs them all.
            missing = (points == -1).all(axis=1).any()
            return _Row(values[:4], np.full_like(points, np.nan) if missing else points, False)
    raise LabelError(f"{path}:{number}: {len(values)} numbers; expected x y w h, or these and 5 or 19 times x y flag")


def _wider_blocks(path: Path, lines: list[str]) -> Iterator[tuple[str, list[_Row]]]:
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
        rows = list[_Row]()
        for number in range(at + 3, at + 3 + max(count, 1)):
            if number > len(lines):
                raise LabelError(f"{path}:{number}: the file ends within the {count} faces of {name}")
            values = _numbers(path, number, lines[number - 1])
            if len(values) not in (4, 10):
                raise LabelError(f"{path}:{number}: {len(values)} numbers; expected x y w h and six attributes")
            rows.append(_Row(values[:4], _NO_POINTS, len(values) == 10 and values[7] == 1))
        yield name, rows if count else []
        at += 2 + max(count, 1)


def _numbers(path: Path, number: int, line: str) -> FloatArray:
    try:
        values = np.array([float(word) for word in line.split()])
    except ValueError:
        raise LabelError(f"{path}:{number}: not a line of numbers: {line.strip()[:60]!r}") from None
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise LabelError(f"{path}:{number}: NaN or infinity in {line.strip()[:60]!r}")
    return values.astype(np.float32)


def _labelled(name: str, rows: list[_Row], count: int) -> LabelledImage:
    boxes = np.array([row.box for row in rows], np.float32).reshape(-1, 4)
    points = np.full((len(rows), count, 2), np.nan, np.float32)
    for place, row in zip(points, rows, strict=True):
        place[: len(row.points)] = row.points
    ignored = np.array([row.ignored for row in rows], np.bool_)
    boxless = (boxes == -1).all(axis=1) & np.isfinite(points).all(axis=(1, 2))
    boxes[:, 2:] += boxes[:, :2]
    if boxless.any():
        boxes[boxless] = WIDER.boxes(points[boxless][:, FIVE_OF[count]])
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return LabelledImage(name, boxes[real], points[real], ignored[real])
