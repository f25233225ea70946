"""COCO files as other tools write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesmith.data import formats
from facesmith.errors import LabelError

Document = dict[str, Any]


def document() -> Document:
    """One face whose keypoints stand in another order than ours."""
    points = {
        "nose": (15, 18),
        "mouthLeft": (12, 22),
        "mouth_right": (18, 22),
        "Right Eye": (19, 14),
        "left-eye": (11, 14),
    }
    return {
        "info": {},
        "images": [{"id": "x7", "file_name": "./a/b.jpg", "width": 40, "height": 30}, {"id": 2, "file_name": "c.jpg"}],
        "annotations": [
            {"id": 9, "image_id": "x7", "category_id": 3, "bbox": [10, 10, 10, 15], "keypoints": keypoints(points)},
            {"id": 10, "image_id": "x7", "category_id": 3, "bbox": [0.5, 0, 9, 9], "iscrowd": 1},
            {"id": 11, "image_id": "x7", "category_id": 1, "bbox": [0, 0, 40, 30]},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "Face", "keypoints": list(points)}],
    }


def keypoints(points: dict[str, tuple[int, int]]) -> list[int]:
    return [value for x, y in points.values() for value in (x, y, 2)]


def read(tmp_path: Path, content: Document) -> Any:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return formats.read(path)[0]


def test_named_keypoints_categories_and_crowds(tmp_path: Path) -> None:
    found = read(tmp_path, document())
    first, background = found.images
    assert (first.path, background.path) == ("a/b.jpg", "c.jpg")
    assert first.boxes.tolist() == [[10, 10, 20, 25], [0.5, 0, 9.5, 9]]  # the person is not among them
    assert first.landmarks[0].tolist() == [[11, 14], [19, 14], [15, 18], [12, 22], [18, 22]]
    assert first.has_landmarks.tolist() == [True, False]
    assert first.ignored.tolist() == [False, True]
    assert len(background.boxes) == 0
    assert found.sizes == {"a/b.jpg": (40, 30)}


def test_one_unlabelled_keypoint_is_no_landmarks(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["keypoints"][2] = 0
    assert np.isnan(read(tmp_path, content).images[0].landmarks).all()


def change(path: str, value: Any) -> Document:
    content: Any = document()
    *keys, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
    place = content
    for key in keys:
        place = place[key]
    place[last] = value
    return content  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("annotations", None, "expected a list 'annotations', found nothing"),
        ("annotations.1", 7, r"annotations\[1\]: expected a JSON object, found 7"),
        ("annotations.1.image_id", 5, r"annotation 1 \(id 10\): image_id 5 is not among the images"),
        (
            "annotations.1.bbox",
            [1, 2, 3],
            r"annotation 1 \(id 10\): bbox: expected 4 finite numbers, found \[1, 2, 3\]",
        ),
        ("annotations.1.bbox", [1, 2, 3, "4"], "expected 4 finite numbers"),
        ("annotations.1.bbox", [1, 2, 3, float("nan")], "expected 4 finite numbers"),
        ("annotations.0.keypoints", [1, 2, 2] * 17, "51 keypoint numbers; expected x, y, v of 5 or 19"),
        ("images.1.id", "x7", "image 1: id 'x7' was there before"),
        ("images.1.file_name", "a/b.jpg", "an image is listed twice"),
        ("images.1.file_name", "../c.jpg", "image 1: picture '../c.jpg'; expected a path within"),
        ("images.0.width", "wide", "image 0: width and height: expected a list of finite numbers"),
        ("categories.1.name", "head", "categories: classes person, head; expected one, or one called 'face'"),
        ("categories.1.keypoints", ["a", "b", "c", "d", "e"], "landmarks a, b, c, d, e; expected left_eye, right_eye"),
    ],
)
def test_errors_name_the_entry(tmp_path: Path, path: str, value: Any, problem: str) -> None:
    with pytest.raises(LabelError, match=problem):
        read(tmp_path, change(path, value))
