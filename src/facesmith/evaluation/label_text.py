"""The plain label text that every protocol also accepts: ``# image`` and then one line of numbers a face."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation.names import image_name

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Row:
    """One face: its finite numbers, and ``file:line`` for messages."""

    values: FloatArray
    where: str


def read_blocks(path: Path, columns: dict[int, str]) -> dict[str, list[Row]]:
    """Image name without suffix -> its faces in file order, possibly none. Blank lines are skipped.

    Args:
        columns: the row lengths that are allowed, and what their numbers are, e.g. ``{4: "x y w h"}``.

    Raises:
        LabelError: names the line: not numbers, not finite, a wrong count, or an image named twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as text: {error}") from error
    images: dict[str, list[Row]] = {}
    rows: list[Row] | None = None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        if line.startswith("#"):
            name = image_name(line[1:])
            if name in images:
                raise LabelError(f"{where}: image {name!r} was named before")
            rows = images.setdefault(name, [])
            continue
        if rows is None:
            raise LabelError(f"{where}: expected '# image name' before the first face, found {line[:60]!r}")
        rows.append(Row(_numbers(line, where, columns), where))
    return images


def read_boxes(path: Path) -> dict[str, FloatArray]:
    """Image name -> (m, 5) x1, y1, x2, y2, ignored (0 or 1), from ``x y w h`` and ``x y w h ignored``.

    Raises:
        LabelError: as :func:`read_blocks`, or a size is negative, or ``ignored`` is neither 0 nor 1.
    """
    images: dict[str, FloatArray] = {}
    for name, rows in read_blocks(path, {4: "x y w h", 5: "x y w h ignored"}).items():
        for row in rows:
            if (row.values[2:4] < 0).any():
                raise LabelError(f"{row.where}: width and height must not be negative")
            if not np.isin(row.values[4:], (0, 1)).all():
                raise LabelError(f"{row.where}: the fifth number must be 0, or 1 for a face to ignore")
        values = np.array([np.append(row.values, 0.0)[:5] for row in rows]).reshape(-1, 5)
        values[:, 2:4] += values[:, :2]
        images[name] = values
    return images


def _numbers(line: str, where: str, columns: dict[int, str]) -> FloatArray:
    wanted = " or ".join(f"'{names}' ({count} numbers)" for count, names in columns.items())
    try:
        values = np.array([float(word) for word in line.split()], np.float64)
    except ValueError:
        raise LabelError(f"{where}: expected {wanted}, found {line[:60]!r}") from None
    if len(values) not in columns:
        raise LabelError(f"{where}: {len(values)} numbers, expected {wanted}")
    if not np.isfinite(values).all():
        raise LabelError(f"{where}: a number is not finite: {line[:60]!r}")
    return values
