"""WIDER FACE's submission format: a folder an event, a text file an image.

The file ``0--Parade/0_Parade_Parade_0_12.txt`` holds the image's name, the number of faces, and a line
``x y width height score`` a face, in pixels.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from facesmith import files
from facesmith.errors import LabelError
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predictions import text
from facesmith.evaluation.predictions.alignment import Predictions
from facesmith.faces import Faces


def read_wider_folder(folder: str | os.PathLike[str]) -> Predictions:
    """Read every ``*.txt`` below ``folder``; an image's name is its file's path without suffix.

    Raises:
        LabelError: there is no such file, or one is malformed, or its first line names another image.
    """
    folder = Path(folder)
    paths = sorted(folder.rglob("*.txt"))
    if not paths:
        raise LabelError(f"{folder}: no .txt file below it; expected EVENT/IMAGE.txt, one file an image")
    return {path.relative_to(folder).with_suffix("").as_posix(): _read_file(path) for path in paths}


def _read_file(path: Path) -> Faces:
    lines = text.read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) < 2:
        raise LabelError(f"{path}: {len(lines)} lines; expected the image's name, the number of faces, a line a face")
    name = image_name(lines[0])
    if name.rsplit("/", 1)[-1] != path.stem:
        raise LabelError(f"{path}:1: names image {name!r}, but the file is for {path.stem!r}")
    n = text.count(path, 2, lines[1], path.stem)
    if n != len(lines) - 2:
        raise LabelError(f"{path}:2: says {n} faces, but {len(lines) - 2} lines follow")
    return text.rectangles(text.table(path, 3, lines[2:], text.RECTANGLE))


def write_wider_folder(predictions: Mapping[str, Faces], folder: str | os.PathLike[str]) -> None:
    """Write one file an image below ``folder``, which is created; each file is written whole or not at
    all.
    """
    for name, faces in predictions.items():
        lines = [name.rsplit("/", 1)[-1], str(len(faces)), *text.rectangle_lines(faces)]
        files.write_text(Path(folder) / f"{name}.txt", "\n".join(lines) + "\n")
