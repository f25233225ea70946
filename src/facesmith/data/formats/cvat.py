"""CVAT's "CVAT for images 1.1": one XML file of ``image`` elements with ``box`` and ``points`` or ``skeleton``.

Pixels of the upright picture, origin at the outer corner of its top-left pixel: ``xtl ytl xbr ybr``, points
``x,y;x,y;…``. A box has the label ``face`` (or the only label of boxes); ``ignored`` marks faces that do not count.
Landmarks are a ``points`` element with the 5 (or 19) in facesmith's order, or a ``skeleton`` whose points bear
their names. They belong to the box with the same ``group_id``; without a group, to the smallest box around their centre
that has none yet; without such a box, the face's box is inferred from them. An image without boxes is a background.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from facesmith import files
from facesmith.data.formats.names import (
    FACE,
    IGNORED,
    face_classes,
    landmark_order,
    picture_root,
    relative,
)
from facesmith.data.labelled import Face, LabelledImage, LabelSet, Size, labelled_images
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF

POINTS_LABEL = "landmarks"
"""Label of the ``points`` elements that are written."""

_OTHER_SHAPES = ("polygon", "polyline", "ellipse", "mask", "cuboid")


def read(path: Path) -> LabelSet:
    """Read the file.

    Raises:
        LabelError: malformed; names the line.
    """
    parser = _Parser(path)
    try:
        parser.expat.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise LabelError(f"{path}:{error.lineno}: no XML: {expat.ErrorString(error.code)}") from error
    except OSError as error:
        raise LabelError(f"{path}: cannot be read: {error}") from error
    labels = sorted({box.label for image in parser.images for box in image.boxes})
    classes = face_classes({label: label for label in labels}, f"{path}: labels of boxes")
    faces: dict[str, list[Face]] = {}
    for image in parser.images:
        if image.name in faces:
            raise LabelError(f"{image.where}: image {image.name!r} was there before")
        faces[image.name] = _faces(image, classes)
    if not faces:
        raise LabelError(f"{path}: no image elements; expected CVAT for images 1.1")
    sizes = {image.name: image.size for image in parser.images if image.size is not None}
    return LabelSet(path.stem, picture_root(path, faces), labelled_images(path, faces), sizes)


def write(labels: LabelSet, path: Path) -> None:
    """Write to 1/100 pixel, as CVAT does.

    Raises:
        ImageError: the size of a picture is not stated and the picture cannot be read.
    """
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    for number, image in enumerate(labels.images):
        width, height = labels.size(image.path)
        attributes = f'id="{number}" name={quoteattr(image.path)} width="{width}" height="{height}"'
        lines.append(f"  <image {attributes}>")
        lines += _elements(image)
        lines.append("  </image>")
    files.write_text(path, "\n".join([*lines, "</annotations>", ""]))


def _elements(image: LabelledImage) -> list[str]:
    lines = []
    known = image.has_landmarks.tolist()
    rows = zip(image.boxes.tolist(), image.landmarks.tolist(), image.ignored.tolist(), known, strict=True)
    for group, (box, points, ignored, has) in enumerate(rows, 1):
        sides = " ".join(f'{name}="{value:.2f}"' for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True))
        common = f'source="manual" occluded="0" z_order="0" group_id="{group}"'
        lines.append(f'    <box label="{IGNORED if ignored else FACE}" {sides} {common}></box>')
        if has:
            written = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
            lines.append(f'    <points label="{POINTS_LABEL}" points="{written}" {common}></points>')
    return lines


@dataclass
class _Shape:
    """A box (four numbers), or landmarks; ``names`` of a skeleton's points."""

    where: str
    label: str
    group: int
    values: list[tuple[float, float]]
    names: list[str] = field(default_factory=list)


@dataclass
class _Image:
    where: str
    name: str
    size: Size | None
    boxes: list[_Shape] = field(default_factory=list)
    points: list[_Shape] = field(default_factory=list)


class _Parser:
    """Collects images while expat, which knows the line, reads the file."""

    def __init__(self, path: Path) -> None:
        self.path, self.images = path, list[_Image]()
        self.skeleton: _Shape | None = None
        self.expat = expat.ParserCreate()
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end

    @property
    def where(self) -> str:
        return f"{self.path}:{self.expat.CurrentLineNumber}"

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "image":
            name = relative(attributes.get("name", ""), f"{self.where}: name of image")
            stated = {"width", "height"} <= attributes.keys()
            size = tuple(int(self._number(attributes, side)) for side in ("width", "height")) if stated else None
            self.images.append(_Image(self.where, name, size))  # type: ignore[arg-type]
        elif not self.images or tag not in ("box", "points", "skeleton", *_OTHER_SHAPES):
            return
        elif tag in _OTHER_SHAPES and attributes.get("label", "").lower() in (FACE, IGNORED):
            raise LabelError(f"{self.where}: a face drawn as {tag}; expected a box")
        elif tag == "box":
            if self._number(attributes, "rotation", 0.0):
                raise LabelError(f"{self.where}: a rotated box; faces have upright ones, set its rotation to 0")
            x1, y1, x2, y2 = (self._number(attributes, side) for side in ("xtl", "ytl", "xbr", "ybr"))
            self.images[-1].boxes.append(self._shape(attributes, [(x1, y1), (x2, y2)]))
        elif tag == "skeleton":
            self.skeleton = self._shape(attributes, [])
        elif tag == "points" and self.skeleton is not None:
            (point,) = self._points(attributes, 1)
            outside = attributes.get("outside") == "1"
            self.skeleton.values.append((np.nan, np.nan) if outside else point)
            self.skeleton.names.append(attributes.get("label", ""))
        elif tag == "points":
            self.images[-1].points.append(self._shape(attributes, self._points(attributes, *FIVE_OF)))

    def _end(self, tag: str) -> None:
        if tag == "skeleton" and self.skeleton is not None:
            order = landmark_order(self.skeleton.names, f"{self.skeleton.where}: skeleton")
            self.skeleton.values = [self.skeleton.values[index] for index in order]
            self.images[-1].points.append(self.skeleton)
            self.skeleton = None

    def _shape(self, attributes: dict[str, str], values: list[tuple[float, float]]) -> _Shape:
        return _Shape(self.where, attributes.get("label", ""), int(self._number(attributes, "group_id", 0)), values)

    def _number(self, attributes: dict[str, str], name: str, default: float | None = None) -> float:
        try:
            value = default if default is not None and name not in attributes else float(attributes[name])
            if not np.isfinite(value):
                raise ValueError
        except (KeyError, ValueError):
            raise LabelError(f"{self.where}: {name}={attributes.get(name)!r}; expected a finite number") from None
        return value

    def _points(self, attributes: dict[str, str], *counts: int) -> list[tuple[float, float]]:
        text = attributes.get("points", "")
        try:
            points = [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split(";"))]
        except ValueError:
            raise LabelError(f"{self.where}: points={text[:60]!r}; expected x,y;x,y;…") from None
        if len(points) not in counts or not np.isfinite(points).all():
            wanted = " or ".join(map(str, counts))
            raise LabelError(f"{self.where}: {len(points)} points; expected {wanted}, finite, in facesmith's order")
        return points


def _faces(image: _Image, classes: dict[str, bool]) -> list[Face]:
    boxes = [box for box in image.boxes if box.label in classes]
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index, box in enumerate(boxes):
        groups[box.group].append(index)
    points: dict[int, _Shape] = {}
    alone = list[_Shape]()
    for shape in sorted(image.points, key=lambda shape: not shape.group):  # those with a group first
        place = _box_of(shape, boxes, groups, points)
        if place is None:
            alone.append(shape)
        else:
            points[place] = shape
    faces = [
        Face([*box.values[0], *box.values[1]], points[i].values if i in points else None, classes[box.label])
        for i, box in enumerate(boxes)
    ]
    return faces + [Face(None, shape.values) for shape in alone]


def _box_of(shape: _Shape, boxes: list[_Shape], groups: dict[int, list[int]], taken: dict[int, Any]) -> int | None:
    """Index of the box that landmarks belong to."""
    if shape.group and (members := groups.get(shape.group)):
        if len(members) > 1 or members[0] in taken:
            raise LabelError(f"{shape.where}: group {shape.group} has several boxes or landmarks; a group is one face")
        return members[0]
    x, y = np.nanmean(shape.values, axis=0)
    around = []
    for index, box in enumerate(boxes):
        (x1, y1), (x2, y2) = box.values
        if index not in taken and x1 <= x <= x2 and y1 <= y <= y2:
            around.append(((x2 - x1) * (y2 - y1), index))
    return min(around)[1] if around else None
