import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from facesmith.errors import LabelError
from facesmith.evaluation import landmarks
from facesmith.evaluation.landmark_truth import five_of_68
from facesmith.evaluation.landmarks import Protocol
from facesmith.evaluation.result import Provenance

PROVENANCE = Provenance("test")


def write_jsonl(path: Path, faces: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(face) + "\n" for face in faces))
    return path


def test_json_lines_serve_every_protocol(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (2, 19, 2))
    faces = [
        {"image": "a.jpg", "points": p.tolist(), "box": [0, 0, 100, 100], "visible": [1] * 18 + [0]} for p in points
    ]
    truth = landmarks.load_truth(write_jsonl(tmp_path / "a.jsonl", faces), landmarks.AFLW)
    assert truth.images == ("a",)
    assert truth.visible.sum() == 36
    result = landmarks.evaluate({"a": points + np.array([10, 0])}, truth, provenance=PROVENANCE)
    assert result.metrics["nme_visible"] == pytest.approx(0.1)
    turned = [
        {"image": f"{i}.jpg", "points": rng.uniform(0, 9, (68, 2)).tolist(), "yaw": yaw}
        for i, yaw in enumerate([30, -30.5, -60, 60.5])
    ]
    truth = landmarks.load_truth(write_jsonl(tmp_path / "b.jsonl", turned), landmarks.AFLW2000_3D)
    assert truth.groups["yaw_0_30"].tolist() == [True, False, False, False]
    assert truth.groups["yaw_60_90"].tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[0, 0]] * 18}, r"a\.jsonl:2: 'points' must hold \(19, 2\)"),
        ({"points": [[0, 0]] * 18 + [[0, float("nan")]]}, r"a\.jsonl:2: 'points' must hold \(19, 2\) finite"),
        ({"visible": [1]}, r"a\.jsonl:2: 'visible'"),
        ({"box": [0, 0, 0, 9]}, r"a\.jsonl: image 'b': the length \(all\) to divide errors by is 0"),
        ({"box": [0, 0, 9]}, r"a\.jsonl:2: 'box'"),
        ({"box": None}, r"a\.jsonl:2: "),
        ({"image": 3}, r"a\.jsonl:2: .*needs image and points"),
    ],
)
def test_bad_json_lines(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = {"image": "a.jpg", "points": [[i, i] for i in range(19)], "box": [0, 0, 9, 9]}
    write_jsonl(tmp_path / "a.jsonl", [good, good | {"image": "b.jpg"} | change])
    with pytest.raises(LabelError, match=message):
        landmarks.load_truth(tmp_path / "a.jsonl", landmarks.AFLW)


def test_boxes_are_never_guessed_where_errors_are_divided_by_them(tmp_path: Path) -> None:
    good = {"image": "a.jpg", "points": [[i, i] for i in range(19)]}
    write_jsonl(tmp_path / "a.jsonl", [good])
    with pytest.raises(LabelError, match="aflw divides errors by the size of the face's box"):
        landmarks.load_truth(tmp_path / "a.jsonl", landmarks.AFLW)
    write_jsonl(tmp_path / "a.jsonl", [good, good | {"box": [0, 0, 1, 1]}])
    with pytest.raises(LabelError, match="1 of 2 faces have a 'box'"):
        landmarks.load_truth(tmp_path / "a.jsonl", landmarks.AFLW)


@pytest.mark.parametrize(
    ("protocol", "name", "content", "message"),
    [
        (landmarks.WIDER_FACE, "l.txt", "# a\n1 2 3 4 5\n", r"l\.txt:2: 5 numbers, expected 'x y w h'"),
        (
            landmarks.WIDER_FACE,
            "l.txt",
            "# a\n1 2 3 4" + " 5 5 0" * 4 + " -1 -1 -1\n",
            r"l\.txt:2: a face has all",
        ),
        (landmarks.WIDER_FACE, "l.txt", "", "holds no labelled face"),
        (
            landmarks.WIDER_FACE,
            "l.txt",
            "# a\n1 2 0 4" + " 5 5 0" * 5 + "\n",
            "image 'a': the length to divide",
        ),
        (landmarks.FRAMES, "l.txt", "# a\n" + "1 " * 134, r"l\.txt:2: 134 numbers, expected '68 times x y'"),
        (landmarks.W300, "a.pts", "n_points: 68", r"a\.pts: not a \.pts file"),
        (landmarks.W300, "a.pts", "{ 1 2 3 }", r"a\.pts: 3 numbers, expected 68"),
        (landmarks.AFLW, "x.mat", "text", r"x\.mat: not a readable \.mat file"),
    ],
)
def test_bad_label_files(protocol: Protocol, name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(LabelError, match=message):
        landmarks.load_truth(tmp_path if name.endswith(".pts") else tmp_path / name, protocol)


def test_bad_mat_files(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"pt3d_68": np.zeros((2, 68)), "Pose_Para": np.zeros(7)})
    with pytest.raises(LabelError, match=r"a\.mat: pt3d_68 must hold 3 x 68"):
        landmarks.load_truth(tmp_path, landmarks.AFLW2000_3D)
    with pytest.raises(LabelError, match=r"a\.mat: has no variable 'bbox'"):
        landmarks.load_truth(tmp_path / "a.mat", landmarks.AFLW)
    with pytest.raises(LabelError, match="holds no labelled face"):
        landmarks.load_truth(tmp_path / "nowhere", landmarks.AFLW2000_3D)


def test_five_of_68_by_number() -> None:
    points = np.arange(1, 69, dtype=np.float64)[None, :, None].repeat(2, axis=2)
    assert five_of_68(points)[0, :, 0].tolist() == [39.5, 45.5, 31, 49, 55]
