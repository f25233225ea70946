"""Plans written, edited, read."""

import json
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from facesmith.anonymize import plan as plans
from facesmith.anonymize.plan import Plan
from facesmith.errors import LabelError
from facesmith.faces import Faces

LINE = {"path": "a.png", "name": "a.png", "width": 64, "height": 48, "faces": [{"box": [1, 2, 3, 4]}]}


def video(path: str = "v.mp4") -> Plan:
    faces = Faces([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 12, 12]], [0.9, 0.8, 0.7], track_ids=np.array([1, 2, 1]))
    keep, carried = np.array([False, True, False]), np.array([False, False, True])
    return Plan(path, PurePath("in/v.mp4"), 64, 48, (0.0, 0.033333, 0.1), np.array([0, 0, 2]), faces, keep, carried)


def picture() -> Plan:
    none = np.zeros(1, bool)
    faces = Faces([[5, 5, 9, 9.5]], [0.75], track_ids=np.array([-1]))
    return Plan("a.png", PurePath("a.png"), 32, 16, None, np.zeros(1, np.int64), faces, none, none)


def stored(folder: Path, *rows: Any) -> Path:
    path = folder / "plan.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    with path.open("w") as stream:
        for plan in (video(), picture(), video("w.mp4")):
            plans.write(stream, plan)
    assert len(path.read_text().splitlines()) == 3 + 1 + 3
    read = list(plans.read(path))
    for plan, expected in zip(read, (video(), picture(), video("w.mp4")), strict=True):
        assert (plan.path, plan.name, plan.width, plan.height, plan.times) == (
            expected.path,
            expected.name,
            expected.width,
            expected.height,
            expected.times,
        )
        for name in ("frame", "keep", "carried"):
            assert np.array_equal(getattr(plan, name), getattr(expected, name))
        for name in ("boxes", "track_ids"):
            assert np.array_equal(getattr(plan.faces, name), getattr(expected.faces, name))
        assert plan.faces.scores == pytest.approx(expected.faces.scores)


def test_what_is_hidden() -> None:
    plan = video()
    assert plan.hidden(0).boxes.tolist() == [[0, 0, 10, 10]]
    assert plan.hidden(1).boxes.tolist() == []
    assert plan.hidden(2).boxes.tolist() == [[0, 0, 12, 12]]
    assert plan.track_ids == {1, 2}
    assert picture().hidden().boxes.tolist() == [[5, 5, 9, 9.5]]
    assert picture().track_ids == set()


def test_keeping() -> None:
    plan = video()
    assert plan.keeping([1], []).keep.tolist() == [True, True, True]
    assert plan.keeping([7], []).keep.tolist() == [False, True, False]
    assert plan.keeping([], [(4, 4, 5.5, 6)]).keep.tolist() == [True, True, False]
    assert plan.keeping([], [(90, 90, 99, 99), (5.5, 0, 9, 9)]).keep.tolist() == [False, True, True]
    assert picture().keeping([-1], []).keep.tolist() == [False]  # -1 is no track


def test_a_face_needs_its_box_only(tmp_path: Path) -> None:
    (plan,) = plans.read(stored(tmp_path, LINE))
    assert plan.hidden().boxes.tolist() == [[1, 2, 3, 4]]
    assert plan.track_ids == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": [{"box": [1, 2, 3]}]}, "a box is four numbers"),
        ({"faces": [{"box": [1, 2, 3, float("nan")]}]}, "a box is four numbers"),
        ({"faces": [{"box": [1, 2, 3, True]}]}, "a box is four numbers"),
        ({"faces": [{}]}, "box is missing"),
        ({"faces": [3]}, "3 stands where a JSON object belongs"),
        ({"faces": [{"box": [1, 2, 3, 4], "kepp": True}]}, "unknown key 'kepp'"),
        ({"faces": [{"box": [1, 2, 3, 4], "keep": 1}]}, "keep cannot be 1"),
        ({"faces": [{"box": [1, 2, 3, 4], "track_id": True}]}, "track_id cannot be true"),
        ({"width": "64"}, 'width cannot be "64"'),
        ({"name": "../a.png"}, "not a file within the output folder"),
        ({"name": "/a.png"}, "not a file within the output folder"),
        ({"frame": 0}, "frame and time stand together"),
        ({"frame": 1, "time": 0.1}, "frame 0 of a.png belongs here"),
    ],
)
def test_wrong_lines(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = stored(tmp_path, {**LINE, "path": "b.png", "name": "b.png"}, {**LINE, **change})
    with pytest.raises(LabelError, match=f"{path}:2: .*{message}"):
        list(plans.read(path))


def test_wrong_order(tmp_path: Path) -> None:
    frames = [{**LINE, "frame": i, "time": i / 10} for i in range(3)]
    with pytest.raises(LabelError, match=r"plan.jsonl:2: frame 1 of a.png"):
        list(plans.read(stored(tmp_path, frames[0], frames[2])))
    with pytest.raises(LabelError, match=r"plan.jsonl:2: width and height differ"):
        list(plans.read(stored(tmp_path, frames[0], {**frames[1], "width": 65})))
    with pytest.raises(LabelError, match=r"plan.jsonl:2: a.png stands twice"):
        list(plans.read(stored(tmp_path, LINE, LINE)))
    (tmp_path / "plan.jsonl").write_text("{]")
    with pytest.raises(LabelError, match=r"plan.jsonl:1: not JSON"):
        list(plans.read(tmp_path / "plan.jsonl"))


def test_outlines_are_written_and_read(tmp_path: Path) -> None:
    curve = np.array([[1, 2], [9.5, 2.25], [5, 9]], np.float32)
    plan = replace(video(), outlines=(curve, curve + 20, np.zeros((0, 2), np.float32)))
    path = tmp_path / "plan.jsonl"
    with path.open("w") as stream:
        plans.write(stream, plan)
        plans.write(stream, picture())
    read, without = plans.read(path)
    assert read.outlines is not None
    assert [len(outline) for outline in read.outlines] == [3, 3, 0]
    assert read.outlines[1] == pytest.approx(curve + 20, abs=0.051)
    hidden = read.hidden(0)  # its second face stays visible
    assert hidden.outlines is not None
    assert len(hidden.outlines) == 1
    assert hidden.outlines[0] == pytest.approx(curve, abs=0.051)
    assert (without.outlines, without.hidden().outlines) == (None, None)
    assert next(plans.read(stored(tmp_path, {**LINE, "faces": []}))).outlines == ()


@pytest.mark.parametrize(
    "outline", [[], [[1, 2], [3, 4]], [[1, 2], [3, 4], [5]], [[1, 2], [3, 4], [5, "6"]], [1, 2, 3]]
)
def test_wrong_outlines(tmp_path: Path, outline: Any) -> None:
    row = {**LINE, "faces": [{"box": [1, 2, 3, 4], "outline": outline}]}
    with pytest.raises(LabelError, match=r"plan.jsonl:1: an outline is three points \[x, y\] or more"):
        list(plans.read(stored(tmp_path, row)))
