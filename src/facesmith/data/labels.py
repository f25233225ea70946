"""``read_labels``: one label file, whichever format it has."""

from pathlib import Path

from facesmith.data import formats
from facesmith.data.labelled import LabelledImage
from facesmith.errors import LabelError

__all__ = ["LabelledImage", "read_labels"]


def read_labels(path: str | Path) -> list[LabelledImage]:
    """The images of a label file; :mod:`facesmith.data.formats` lists the formats and how they are told apart.

    Raises:
        LabelError: the file is missing, empty, malformed, or holds several sets; names the line or entry.
    """
    sets = formats.read_file(Path(path))
    if len(sets) > 1:
        raise LabelError(f"{path}: holds {', '.join(one.name for one in sets)}; name the folder of one of them")
    return sets[0].images
