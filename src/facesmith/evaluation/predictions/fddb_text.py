"""FDDB's format: one text file for all images.

For each image its name (``2002/07/19/big/img_160``), the number of faces, and a line a face: rectangles
``x y width height score`` or ellipses ``major minor angle cx cy score``, in pixels and radians. A file holds
one kind. The same layout with ellipses and the score 1 is FDDB's ground truth.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from facesmith import files
from facesmith.errors import LabelError
from facesmith.evaluation.ellipses import Ellipses
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predictions import text
from facesmith.evaluation.predictions.alignment import Predictions
from facesmith.faces import Faces


class _Block(NamedTuple):
    name: str
    first: int  # number of the first face's line
    lines: list[str]


def read_fddb_text(path: str | os.PathLike[str]) -> Predictions:
    """Read rectangles.

    Raises:
        LabelError: the file is malformed or holds ellipses.
    """
    blocks = _blocks(Path(path))
    if _is_elliptic(blocks):
        raise LabelError(f"{path}: holds ellipses, which only FDDB compares; expected '{' '.join(text.RECTANGLE)}'")
    return {block.name: text.rectangles(rows) for block, rows in _tables(Path(path), blocks, text.RECTANGLE)}


def read_fddb_ellipses(path: str | os.PathLike[str]) -> dict[str, Ellipses]:
    """Read ellipses.

    Raises:
        LabelError: the file is malformed or holds rectangles.
    """
    return _ellipses(Path(path), _blocks(Path(path)))


def read_fddb_regions(path: str | os.PathLike[str]) -> Predictions | dict[str, Ellipses]:
    """Read ellipses if the first face is one (six numbers, not five), otherwise rectangles.

    Raises:
        LabelError: the file is malformed.
    """
    blocks = _blocks(Path(path))
    if _is_elliptic(blocks):
        return _ellipses(Path(path), blocks)
    return {block.name: text.rectangles(rows) for block, rows in _tables(Path(path), blocks, text.RECTANGLE)}


def write_fddb_text(predictions: Mapping[str, Faces | Ellipses], path: str | os.PathLike[str]) -> None:
    """Write rectangles or ellipses, whole or not at all."""
    lines = list[str]()
    for name, faces in predictions.items():
        rows = text.rectangle_lines(faces) if isinstance(faces, Faces) else faces.lines()
        lines += [name, str(len(rows)), *rows]
    files.write_text(path, "".join(f"{line}\n" for line in lines))


def _ellipses(path: Path, blocks: Sequence[_Block]) -> dict[str, Ellipses]:
    tables = _tables(path, blocks, text.ELLIPSE)
    return {block.name: Ellipses(rows[:, :5], rows[:, 5]) for block, rows in tables}


def _tables(path: Path, blocks: Sequence[_Block], columns: Sequence[str]) -> Iterator[tuple[_Block, text.FloatArray]]:
    return ((block, text.table(path, block.first, block.lines, columns)) for block in blocks)


def _is_elliptic(blocks: Sequence[_Block]) -> bool:
    first = next((block.lines[0] for block in blocks if block.lines), "")
    return len(first.split()) == len(text.ELLIPSE) and _is_numeric(first)


def _blocks(path: Path) -> list[_Block]:
    seen = dict[str, int]()
    blocks = list(_walk(path, text.read_lines(path)))
    for block in blocks:
        if block.name in seen:
            raise LabelError(
                f"{path}:{block.first - 2}: {block.name!r} again; it is in line {seen[block.name]} already"
            )
        seen[block.name] = block.first - 2
    return blocks


def _walk(path: Path, lines: list[str]) -> Iterator[_Block]:
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise LabelError(f"{path}: is empty; expected image name, number of faces, a line a face")
    at = 0
    while at < len(lines):
        name = image_name(lines[at])
        if not name or _is_numeric(name):
            raise LabelError(f"{path}:{at + 1}: expected an image's name, found {name[:60]!r}; is a count too small?")
        if at + 1 == len(lines):
            raise LabelError(f"{path}:{at + 1}: the file ends after the name {name!r}; the number of faces must follow")
        n = text.count(path, at + 2, lines[at + 1], name)
        rows = lines[at + 2 : at + 2 + n]
        short = next((i for i, row in enumerate(rows) if not _is_numeric(row)), len(rows))
        if short < n and (short == len(rows) or len(rows[short].split()) == 1):
            raise LabelError(f"{path}:{at + 2}: says {n} faces for {name!r}, but {short} lines of numbers follow")
        yield _Block(name, at + 3, rows)
        at += 2 + n


def _is_numeric(line: str) -> bool:
    """Whether ``line`` is a list of two or more numbers, as a face's line is."""
    words = line.split()
    try:
        return len([float(word) for word in words]) > 1
    except ValueError:
        return False
