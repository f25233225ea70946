"""Prediction files in and out, and their alignment with a protocol's image names.

Every reader gives ``Predictions``: ``Faces`` by image name without suffix. :func:`read` recognises the
format.
"""

import os
from collections.abc import Callable

from facesmith.errors import LabelError
from facesmith.evaluation.predictions.alignment import Predictions, align, restrict
from facesmith.evaluation.predictions.coco_json import read_coco_json, write_coco_json
from facesmith.evaluation.predictions.fddb_text import (
    read_fddb_ellipses,
    read_fddb_regions,
    read_fddb_text,
    write_fddb_text,
)
from facesmith.evaluation.predictions.jsonl import read_jsonl, write_jsonl
from facesmith.evaluation.predictions.wider_folder import read_wider_folder, write_wider_folder

__all__ = [
    "Predictions",
    "align",
    "read",
    "read_coco_json",
    "read_fddb_ellipses",
    "read_fddb_regions",
    "read_fddb_text",
    "read_jsonl",
    "read_wider_folder",
    "reader_of",
    "restrict",
    "write_coco_json",
    "write_fddb_text",
    "write_jsonl",
    "write_wider_folder",
]


def read(path: str | os.PathLike[str]) -> Predictions:
    """Read predictions in whichever format they are; :func:`reader_of` says how that is recognised.

    Raises:
        LabelError: nothing is there, or it is malformed in the format that it starts like.
    """
    return reader_of(path)(path)


def reader_of(path: str | os.PathLike[str]) -> Callable[[str | os.PathLike[str]], Predictions]:
    """The reader for ``path``.

    A folder is WIDER FACE's; a file that starts with ``[``, or with ``{`` and without ``"path"`` in its first
    line, is COCO's; with ``{`` and ``"path"`` it is JSONL; anything else is FDDB's text.

    Raises:
        LabelError: nothing is there, or it is no text.
    """
    if os.path.isdir(path):
        return read_wider_folder
    try:
        with open(path, encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as predictions: {error}") from error
    if first.startswith("{") and '"path"' in first:
        return read_jsonl
    return read_coco_json if first.startswith(("[", "{")) else read_fddb_text
