"""COCO's result format: a JSON list of detections, ``image_id``, ``bbox`` (x, y, width, height), ``score``.

Detections name their image by a number, which needs the list of images of an annotation file (``id``,
``file_name``), or by the file name itself. A file in annotation form, with ``images`` and ``annotations``,
brings its own list; that is what is written where none is given.
"""

import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facesmith import files
from facesmith.errors import LabelError
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predictions.alignment import Predictions
from facesmith.faces import Faces

Images = Sequence[Mapping[str, Any]]


def read_coco_json(path: str | os.PathLike[str], images: str | os.PathLike[str] | Images | None = None) -> Predictions:
    """Read detections.

    Args:
        path: a list of detections, or a file in annotation form.
        images: an annotation file, or its ``images``; not needed where ``path`` has images or names them
            itself. Listed images without detections become empty entries.

    Raises:
        LabelError: the file is malformed, a detection's image is not listed, or numbers come without a list.
    """
    path = Path(path)
    document = _load(path)
    rows = document.get("annotations") if isinstance(document, dict) else document
    if images is None and isinstance(document, dict):
        images = document.get("images")
    names = None if images is None else _names(images, path)
    known = None if names is None else {name: name for name in names.values()} | names
    if not isinstance(rows, list):
        raise LabelError(f"{path}: expected a list of detections, or an object with 'images' and 'annotations'")
    grouped: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in names.values() if names else ():
        grouped[name] = []
    for index, row in enumerate(rows):
        name, face = _detection(row, known, f"{path}: detection {index}")
        grouped[name].append(face)
    try:
        return {name: Faces.from_dicts(faces) for name, faces in grouped.items()}
    except ValueError as error:
        raise LabelError(f"{path}: {error}") from error


def write_coco_json(
    predictions: Mapping[str, Faces],
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | Images | None = None,
) -> None:
    """Write detections, whole or not at all.

    Args:
        predictions: by image name.
        path: the JSON file.
        images: an annotation file, or its ``images``, whose ids the detections then carry (the list that
            COCO's own tools load as results). Without it the file is in annotation form with ids from 1.

    Raises:
        LabelError: an image is not in ``images``.
    """
    if images is None:
        table = [{"id": number, "file_name": f"{name}.jpg"} for number, name in enumerate(predictions, 1)]
        rows = _rows(predictions, {name: number for number, name in enumerate(predictions, 1)})
        files.write_text(path, json.dumps({"images": table, "annotations": rows}) + "\n")
        return
    ids = {name: key for key, name in _names(images, Path(path)).items()}
    unknown = [name for name in predictions if name not in ids]
    if unknown:
        raise LabelError(f"{len(unknown)} predicted images are not in the list of images, the first is {unknown[0]!r}")
    files.write_text(path, json.dumps(_rows(predictions, ids)) + "\n")


def _rows(predictions: Mapping[str, Faces], ids: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = list[dict[str, Any]]()
    for name, faces in predictions.items():
        sizes = faces.boxes[:, 2:] - faces.boxes[:, :2]
        boxes = np.concatenate((faces.boxes[:, :2], sizes), axis=1).astype(float).round(4)
        for i, box in enumerate(boxes.tolist()):
            row = {"id": len(rows) + 1, "image_id": ids[name], "category_id": 1, "bbox": box}
            row |= {"area": box[2] * box[3], "iscrowd": 0, "score": float(faces.scores[i])}
            if faces.landmarks is not None and np.isfinite(faces.landmarks[i]).all():
                points = faces.landmarks[i].astype(float).round(4).tolist()
                row["keypoints"] = [value for x, y in points for value in (x, y, 2)]
            rows.append(row)
    return rows


def _detection(row: Any, known: Mapping[Any, str] | None, where: str) -> tuple[str, dict[str, Any]]:
    """Image name and face; ``known`` gives an image's name for its id and for the name itself."""
    try:
        key, box, score = row["image_id"], [float(v) for v in row["bbox"]], float(row["score"])
        points = row.get("keypoints")
        landmarks = None if points is None else np.array(points, np.float64).reshape(5, 3)[:, :2].tolist()
    except (KeyError, TypeError, ValueError) as error:
        raise LabelError(
            f"{where}: needs image_id, bbox of four numbers, score and, if any, keypoints of 15; "
            f"{type(error).__name__}: {error}"
        ) from error
    if len(box) != 4 or not all(map(math.isfinite, (*box, score))):
        raise LabelError(f"{where}: bbox {box} and score {score}: expected four finite numbers and one")
    if box[2] < 0 or box[3] < 0:
        raise LabelError(f"{where}: bbox {box} has a negative size; expected x, y, width, height in pixels")
    if known is None and not isinstance(key, str):
        raise LabelError(f"{where}: image_id {key!r} is a number; give the annotation file that lists the images")
    name = image_name(key) if isinstance(key, str) else key
    if known is not None:
        name = known.get(key, known.get(name))
        if name is None:
            raise LabelError(f"{where}: image_id {key!r} is not in the list of images")
    return name, {
        "box": [box[0], box[1], box[0] + box[2], box[1] + box[3]],
        "score": score,
        "landmarks": landmarks,
    }


def _names(images: str | os.PathLike[str] | Images, path: Path) -> dict[Any, str]:
    if isinstance(images, str | os.PathLike):
        path = Path(images)
        document = _load(path)
        images = document.get("images", ()) if isinstance(document, dict) else ()
    try:
        names = {row["id"]: image_name(row["file_name"]) for row in images}
    except (KeyError, TypeError, AttributeError) as error:
        raise LabelError(f"{path}: every image needs 'id' and 'file_name'; {error!r}") from error
    if not names or len(set(names.values())) != len(images):
        raise LabelError(f"{path}: no images, or two share an id or a name")
    return names


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: cannot be read as JSON: {error}") from error
