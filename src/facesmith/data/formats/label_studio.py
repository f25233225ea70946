"""Label Studio's JSON: a list of tasks with ``rectanglelabels`` and ``keypointlabels``.

Percent of the upright picture's width and height, origin at the outer corner of its top-left pixel. A rectangle is
labelled ``face`` (or has the only label); ``ignored`` marks faces that do not count. A keypoint is labelled
``left_eye``, ``right_eye``, ``nose``, ``left_mouth`` or ``right_mouth``, left in the image. It belongs to its
``parentID``; without one, to the smallest rectangle around it that lacks this landmark. A task's last annotation that
was not cancelled counts, else its first prediction; tasks with neither are not labelled yet and passed over.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np

from facesmith import files
from facesmith.data.formats.json_files import mapping, numbers, rows
from facesmith.data.formats.names import (
    FACE,
    IGNORED,
    LANDMARK_NAMES,
    face_classes,
    landmark_key,
    picture_root,
    relative,
)
from facesmith.data.labelled import Face, LabelledImage, LabelSet, Size, labelled_images
from facesmith.errors import LabelError

_LOCAL = "/data/local-files/?d="
_DOT = 0.5  # width of a written keypoint, percent


def read(path: Path, document: Sequence[Any]) -> LabelSet:
    """Read the parsed JSON ``document`` of ``path``.

    Raises:
        LabelError: malformed; names task and region.
    """
    tasks = {f"{path}: task {i}": mapping(task, f"{path}: task {i}") for i, task in enumerate(document)}
    results = {where: result for where, task in tasks.items() if (result := _result(task, where)) is not None}
    if not results:
        raise LabelError(f"{path}: none of {len(tasks)} tasks has an annotation or prediction")
    names = {name for result in results.values() for region in result for name in _labels(region, "rectanglelabels")}
    classes = face_classes({name: name for name in sorted(names)}, f"{path}: rectangle labels")
    count = _landmark_count(results)
    faces: dict[str, list[Face]] = {}
    sizes: dict[str, Size] = {}
    for where, result in results.items():
        name = _picture(tasks[where], where)
        if name in faces:
            raise LabelError(f"{where}: picture {name!r} was there before")
        faces[name] = _faces(result, where, classes, count)
        if result:
            sizes[name] = _size(result[0], where)
    return LabelSet(path.stem, picture_root(path, faces), labelled_images(path, faces), sizes)


def write(labels: LabelSet, path: Path) -> None:
    """Write tasks that Label Studio imports, to 1/10,000 percent; pictures are ``/data/local-files/?d=PATH``.

    Raises:
        ImageError: the size of a picture is not stated and the picture cannot be read.
    """
    tasks = [
        {
            "data": {"image": _LOCAL + quote(image.path)},
            "annotations": [{"result": _regions(image, labels.size(image.path))}],
        }
        for image in labels.images
    ]
    files.write_text(path, json.dumps(tasks) + "\n")


def _regions(image: LabelledImage, size: Size) -> list[dict[str, Any]]:
    common = {"to_name": "image", "original_width": size[0], "original_height": size[1], "image_rotation": 0}
    names = LANDMARK_NAMES[image.landmarks.shape[1]]
    share = 100 / np.array(size, np.float64)
    boxes = (image.boxes.reshape(-1, 2, 2) * share).round(4).tolist()
    points = (image.landmarks * share).round(4).tolist()
    known = image.has_landmarks.tolist()
    regions = list[dict[str, Any]]()
    for i, ((x1, y1), (x2, y2)) in enumerate(boxes):
        value = {"x": x1, "y": y1, "width": round(x2 - x1, 4), "height": round(y2 - y1, 4), "rotation": 0}
        value["rectanglelabels"] = [IGNORED if image.ignored[i] else FACE]
        regions.append({"id": f"face{i}", "type": "rectanglelabels", "from_name": "face", **common, "value": value})
        for name, (x, y) in zip(names, points[i], strict=True) if known[i] else ():
            dot = {"x": x, "y": y, "width": _DOT, "keypointlabels": [name]}
            row = {"id": f"face{i}-{name}", "type": "keypointlabels", "from_name": "landmark", "parentID": f"face{i}"}
            regions.append({**row, **common, "value": dot})
    return regions


def _result(task: Mapping[str, Any], where: str) -> Sequence[Mapping[str, Any]] | None:
    """The regions that count; ``None`` where the task has not been labelled."""
    done = [mapping(one, where) for one in task.get("annotations") or () if not one.get("was_cancelled")]
    chosen = done[-1:] or [mapping(one, where) for one in (task.get("predictions") or ())[:1]]
    return rows(chosen[0], "result", where) if chosen else None


def _picture(task: Mapping[str, Any], where: str) -> str:
    """The picture's path: of a local file's ``?d=``, of an upload without its random prefix, or as it stands."""
    data = mapping(task.get("data"), f"{where}: data")
    url = data.get("image") or next((value for value in data.values() if isinstance(value, str)), None)
    if not isinstance(url, str):
        raise LabelError(f"{where}: data has no 'image'")
    parts = urlsplit(url)
    if local := parse_qs(parts.query).get("d"):
        return relative(local[0].lstrip("/"), where)
    if match := re.fullmatch(r"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)", parts.path):
        return relative(match[1], where)
    return relative(parts.path.lstrip("/") if parts.scheme else url, where)


def _size(region: Mapping[str, Any], where: str) -> Size:
    width, height = numbers(
        [region.get("original_width"), region.get("original_height")], f"{where}: original_width and original_height"
    )
    return int(width), int(height)


def _labels(region: Mapping[str, Any], kind: str) -> list[str]:
    value = region.get("value")
    found = value.get(kind) if isinstance(value, dict) else None
    return [str(name) for name in found] if isinstance(found, list) else []


def _landmark_count(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
    names = {landmark_key(n) for result in results.values() for row in result for n in _labels(row, "keypointlabels")}
    five = {landmark_key(name) for name in LANDMARK_NAMES[5]}
    return 5 if names <= five else 19


def _faces(result: Sequence[Mapping[str, Any]], where: str, classes: Mapping[str, bool], count: int) -> list[Face]:
    boxes, ignored, ids = list[tuple[float, ...]](), list[bool](), dict[Any, int]()
    for region in result:
        for name in _labels(region, "rectanglelabels")[:1]:
            if name in classes:
                ids[region.get("id")] = len(boxes)
                boxes.append(_box(region, f"{where}: region {region.get('id')!r}"))
                ignored.append(classes[name])
    points = np.full((len(boxes), count, 2), np.nan)
    order = {landmark_key(name): i for i, name in enumerate(LANDMARK_NAMES[count])}
    for region in result:
        for name in _labels(region, "keypointlabels")[:1]:
            here = f"{where}: region {region.get('id')!r}"
            landmark = order.get(landmark_key(name))
            if landmark is None:
                raise LabelError(f"{here}: no such landmark: {name!r}; expected {', '.join(LANDMARK_NAMES[count])}")
            point = _scaled(region, ("x", "y"), here)
            face = ids.get(region.get("parentID"))
            points[_around(point, boxes, points[:, landmark], here) if face is None else face, landmark] = point
    return [Face(box, points[i], ignored[i]) for i, box in enumerate(boxes)]


def _box(region: Mapping[str, Any], where: str) -> tuple[float, ...]:
    if region["value"].get("rotation") or region.get("image_rotation"):
        raise LabelError(f"{where}: a rotated rectangle or picture; faces have upright ones, set the rotation to 0")
    x, y, width, height = _scaled(region, ("x", "y", "width", "height"), where)
    return x, y, x + width, y + height


def _scaled(region: Mapping[str, Any], keys: Sequence[str], where: str) -> tuple[float, ...]:
    """Percent of the picture -> pixels."""
    shares = numbers([region["value"].get(key) for key in keys], f"{where}: {', '.join(keys)}", len(keys))
    return tuple(share * side / 100 for share, side in zip(shares, _size(region, where) * 2, strict=False))


def _around(point: Sequence[float], boxes: Sequence[Sequence[float]], taken: Any, where: str) -> int:
    """Index of the smallest box around ``point`` whose landmark (n, 2) ``taken`` is still NaN."""
    (x, y), around = point, list[tuple[float, int]]()
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        if x1 <= x <= x2 and y1 <= y <= y2 and np.isnan(taken[index]).all():
            around.append(((x2 - x1) * (y2 - y1), index))
    if not around:
        raise LabelError(f"{where}: a landmark in no face's rectangle; draw it within one, or set its parent")
    return min(around)[1]
