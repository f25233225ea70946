"""Results of ``facesmith detect --jsonl`` and ``--json`` as labels: every face in them becomes a labelled one.

Their paths are as they stood on the command line. Relative ones start from the current folder or from the file's;
of absolute ones the common folder is taken off.
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from facesmith.data.formats.json_files import mapping, numbers, rows
from facesmith.data.formats.names import picture_root
from facesmith.data.labelled import Face, LabelSet, Size, labelled_images
from facesmith.errors import LabelError


def read(path: Path, entries: Iterable[tuple[str, Any]]) -> LabelSet:
    """Entries ``(where, parsed JSON)`` of the file ``path``.

    Raises:
        LabelError: malformed; names the entry.
    """
    faces: dict[str, list[Face]] = {}
    sizes: dict[str, Size] = {}
    for where, row in entries:
        row = mapping(row, where)
        name = row.get("path")
        if not isinstance(name, str) or not name:
            raise LabelError(f"{where}: needs a 'path'")
        if "frame" in row:
            raise LabelError(f"{where}: a frame of the video {name!r}; only pictures can be labelled")
        name = os.path.normpath(name).replace("\\", "/")
        if name in faces:
            raise LabelError(f"{where}: {name!r} was there before")
        faces[name] = [_face(face, f"{where}: face {i}") for i, face in enumerate(rows(row, "faces", where))]
        width, height = numbers([row.get("width"), row.get("height")], f"{where}: width and height")
        sizes[name] = int(width), int(height)
    if not faces:
        raise LabelError(f"{path}: is empty; expected an entry a picture, as `facesmith detect --jsonl` writes them")
    root, short = _common(path, faces)
    renamed = {short[name]: found for name, found in faces.items()}
    return LabelSet(path.stem, root, labelled_images(path, renamed), {short[n]: size for n, size in sizes.items()})


def _common(path: Path, names: Iterable[str]) -> tuple[Path, dict[str, str]]:
    """The folder of pictures, and each name -> its path within it."""
    names = list(names)
    inner = [name for name in names if not PurePosixPath(name).is_absolute() and not name.startswith("..")]
    if len(inner) == len(names):
        return picture_root(path, names, Path.cwd()), {name: name for name in names}
    absolute = {name: Path.cwd() / name for name in names}
    root = Path(os.path.commonpath([os.path.normpath(one.parent) for one in absolute.values()]))
    return root, {name: Path(os.path.normpath(one)).relative_to(root).as_posix() for name, one in absolute.items()}


def _face(row: Any, where: str) -> Face:
    box = numbers(row.get("box"), f"{where}: box", 4)
    if box[2] < box[0] or box[3] < box[1]:
        raise LabelError(f"{where}: box {box} has a negative size; expected x1, y1, x2, y2")
    points = row.get("landmarks")
    if points is None:
        return Face(box)
    if not isinstance(points, list) or len(points) != 5:
        raise LabelError(f"{where}: expected five landmarks")
    return Face(box, [numbers(point, f"{where}: landmarks", 2) for point in points])
