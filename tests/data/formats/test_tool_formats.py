"""CVAT's and Label Studio's files as these tools write them, and detections as labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesmith import images
from facesmith.data import formats
from facesmith.data.labelled import LabelSet
from facesmith.errors import LabelError

POINTS = "11,14;19,14;15,18;12,22;18,22"
LANDMARKS = [[11, 14], [19, 14], [15, 18], [12, 22], [18, 22]]
BOX = '<box label="Face" xtl="10" ytl="10.5" xbr="20" ybr="25" occluded="0" z_order="0"/>'
LARGE = '<box label="Face" xtl="0" ytl="0" xbr="40" ybr="30"/>'
SKELETON = (
    '<skeleton label="marks">'
    + "".join(
        f'<points label="{name}" outside="0" points="{x},{y}"/>'
        for name, (x, y) in zip(
            ("right mouth corner", "nose", "left_eye", "Left Mouth", "right-eye"),
            (LANDMARKS[i] for i in (4, 2, 0, 3, 1)),
            strict=True,
        )
    )
    + "</skeleton>"
)


def cvat(tmp_path: Path, *elements: str) -> LabelSet:
    path = tmp_path / "annotations.xml"
    inner = "\n".join(elements)
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        "<meta><task><labels><label><name>Face</name></label></labels></task></meta>\n"
        f'<image id="0" name="a/b.jpg" width="40" height="30">\n{inner}\n</image>\n</annotations>\n'
    )
    return formats.read(path)[0]


class TestCvat:
    def test_points_belong_to_their_group(self, tmp_path: Path) -> None:
        grouped = f'<points label="x" points="{POINTS}" group_id="4"/>'
        found = cvat(tmp_path, BOX, LARGE.replace("/>", ' group_id="4"/>'), grouped)
        assert found.images[0].has_landmarks.tolist() == [False, True]
        assert found.sizes == {"a/b.jpg": (40, 30)}

    @pytest.mark.parametrize("landmarks", [f'<points label="x" points="{POINTS}"/>', SKELETON])
    def test_else_to_the_smallest_box_around_them(self, tmp_path: Path, landmarks: str) -> None:
        image = cvat(tmp_path, LARGE, BOX, landmarks).images[0]
        assert image.has_landmarks.tolist() == [False, True]
        assert image.landmarks[1].tolist() == LANDMARKS
        assert image.boxes.tolist() == [[0, 0, 40, 30], [10, 10.5, 20, 25]]

    def test_landmarks_without_a_box_make_one(self, tmp_path: Path) -> None:
        image = cvat(tmp_path, SKELETON).images[0]
        x1, y1, x2, y2 = image.boxes[0]
        assert x1 < 11 < 19 < x2
        assert y1 < 14 < 22 < y2

    def test_a_point_outside_is_no_landmarks(self, tmp_path: Path) -> None:
        image = cvat(tmp_path, BOX, SKELETON.replace('outside="0"', 'outside="1"', 1)).images[0]
        assert image.has_landmarks.tolist() == [False]

    def test_other_labels_are_passed_over(self, tmp_path: Path) -> None:
        image = cvat(tmp_path, BOX, BOX.replace("Face", "car"), BOX.replace("Face", "ignored")).images[0]
        assert image.ignored.tolist() == [False, True]

    @pytest.mark.parametrize(
        ("element", "problem"),
        [
            (BOX.replace('xbr="20"', ""), r"xml:6: xbr=None; expected a finite number"),
            (BOX.replace('xbr="20"', 'xbr="inf"'), r"xml:6: xbr='inf'; expected a finite number"),
            (BOX.replace("/>", ' rotation="10"/>'), r"xml:6: a rotated box"),
            ('<points label="x" points="1,2;3,4"/>', r"xml:6: 2 points; expected 5 or 19"),
            ('<points label="x" points="1,2;3"/>', r"xml:6: points='1,2;3'; expected x,y;x,y"),
            ('<polygon label="face" points="1,2;3,4;5,6"/>', r"xml:6: a face drawn as polygon; expected a box"),
            (SKELETON.replace("left_eye", "ear"), r"xml:6: skeleton: landmarks .*; expected left_eye"),
            ("<box", r"xml:7: no XML: not well-formed"),
            (BOX.replace("Face", "cat") + BOX.replace("Face", "dog"), "labels of boxes: classes cat, dog"),
            ('</image><image name="a/b.jpg">', r"xml:6: image 'a/b\.jpg' was there before"),
        ],
    )
    def test_errors_name_the_line(self, tmp_path: Path, element: str, problem: str) -> None:
        with pytest.raises(LabelError, match=problem):
            cvat(tmp_path, element)


def region(kind: str, label: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"id": label, "type": kind, **size, "value": value | {kind: [label]}, **more}


def rectangle(x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    return region("rectanglelabels", "Face", {"x": x, "y": y, "width": width, "height": height, "rotation": 0}, **more)


def dot(name: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    return region("keypointlabels", name, {"x": x, "y": y, "width": 0.3}, **more)


DOTS = [dot("left_eye", 20, 30), dot("Right Eye", 30, 30), dot("nose", 25, 40), dot("left_mouth", 21, 50)]
DOTS += [dot("right_mouth", 29, 50)]


def label_studio(tmp_path: Path, *regions: dict[str, Any], image: str = "/data/local-files/?d=a%20b/c.jpg") -> LabelSet:
    tasks = [
        {"data": {"image": image}, "annotations": [{"result": [], "was_cancelled": True}, {"result": list(regions)}]},
        {"data": {"image": "later.jpg"}, "annotations": []},
        {"data": {"image": "none.jpg"}, "annotations": [], "predictions": [{"result": []}]},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return formats.read(path)[0]


class TestLabelStudio:
    def test_keypoints_belong_to_the_smallest_rectangle_around(self, tmp_path: Path) -> None:
        found = label_studio(tmp_path, rectangle(0, 0, 100, 100, id="large"), rectangle(15, 20, 20, 40), *DOTS)
        image, background = found.images  # the task that nobody has labelled is not among them
        assert (image.path, background.path) == ("a b/c.jpg", "none.jpg")
        assert image.boxes.tolist() == [[0, 0, 200, 100], [30, 20, 70, 60]]
        assert image.has_landmarks.tolist() == [False, True]
        assert image.landmarks[1].tolist() == [[40, 30], [60, 30], [50, 40], [42, 50], [58, 50]]
        assert found.sizes == {"a b/c.jpg": (200, 100)}

    def test_or_to_their_parent(self, tmp_path: Path) -> None:
        large = rectangle(0, 0, 100, 100, id="large")
        image = label_studio(tmp_path, large, rectangle(15, 20, 20, 40), *(d | {"parentID": "large"} for d in DOTS))
        assert image.images[0].has_landmarks.tolist() == [True, False]

    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("/data/upload/12/0f3c9a1b-my_photo.jpg", "my_photo.jpg"),
            ("/data/upload/0f3c9a1b-my_photo.jpg", "my_photo.jpg"),
            ("https://example.org/x/y.jpg?a=1", "x/y.jpg"),
            ("s3://bucket/x/y.jpg", "x/y.jpg"),
            ("x/y.jpg", "x/y.jpg"),
        ],
    )
    def test_addresses_of_pictures(self, tmp_path: Path, url: str, path: str) -> None:
        assert label_studio(tmp_path, image=url).images[0].path == path

    @pytest.mark.parametrize(
        ("regions", "problem"),
        [
            ([rectangle(1, 1, 5, 5), DOTS[0]], "task 0: region 'left_eye': a landmark in no face's rectangle"),
            (
                [rectangle(0, 0, 99, 99), dot("ear", 5, 5)],
                "task 0: region 'ear': no such landmark: 'ear'; expected left_brow",
            ),
            ([rectangle(1, 1, 5, None)], r"region 'Face': x, y, width, height: expected 4 finite numbers"),  # type: ignore[arg-type]
            ([region("rectanglelabels", "Face", {"x": 1, "y": 1, "width": 2, "height": 2, "rotation": 30})], "rotated"),
            ([rectangle(1, 1, 5, 5, original_width=None)], "original_width and original_height: expected"),
        ],
    )
    def test_errors_name_the_region(self, tmp_path: Path, regions: list[dict[str, Any]], problem: str) -> None:
        with pytest.raises(LabelError, match=problem):
            label_studio(tmp_path, *regions)

    def test_no_task_is_labelled(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text('[{"data": {"image": "a.jpg"}}]')
        with pytest.raises(LabelError, match="none of 1 tasks has an annotation or prediction"):
            formats.read(tmp_path / "a.json")


class TestDetections:
    ROW = {"path": "p/a.jpg", "width": 40, "height": 30}
    FACE = {"box": [1, 2, 11, 12.5], "score": 0.9, "landmarks": LANDMARKS}

    @pytest.mark.parametrize("lines", [True, False])
    def test_jsonl_and_json(self, tmp_path: Path, lines: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        images.write(tmp_path / "p/a.jpg", np.zeros((30, 40, 3), np.uint8))
        entries = [self.ROW | {"faces": [self.FACE, {"box": [0, 0, 5, 5], "score": 0.5}]}]
        entries += [self.ROW | {"path": "./p/b.jpg", "faces": []}]
        path = tmp_path / "elsewhere/found"
        path.parent.mkdir()
        path.write_text("\n".join(map(json.dumps, entries)) if lines else json.dumps(entries))
        (found,) = formats.read(path)
        assert found.root == tmp_path.resolve()
        assert [one.path for one in found.images] == ["p/a.jpg", "p/b.jpg"]
        assert found.images[0].boxes.tolist() == [[1, 2, 11, 12.5], [0, 0, 5, 5]]
        assert found.images[0].has_landmarks.tolist() == [True, False]
        assert found.sizes["p/b.jpg"] == (40, 30)

    def test_absolute_paths_lose_their_common_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "found.jsonl"
        names = [f"{tmp_path}/p/a.jpg", f"{tmp_path}/p/q/b.jpg"]
        path.write_text("\n".join(json.dumps(self.ROW | {"path": name, "faces": []}) for name in names))
        (found,) = formats.read(path)
        assert found.root == tmp_path / "p"
        assert [one.path for one in found.images] == ["a.jpg", "q/b.jpg"]

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ('{"path": "a.jpg", "faces": [{"box": [1, 2, 0, 4]}]}', r":2: face 0: box .* negative size"),
            ('{"path": "a.jpg", "faces": [{"box": [1, 2]}]}', r":2: face 0: box: expected 4 finite numbers"),
            ('{"path": "a.jpg", "faces": []}', r":2: width and height: expected"),
            ('{"path": "a.jpg"', r":2: no JSON"),
            ('{"path": "a.mp4", "frame": 0, "faces": []}', r":2: a frame of the video 'a\.mp4'"),
            ('{"path": "p/a.jpg", "width": 4, "height": 3, "faces": []}', r":2: 'p/a\.jpg' was there before"),
        ],
    )
    def test_errors_name_the_line(self, tmp_path: Path, row: str, problem: str) -> None:
        path = tmp_path / "found.jsonl"
        path.write_text(json.dumps(self.ROW | {"faces": []}) + "\n" + row)
        with pytest.raises(LabelError, match=problem):
            formats.read(path)
