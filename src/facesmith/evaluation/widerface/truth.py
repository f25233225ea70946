"""WIDER FACE's ground truth: the official lists of the validation set, or a label file."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.io

from facesmith.errors import LabelError
from facesmith.evaluation.label_text import Row, read_blocks
from facesmith.evaluation.names import closest, image_name
from facesmith.evaluation.predictions.text import count, read_lines, table

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
LevelArray = npt.NDArray[np.uint8]

OFFICIAL_IMAGES = 3226
"""Images of WIDER FACE's validation set."""

SUBSETS = ("easy", "medium", "hard")

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "blur": ("clear", "normal", "heavy"),
    "expression": ("typical", "exaggerated"),
    "illumination": ("normal", "extreme"),
    "invalid": ("no", "yes"),
    "occlusion": ("none", "partial", "heavy"),
    "pose": ("typical", "atypical"),
}
"""The attributes in the order of the label files, each with the meaning of its levels 0, 1, …"""

_COLUMNS = {
    4: "x y width height",
    19: "x y width height and five times x y flag",
    20: "x y width height, five times x y flag, and blur",
}


@dataclass(frozen=True, eq=False)
class Truth:
    """Faces of many images in one column: those of image i are ``boxes[offsets[i] : offsets[i + 1]]``.

    Attributes:
        names: event folder and file name without suffix of each image.
        boxes: (n, 4) float32 x1, y1, x2, y2 in pixels with x2 = x1 + width; some have no area.
        offsets: (images + 1,) int64.
        subsets: name -> (n,) bool, the faces that count in it; all other boxes are ignored there.
        attributes: name -> (n,) uint8 level; empty where the source has none.
        official_images: how many images the complete benchmark has, ``None`` if this belongs to none.
    """

    names: tuple[str, ...]
    boxes: FloatArray
    offsets: IntArray
    subsets: Mapping[str, BoolArray]
    attributes: Mapping[str, LevelArray]
    official_images: int | None

    @property
    def images(self) -> IntArray:
        """(n,) int64, the image of each box."""
        return np.repeat(np.arange(len(self.names)), np.diff(self.offsets))

    @property
    def sizes(self) -> FloatArray:
        """(n,) float32, the square root of each box's area."""
        edges = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.sqrt(edges[:, 0] * edges[:, 1])

    def image_boxes(self) -> list[FloatArray]:
        """The boxes of each image."""
        return np.split(self.boxes, self.offsets[1:-1])

    def subset(self, names: Collection[str]) -> Self:
        """The images called ``names``, in the ground truth's order.

        Raises:
            LabelError: a name is unknown, or there is none.
        """
        wanted = frozenset(names)
        unknown = sorted(wanted.difference(self.names))
        if unknown or not wanted:
            what = f"{unknown[0]!r}{closest(unknown[0], self.names)}" if unknown else "no names given"
            raise LabelError(f"{len(unknown)} images of the subset are not in the ground truth: {what}")
        chosen = np.array([name in wanted for name in self.names])
        kept = chosen[self.images]
        return replace(
            self,
            names=tuple(name for name in self.names if name in wanted),
            boxes=self.boxes[kept],
            offsets=np.concatenate(([0], np.cumsum(np.diff(self.offsets)[chosen]))),
            subsets={name: column[kept] for name, column in self.subsets.items()},
            attributes={name: column[kept] for name, column in self.attributes.items()},
        )


def load_truth(path: str | os.PathLike[str], *, official_images: int | None = None) -> Truth:
    """Read the ground truth.

    Args:
        path: the folder of the official ``wider_face_val.mat``, ``wider_easy_val.mat``,
            ``wider_medium_val.mat`` and ``wider_hard_val.mat``, or the first of them, or a label file. A
            label file is either ``# name`` and a line ``x y w h …`` a face, or WIDER FACE's own (name, count,
            then ``x y w h blur expression illumination invalid occlusion pose``). It has no lists of easy,
            medium and hard faces: its one subset is ``all``, every face with an area that is not marked
            invalid.
        official_images: of a label file's complete benchmark, if it belongs to one.

    Raises:
        LabelError: a file is missing or malformed.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "wider_face_val.mat"
    if path.suffix == ".mat":
        return _from_lists(path)
    return _from_labels(path, official_images)


def _from_lists(path: Path) -> Truth:
    levels = [f"{name}_label_list" for name in ATTRIBUTES]
    face = _load_mat(path, ["file_list", "event_list", "face_bbx_list", *levels])
    names, boxes = _mat_names(face), _cells(face["face_bbx_list"])
    counts = np.array([len(rows) for rows in boxes])
    columns = {name: np.concatenate(_cells(face[f"{name}_label_list"])).reshape(-1) for name in ATTRIBUTES}
    offsets = np.concatenate(([0], np.cumsum(counts)))
    if len(boxes) != len(names) or any(len(column) != offsets[-1] for column in columns.values()):
        raise LabelError(f"{path}: lists of different lengths; is it the official file?")
    subsets = dict[str, BoolArray]()
    for subset in SUBSETS:
        other = path.with_name(f"wider_{subset}_val.mat")
        listed = _load_mat(other, ["file_list", "event_list", "gt_list"])
        if _mat_names(listed) != names:
            raise LabelError(f"{other}: lists other images than {path.name}")
        rows = [cell.reshape(-1).astype(np.int64) for cell in _cells(listed["gt_list"])]
        if any(cell.size and (cell.min() < 1 or cell.max() > n) for cell, n in zip(rows, counts, strict=True)):
            raise LabelError(f"{other}: lists a face that {path.name} does not have")
        subsets[subset] = np.zeros(offsets[-1], bool)
        subsets[subset][np.concatenate(rows) - 1 + np.repeat(offsets[:-1], [len(cell) for cell in rows])] = True
    corners = np.concatenate(boxes).astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    return Truth(tuple(names), corners, offsets, subsets, columns, OFFICIAL_IMAGES)


def _load_mat(path: Path, variables: list[str]) -> dict[str, Any]:
    try:
        content: dict[str, Any] = scipy.io.loadmat(path, variable_names=variables)
    except (OSError, ValueError, NotImplementedError) as error:
        raise LabelError(f"{path}: cannot be read as one of WIDER FACE's lists: {error}") from error
    missing = [name for name in variables if name not in content]
    if missing:
        raise LabelError(f"{path}: has no {', '.join(missing)}; is it the official file?")
    return content


def _mat_names(content: dict[str, Any]) -> list[str]:
    events = [str(cell[0][0]) for cell in content["event_list"]]
    return [
        f"{event}/{name[0][0]}" for event, (names,) in zip(events, content["file_list"], strict=True) for name in names
    ]


def _cells(column: npt.NDArray[np.object_]) -> list[npt.NDArray[Any]]:
    """The arrays of a MATLAB cell array of cell arrays: event by event, image by image."""
    return [cell[0] for (event,) in column for cell in event]


def _from_labels(path: Path, official_images: int | None) -> Truth:
    lines = read_lines(path)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise LabelError(f"{path}: is empty; expected '# name' or WIDER FACE's layout")
    blocks = read_blocks(path, _COLUMNS) if first.startswith("#") else _counted_blocks(path, lines)
    rows = [row for block in blocks.values() for row in block]
    boxes = np.array([row.values[:4] for row in rows], np.float64).reshape(-1, 4)
    negative = (boxes[:, 2:] < 0).any(axis=1)
    if negative.any():
        row = int(negative.argmax())
        raise LabelError(f"{rows[row].where}: box {boxes[row].tolist()} has a negative size")
    attributes = dict[str, LevelArray]()
    if rows and all(len(row.values) == 4 + len(ATTRIBUTES) for row in rows):
        levels = np.array([row.values[4:] for row in rows], np.uint8)
        attributes = dict(zip(ATTRIBUTES, levels.T, strict=True))
    counted: BoolArray = np.logical_and(boxes[:, 2] > 0, boxes[:, 3] > 0)
    if "invalid" in attributes:
        counted &= attributes["invalid"] == 0
    boxes[:, 2:] += boxes[:, :2]
    offsets = np.concatenate(([0], np.cumsum([len(block) for block in blocks.values()]))).astype(np.int64)
    return Truth(tuple(blocks), boxes.astype(np.float32), offsets, {"all": counted}, attributes, official_images)


def _counted_blocks(path: Path, lines: list[str]) -> dict[str, list[Row]]:
    """Image name -> its faces, from WIDER FACE's own layout; an image without a face has a line of zeros."""
    while lines and not lines[-1].strip():
        lines.pop()
    blocks, at = dict[str, list[Row]](), 0
    while at < len(lines):
        name = image_name(lines[at])
        if name in blocks:
            raise LabelError(f"{path}:{at + 1}: image {name!r} was named before")
        if at + 1 == len(lines):
            raise LabelError(f"{path}:{at + 1}: the file ends after the name {name!r}; the number must follow")
        n = count(path, at + 2, lines[at + 1], name)
        rows = lines[at + 2 : at + 2 + n]
        values = table(path, at + 3, rows, ("x", "y", "width", "height", *ATTRIBUTES))
        if len(rows) < n:
            raise LabelError(f"{path}:{at + 2}: says {n} faces for {name!r}, but {len(rows)} lines follow")
        blocks[name] = [Row(row, f"{path}:{at + 3 + i}") for i, row in enumerate(values)]
        at += 2 + n
        if not n and at < len(lines) and set(lines[at].split()) == {"0"}:
            at += 1
    return blocks
