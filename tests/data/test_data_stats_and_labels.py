"""Face sizes with stage weights, and labels that a model makes itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import CELL, LANDMARKS
from facesmith import cli, images, load
from facesmith.data import formats
from facesmith.data.labelled import Face, LabelSet, labelled_images
from facesmith.data.self_label import SelfLabelling, agreed, self_label
from facesmith.data.stats import FaceSizes
from facesmith.errors import ConfigError, LabelError
from facesmith.faces import Faces
from facesmith.runtime import SizeRule

POINTS = np.array([(20, 20), (40, 20), (30, 30), (22, 40), (38, 40)], np.float32)


class TestSizes:
    def labels(self) -> LabelSet:
        sides = (4, 12, 12, 20, 40, 40, 40, 100)
        faces = [Face((0, 0, side, side)) for side in sides]
        rows = {"a.jpg": [*faces, Face((0, 0, 5, 5), ignored=True)], "empty.jpg": []}
        return LabelSet("mine", Path(), labelled_images("", rows), {"a.jpg": (320, 200), "empty.jpg": (9, 9)})

    def test_weights_at_the_size_that_the_network_sees(self) -> None:
        assert FaceSizes.of([self.labels()], SizeRule.parse("original")).weights == (1 / 8, 2 / 8, 1 / 8, 3 / 8, 1 / 8)
        twice = FaceSizes.of([self.labels()], SizeRule.parse(640))
        assert twice.weights == (0, 1 / 8, 2 / 8, 1 / 8, 4 / 8)
        assert twice.search_flag == "--stage-weights 0.000 0.125 0.250 0.125 0.500"
        assert twice.percentiles[50] == pytest.approx(60)

    def test_no_face(self) -> None:
        with pytest.raises(LabelError, match="at least one labelled face that is not ignored"):
            FaceSizes.of([], SizeRule.parse("auto"))

    def test_the_command_prints_a_flag_that_search_takes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "mine.json"
        formats.write([self.labels()], path, formats.Format.COCO)
        assert cli.main(["data", "stats", str(path), "--size", "original"]) == 0
        out = capsys.readouterr().out
        assert "4      16  32 to 64           3   37.5%" in out
        flags = out.splitlines()[-1].partition("facesmith search damofd ")[2].split()
        run = [
            "search",
            "damofd",
            *flags,
            "--iterations",
            "3000",
            "--population",
            "12",
            "--out",
            str(tmp_path / "search"),
        ]
        assert cli.main(run) == 0
        state = json.loads((tmp_path / "search/state.json").read_text())
        assert "[0.125, 0.25, 0.125, 0.375, 0.125]" in json.dumps(state)
        assert cli.main(["data", "stats", str(path), "--size", "original", "--json"]) == 0
        shares = json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))["share_by_stride"]
        assert shares == {"2": 0.125, "4": 0.25, "8": 0.125, "16": 0.375, "32": 0.125}


def faces(*rows: tuple[float, float, float], points: np.ndarray | None = POINTS) -> Faces:
    """Boxes of side 60 at x, y with a score."""
    boxes = [(x, y, x + 60, y + 60) for x, y, _ in rows]
    landmarks = None if points is None else np.array([points + (x, y) for x, y, _ in rows]).reshape(-1, 5, 2)
    return Faces(np.array(boxes).reshape(-1, 4), [score for *_, score in rows], landmarks)


class TestAgreement:
    SETTINGS = SelfLabelling(confidence=0.8, overlap=0.6)

    def test_the_mean_of_what_all_looks_see(self) -> None:
        (face,) = agreed(faces((0, 0, 0.9)), [faces((3, 0, 0.9)), faces((0, 6, 0.8))], self.SETTINGS)
        assert not face.ignored
        np.testing.assert_allclose(face.box, (1, 2, 61, 62))
        np.testing.assert_allclose(face.points, POINTS + (1, 2))

    @pytest.mark.parametrize(
        ("plain", "first", "second"),
        [
            ([(0, 0, 0.9)], [(0, 0, 0.9)], []),  # one look does not see it
            ([(0, 0, 0.9)], [(0, 0, 0.9)], [(30, 0, 0.9)]),  # or elsewhere
            ([(0, 0, 0.85)], [(0, 0, 0.7)], [(0, 0, 0.8)]),  # not sure enough
        ],
    )
    def test_everything_else_is_ignored(self, plain: list, first: list, second: list) -> None:
        found = agreed(faces(*plain), [faces(*first), faces(*second)], self.SETTINGS)
        assert found
        assert all(face.ignored for face in found)

    def test_what_only_another_look_sees(self) -> None:
        (face,) = agreed(faces(), [faces((0, 0, 0.9)), faces((1, 0, 0.8))], self.SETTINGS)
        assert face.ignored
        assert list(face.box) == [0, 0, 60, 60]  # type: ignore[arg-type]

    def test_landmarks_that_move(self) -> None:
        for shift, kept in ((5, True), (7, False)):  # a tenth of the side is 6
            moved = faces((0, 0, 0.9), points=POINTS + (shift, 0))
            (face,) = agreed(faces((0, 0, 0.9)), [faces((0, 0, 0.9)), moved], self.SETTINGS)
            assert not face.ignored
            assert (face.points is not None) == kept

    def test_a_model_without_landmarks(self) -> None:
        look = faces((0, 0, 0.9), points=None)
        (face,) = agreed(look, [look, look], self.SETTINGS)
        assert not face.ignored
        assert face.points is None

    def test_a_second_box_over_a_labelled_face_is_dropped(self) -> None:
        looks = [faces((0, 0, 0.9), (0, 20, 0.4)), faces((0, 0, 0.9))]
        assert [face.ignored for face in agreed(faces((0, 0, 0.9)), looks, self.SETTINGS)] == [False]

    @pytest.mark.parametrize("wrong", [{"confidence": 0.2}, {"overlap": 1.5}, {"drift": -1}, {"enlarge": 1.0}])
    def test_settings_that_make_no_sense(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ConfigError):
            SelfLabelling(**wrong)


def bright(path: Path, *cells: tuple[int, int]) -> None:
    """A dark picture of 4 x 3 cells in which the tiny network sees a face at each of ``cells`` (column, row)."""
    image = np.zeros((3 * CELL, 4 * CELL, 3), np.uint8)
    for column, row in cells:
        image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 250
    images.write(path, image)


class TestLabelling:
    def test_the_mirrored_look_is_mirrored_back(self, tiny_model: Path, tmp_path: Path) -> None:
        """The tiny network's landmarks are not symmetric, so a mirrored look disagrees unless drift is large."""
        bright(tmp_path / "a.png", (1, 0))
        detector = load(tiny_model, threads=1)
        image = images.read(tmp_path / "a.png")
        settings = SelfLabelling(doubtful=0.9, confidence=0.9, overlap=0, drift=1, enlarge=2)
        (face,) = self_label(detector, image, settings, size="original")
        assert not face.ignored
        plain = detector.detect(image, size="original", threshold=0.9)
        assert plain.landmarks is not None
        np.testing.assert_allclose(plain.landmarks[0], LANDMARKS + (CELL, 0))
        assert np.abs(np.array(face.box) - plain.boxes[0]).max() < CELL / 2

    def test_the_command(self, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        bright(tmp_path / "in/deep/a.png", (1, 0), (3, 2))
        bright(tmp_path / "in/none.png")
        (tmp_path / "in/broken.jpg").write_bytes(b"no picture")
        out = tmp_path / "labels.xml"
        flags = ["--to", "cvat", "--model", str(tiny_model), "--threads", "1", "--size", "original"]
        flags += [
            "--believe.overlap",
            "0",
            "--believe.drift",
            "1",
            "--believe.doubtful",
            "0.8",
            "--believe.enlarge",
            "2",
        ]
        assert cli.main(["data", "label", str(tmp_path / "in"), "--out", str(out), *flags]) == 1
        captured = capsys.readouterr()
        assert "broken.jpg" in captured.err
        assert "2 pictures, 2 faces, 0 doubtful ones marked as ignored, 1 pictures without any" in captured.out
        (labels,) = formats.read(out)
        assert {one.path: len(one.boxes) for one in labels.images} == {"deep/a.png": 2, "none.png": 0}

    def test_no_pictures(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["data", "label", str(tmp_path), "--out", str(tmp_path / "a.json")]) == 2
        assert "no pictures in this folder" in capsys.readouterr().err


def test_no_torch() -> None:
    code = """
import sys
import facesmith.cli.data, facesmith.cli.convert, facesmith.data.stats, facesmith.data.check.contact_sheet
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
