"""COCO's annotation form, with keypoints: one JSON file of ``images``, ``annotations`` and ``categories``.

Pixels of the upright picture, origin at the outer corner of its top-left pixel; ``bbox`` is x, y, width, height.
``keypoints`` are x, y, v of each landmark, v = 0 where it is not labelled; a category that names its keypoints may have
them in any order, else they are in facesmith's. ``iscrowd`` or ``ignore`` marks faces that do not count. Every listed
image without annotations is a background.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facesmith import files
from facesmith.data.formats.json_files import mapping, numbers, rows
from facesmith.data.formats.names import FACE, LANDMARK_NAMES, face_classes, landmark_order, picture_root, relative
from facesmith.data.labelled import Face, LabelledImage, LabelSet, Size, labelled_images
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF


def read(path: Path, document: Any) -> LabelSet:
    """Read the parsed JSON ``document`` of ``path``. Annotations of other categories than faces are passed over.

    Raises:
        LabelError: malformed; names the entry.
    """
    document = mapping(document, str(path))
    names, sizes = _images(document, path)
    classes, orders = _categories(document, path)
    faces: dict[str, list[Face]] = {name: [] for name in names.values()}
    for index, row in enumerate(rows(document, "annotations", str(path))):
        where = f"{path}: annotation {index} (id {row.get('id')})"
        if row.get("image_id") not in names:
            raise LabelError(f"{where}: image_id {row.get('image_id')!r} is not among the images")
        category = row.get("category_id", next(iter(classes), None))
        if category in classes:
            faces[names[row["image_id"]]].append(_face(row, where, orders.get(category), classes[category]))
    stem = path.parent.name if path.stem == "_annotations.coco" else path.stem
    return LabelSet(stem, picture_root(path, faces), labelled_images(path, faces), sizes)


def write(labels: LabelSet, path: Path) -> None:
    """Write to 1/1000 pixel. Ignored faces get ``iscrowd`` 1.

    Raises:
        ImageError: the size of a picture is not stated and the picture cannot be read.
    """
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, image in enumerate(labels.images, 1):
        width, height = labels.size(image.path)
        images.append({"id": number, "file_name": image.path, "width": width, "height": height})
        for row in _annotations(image):
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, **row})
    category = {"id": 1, "name": FACE, "supercategory": "person", "keypoints": LANDMARK_NAMES[labels.points]}
    document = {"images": images, "annotations": annotations, "categories": [category | {"skeleton": []}]}
    files.write_text(path, json.dumps(document) + "\n")


def _annotations(image: LabelledImage) -> list[dict[str, Any]]:
    boxes = image.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    known = image.has_landmarks
    points = np.full((*image.landmarks.shape[:2], 3), 2.0)
    points[:, :, :2] = image.landmarks
    points[~known] = 0
    return [
        {
            "bbox": box,
            "area": round(box[2] * box[3], 3),
            "iscrowd": int(ignored),
            "keypoints": keypoints,
            "num_keypoints": image.landmarks.shape[1] if has else 0,
        }
        for box, ignored, keypoints, has in zip(
            boxes.round(3).tolist(),
            image.ignored.tolist(),
            points.reshape(len(points), 3 * points.shape[1]).round(3).tolist(),
            known.tolist(),
            strict=True,
        )
    ]


def _images(document: Mapping[str, Any], path: Path) -> tuple[dict[Any, str], dict[str, Size]]:
    """Id -> path, and path -> size where it is stated."""
    names, sizes = dict[Any, str](), dict[str, Size]()
    for index, row in enumerate(rows(document, "images", str(path))):
        where = f"{path}: image {index}"
        name = row.get("file_name")
        if not isinstance(name, str) or "id" not in row:
            raise LabelError(f"{where}: needs 'id' and 'file_name'")
        name = relative(name, where)
        if row["id"] in names:
            raise LabelError(f"{where}: id {row['id']!r} was there before")
        names[row["id"]] = name
        if row.get("width") and row.get("height"):
            width, height = numbers([row["width"], row["height"]], f"{where}: width and height")
            sizes[name] = int(width), int(height)
    if len(set(names.values())) < len(names):
        raise LabelError(f"{path}: an image is listed twice, by two ids")
    return names, sizes


def _categories(document: Mapping[str, Any], path: Path) -> tuple[dict[Any, bool], dict[Any, list[int]]]:
    """Category -> whether it is ignored; category -> order of its keypoints where it names them."""
    categories = rows(document, "categories", str(path))
    names = {row.get("id"): str(row.get("name")) for row in categories}
    classes = face_classes(names, f"{path}: categories")
    orders = {
        row["id"]: landmark_order(row["keypoints"], f"{path}: category {row['name']}")
        for row in categories
        if row["id"] in classes and row.get("keypoints")
    }
    return classes, orders


def _face(row: Mapping[str, Any], where: str, order: list[int] | None, ignored: bool) -> Face:
    x, y, width, height = numbers(row.get("bbox"), f"{where}: bbox", 4)
    box = (x, y, x + width, y + height)
    ignored = ignored or bool(row.get("iscrowd")) or bool(row.get("ignore"))
    if not row.get("keypoints"):
        return Face(box, None, ignored)
    flat = numbers(row["keypoints"], f"{where}: keypoints")
    if len(flat) % 3 or len(flat) // 3 not in FIVE_OF:
        raise LabelError(f"{where}: {len(flat)} keypoint numbers; expected x, y, v of 5 or 19 landmarks")
    points = np.array(flat, np.float32).reshape(-1, 3)
    if order is not None:
        if len(order) != len(points):
            raise LabelError(f"{where}: {len(points)} keypoints, where the category names {len(order)}")
        points = points[order]
    points[points[:, 2] == 0] = np.nan
    return Face(box, points[:, :2], ignored)
