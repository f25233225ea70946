"""What the text formats share: lines of numbers, checked, with errors that name file and line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]

RECTANGLE = ("x", "y", "width", "height", "score")
ELLIPSE = ("major", "minor", "angle", "centre x", "centre y", "score")

_LARGEST = 1e9


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file.

    Raises:
        LabelError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as text: {error}") from error


def count(path: Path, number: int, line: str, of: str) -> int:
    """The number of faces that ``line`` (the ``number``-th) gives for image ``of``."""
    try:
        n = int(line)
        if n < 0:
            raise ValueError
    except ValueError:
        raise LabelError(
            f"{path}:{number}: expected the number of faces of {of!r}, found {line.strip()[:60]!r}"
        ) from None
    return n


def table(path: Path, first: int, lines: Sequence[str], columns: Sequence[str]) -> FloatArray:
    """One row a line, (n, len(columns)) float64; ``first`` is the number of the first line.

    Raises:
        LabelError: a line has not that many numbers, or they are not finite, or a size is negative.
    """
    try:
        values = np.array([[float(word) for word in line.split()] for line in lines], np.float64)
        values = values.reshape(len(lines), len(columns))
    except ValueError:
        _explain(path, first, lines, columns)
        raise  # not reached: _explain raises whenever parsing fails
    sizes = [columns.index(name) for name in ("width", "height", "major", "minor") if name in columns]
    bad = ~(np.abs(values) < _LARGEST).all(axis=1) | (values[:, sizes] < 0).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        what = "not finite" if not (np.abs(values[row]) < _LARGEST).all() else "a negative size"
        raise LabelError(
            f"{path}:{first + row}: {what} in {lines[row].strip()[:80]!r}; expected '{' '.join(columns)}' in pixels"
        )
    return values


def _explain(path: Path, first: int, lines: Sequence[str], columns: Sequence[str]) -> None:
    for number, line in enumerate(lines, first):
        words = line.split()
        try:
            _ = [float(word) for word in words]
        except ValueError:
            raise LabelError(f"{path}:{number}: expected '{' '.join(columns)}', found {line.strip()[:80]!r}") from None
        if len(words) != len(columns):
            raise LabelError(
                f"{path}:{number}: {len(words)} numbers, expected {len(columns)}: '{' '.join(columns)}'; "
                f"found {line.strip()[:80]!r}"
            )


def rectangles(values: FloatArray) -> Faces:
    """Faces of (n, 5) rows x, y, width, height, score."""
    boxes = np.concatenate((values[:, :2], values[:, :2] + values[:, 2:4]), axis=1)
    return Faces(boxes.astype(np.float32), values[:, 4].astype(np.float32))


def rectangle_lines(faces: Faces) -> list[str]:
    """The inverse of :func:`rectangles`, one line a face; every float32 in the fewest digits that give it
    back.
    """
    sizes = faces.boxes[:, 2:] - faces.boxes[:, :2]
    values = np.concatenate((faces.boxes[:, :2], sizes, faces.scores[:, None]), axis=1)
    return [" ".join(row) for row in values.astype(str)]
