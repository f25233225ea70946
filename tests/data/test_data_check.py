"""Damaged labels and pictures: each kind of damage is found, and sound data is not blamed."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import RELATIVE, write_faces
from facesmith import cli, images
from facesmith.data import formats
from facesmith.data.check import landmark_order
from facesmith.data.check.contact_sheet import ACROSS, TILE, contact_sheet
from facesmith.data.check.pictures import near_duplicates, perceptual_hash
from facesmith.data.check.problems import Kind, Problem, label_problems
from facesmith.data.check.report import check
from facesmith.data.labelled import Face, LabelledImage, LabelSet, labelled_images

FACE = RELATIVE * 40 + (30, 30)
BOX = (30, 30, 70, 70)


def problems(*faces: Face, size: tuple[int, int] = (200, 100), stated: tuple[int, int] | None = None) -> list[Problem]:
    labels = LabelSet(
        "mine", Path(), labelled_images("", {"a.jpg": faces}), {} if stated is None else {"a.jpg": stated}
    )
    return label_problems(labels, {"a.jpg": size})


def heads(yaw: float, roll: float) -> np.ndarray:
    """(1, 5, 2) landmarks of a head like the one that views are made of, from a side that is not among them."""
    angle, turn = np.radians(yaw), np.radians(roll)
    x, y, z = (landmark_order._HEAD + [(0.03, 0, 0), (0, 0.04, 0), (0, 0.03, 0.1), (0, 0, 0), (-0.03, 0, 0)]).T
    across = x * np.cos(angle) + z * np.sin(angle)
    points = np.stack([across * np.cos(turn) - y * np.sin(turn), across * np.sin(turn) + y * np.cos(turn)], axis=1)
    return (points * 30 + 100)[None].astype(np.float32)


class TestLandmarkOrder:
    @pytest.mark.parametrize("roll", [0, 35, 90, 180, -100])
    @pytest.mark.parametrize("yaw", [0, 22, -50, 68])
    def test_a_right_order_is_believed_from_every_side(self, yaw: float, roll: float) -> None:
        assert landmark_order.verdicts(heads(yaw, roll)) == [None]

    @pytest.mark.parametrize("roll", [0, 35, 180])
    @pytest.mark.parametrize("yaw", [0, 22, -50])
    @pytest.mark.parametrize(
        ("order", "words"),
        [
            ((1, 0, 2, 4, 3), "left and right are swapped"),
            ((1, 0, 2, 3, 4), "the eyes are swapped"),
            ((0, 1, 2, 4, 3), "the mouth corners are swapped"),
            ((2, 0, 1, 3, 4), "the order seems to be nose, left_eye, right_eye, left_mouth, right_mouth"),
            ((0, 2, 1, 3, 4), "the order seems to be left_eye, nose, right_eye, left_mouth, right_mouth"),
        ],
    )
    def test_a_wrong_one_is_named(self, yaw: float, roll: float, order: tuple[int, ...], words: str) -> None:
        (verdict,) = landmark_order.verdicts(heads(yaw, roll)[:, list(order)])
        assert verdict is not None
        assert words in verdict.detail

    def test_points_that_coincide(self) -> None:
        assert len(landmark_order.verdicts(np.ones((2, 5, 2), np.float32))) == 2


class TestLabels:
    def test_a_sound_face(self) -> None:
        assert problems(Face(BOX, FACE)) == []

    @pytest.mark.parametrize(
        ("faces", "kind", "face", "words"),
        [
            ([Face(BOX, FACE[[1, 0, 2, 4, 3]])], Kind.ORDER, 0, "left and right"),
            ([Face(BOX, FACE + (0, 45))], Kind.STRAY, 0, "outside"),
            ([Face(BOX), Face((31, 30, 71, 70))], Kind.DOUBLED, 1, "overlaps face 0 by 95%"),
            ([Face((190, 30, 230, 70))], Kind.OUTSIDE, 0, "25% of the box"),
            ([Face((5, 5, 10, 9))], Kind.TINY, 0, "4.5 pixels"),
        ],
    )
    def test_damage(self, faces: list[Face], kind: Kind, face: int, words: str) -> None:
        (found,) = problems(*faces)
        assert (found.kind, found.labels, found.path, found.face) == (kind, "mine", "a.jpg", face)
        assert words in found.detail
        assert problems(*(one._replace(ignored=True) for one in faces)) == []

    def test_landmarks_of_each_other(self) -> None:
        found = problems(Face(BOX, FACE + (80, 0)), Face((110, 30, 150, 70), FACE))
        assert [(one.kind, one.face) for one in found] == [(Kind.EXCHANGED, 0), (Kind.EXCHANGED, 1)]
        assert found[0].detail == "its landmarks lie in the box of face 1"

    def test_labels_of_another_size(self) -> None:
        (found,) = problems(Face(BOX), stated=(400, 200))
        assert found.kind is Kind.SIZE
        assert found.detail == "labels say 400 x 200, the picture has 200 x 100"

    def test_a_face_at_the_border_is_sound(self) -> None:
        assert problems(Face((-15, 30, 25, 70))) == []


class TestHashes:
    def picture(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
        return np.asarray(cv2.resize(coarse, (240, 180), interpolation=cv2.INTER_CUBIC))

    def test_the_same_picture_again(self, tmp_path: Path) -> None:
        image = self.picture(0)
        images.write(tmp_path / "a.jpg", image)
        smaller = np.asarray(cv2.resize(image, (100, 75), interpolation=cv2.INTER_AREA))
        darker = (image * 0.8).astype(np.uint8)
        others = {
            "jpeg": images.read(tmp_path / "a.jpg"),
            "smaller": smaller,
            "darker": darker,
            "other": self.picture(1),
        }
        pairs = near_duplicates(
            {"x": perceptual_hash(self.picture(2)), "a": perceptual_hash(image)},
            {name: perceptual_hash(other) for name, other in others.items()},
        )
        assert [(pair.first, pair.second) for pair in pairs] == [("a", "jpeg"), ("a", "smaller"), ("a", "darker")]

    def test_different_pictures(self) -> None:
        hashes = [{str(i): perceptual_hash(self.picture(i)) for i in part} for part in (range(60), range(60, 130))]
        assert near_duplicates(*hashes) == []

    def test_nothing_to_compare(self) -> None:
        assert near_duplicates({}, {"a": perceptual_hash(self.picture(0))}) == []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "data", 8)


def damaged(data: Path) -> None:
    """One damage of every kind that needs pictures, and swapped sides in all of a set."""
    (one, _) = formats.read(data)
    swapped = [image._replace(landmarks=image.landmarks[:, [1, 0, 2, 4, 3]]) for image in one.images]
    formats.write([replace(one, images=swapped)], data / "faces.txt", formats.Format.RETINAFACE)
    (data / "faces/3.png").unlink()
    (data / "faces/4.png").write_bytes((data / "faces/4.png").read_bytes()[:500])
    images.write(data / "held out/x/copy.jpg", images.read(data / "faces/5.png"))


class TestCommand:
    def test_sound_data(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["data", "check", str(data), "--threads", "1"]) == 0
        out = capsys.readouterr().out
        assert "nothing wrong was found" in out
        assert "faces                    8        16              16        0             0%" in out
        assert "background               1         0               0        0           100%" in out
        assert "faces            2-4: 8" in out

    def test_damaged_data(self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        damaged(data)
        report, sheet = tmp_path / "out/report.json", tmp_path / "out/sheet.png"
        flags = ["--val", str(data / "held out"), "--json", str(report), "--sheet", str(sheet), "--threads", "2"]
        assert cli.main(["data", "check", str(data), *flags]) == 1
        out = capsys.readouterr().out
        assert "In the whole of faces, by 16 of its 16 faces with landmarks: left and right are swapped" in out
        assert "landmark order: 16\n" in out
        assert "… and 11 more" in out
        rows = json.loads(report.read_text())["problems"]
        kinds = {row["kind"]: (row["path"], row["detail"]) for row in rows}
        assert kinds["missing picture"] == ("faces/3.png", "no such file")
        assert kinds["unreadable picture"][0] == "faces/4.png"
        assert kinds["near-duplicate in training and validation"][0] == "faces/5.png"
        assert "held out/x/copy.jpg (0 of 64 bits differ)" in kinds["near-duplicate in training and validation"][1]
        picture = images.read(sheet)
        assert picture.shape[1] == ACROSS * TILE
        assert picture.shape[0] > 2 * TILE  # two rows: orders and the leak

    def test_validation_sets_are_known_by_name(self, data: Path) -> None:
        (faces, _) = formats.read(data)
        copy = replace(faces, name="my_val", images=faces.images[:2])
        leaks = [one for one in check([faces, copy], [], threads=1).problems if one.kind is Kind.LEAK]
        assert [one.path for one in leaks] == ["faces/0.png", "faces/1.png"]

    def test_an_empty_validation_folder(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (data / "nothing").mkdir()
        assert cli.main(["data", "check", str(data), "--val", str(data / "nothing"), "--threads", "1"]) == 2
        assert "no pictures to compare with" in capsys.readouterr().err


def test_the_sheet_of_nothing() -> None:
    assert contact_sheet([], []).shape[1] == ACROSS * TILE


def test_a_face_beside_its_picture_has_a_tile(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    faces: list[LabelledImage] = labelled_images("", {"a.png": [Face((100, 100, 120, 120))]})
    labels = LabelSet("mine", tmp_path, faces)
    found = label_problems(labels, {"a.png": (30, 20)})
    assert [one.kind for one in found] == [Kind.OUTSIDE]
    assert contact_sheet(found, [labels]).shape[0] > TILE
