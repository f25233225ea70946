"""``facesmith convert``: labels from one format to another, and detections to editable labels."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from facesmith.data import formats
from facesmith.data.formats import FORMATS, Format, yolo
from facesmith.data.labelled import LabelSet


@dataclass(frozen=True)
class Convert:
    """Convert face labels between formats.

    Reads COCO, YOLO-pose, WIDER FACE, RetinaFace, CVAT (for images 1.1) and Label Studio labels, recognised by what
    they look like, and what `facesmith detect --jsonl` writes, so that detections become labels to correct. Paths of
    pictures stay as they are, relative to the folder of pictures. What the new format cannot hold is told on stderr.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A label file, a data.yaml, or a folder with labels."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The file to write; for yolo, or where IN has several sets, a folder."""

    to: Annotated[Format, tyro.conf.EnumChoicesFromValues, tyro.conf.arg(metavar="FORMAT")]
    """coco, yolo, wider, retinaface, cvat or label-studio."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder that the paths of pictures start from; without it, looked for about IN. Pictures are needed where a
    format wants their sizes and IN does not tell them; yolo gets the pictures, too."""

    def run(self) -> int:
        """Convert."""
        sets = formats.read(self.source)
        if self.images is not None:
            sets = [replace(one, root=self.images) for one in sets]
        written = formats.write(sets, self.out, self.to)
        for loss in losses(sets, self.to):
            print(f"facesmith: warning: {loss}", file=sys.stderr)
        pictures = sum(len(one.images) for one in sets)
        faces = sum(len(image.boxes) for one in sets for image in one.images)
        print(f"{', '.join(map(str, written))}: {pictures:,} pictures, {faces:,} faces")
        return 0


def losses(sets: Sequence[LabelSet], to: Format) -> list[str]:
    """What of ``sets`` the format ``to`` cannot hold, in words."""
    found = []
    if not FORMATS[to].ignored:
        ignored = sum(int(image.ignored.sum()) for one in sets for image in one.images)
        if ignored:
            found.append(f"{to.value} cannot mark faces as ignored: {ignored:,} are left out")
    if not FORMATS[to].landmarks:
        known = sum(int(image.has_landmarks.sum()) for one in sets for image in one.images)
        if known:
            found.append(f"{to.value} has no landmarks: those of {known:,} faces are left out")
    if to is Format.YOLO:
        boxes, points = (sum(counts) for counts in zip(*map(yolo.cut, sets), strict=True))
        if boxes:
            found.append(
                f"yolo refuses what lies outside the picture: {boxes:,} boxes are cut at its border, {points:,} faces "
                "lose their landmarks"
            )
    return found
