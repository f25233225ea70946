"""FDDB's ground truth: lists, sizes, subsets, rotation; and predictions of either kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import slow_fddb as slow
from detection_cases import DATA, KNOWN, ellipses, faces, fddb_truth
from PIL import Image

from facesmith.errors import ImageError, LabelError
from facesmith.evaluation import fddb
from facesmith.evaluation.predictions import write_fddb_text, write_jsonl
from facesmith.faces import Faces

FACE = (30, 20, np.pi / 2, 60, 70)
OTHER = (25, 18, 1.4, 150, 60)


class TestRotation:
    @pytest.mark.parametrize("turns", [1, -1, 2])
    def test_the_drawing_turns_with_the_picture(self, turns: int) -> None:
        shape = (31.0, 17.0, np.deg2rad(25), 52.0, 40.0)
        labels = fddb_truth({"a": ellipses(shape)}, size=(120, 90))
        turned = labels.rotated(turns)
        width, height = turned.sizes[0]
        assert (width, height) == ((90, 120) if turns % 2 else (120, 90))
        before = slow.ellipse_mask(shape, 120, 90)
        after = slow.ellipse_mask(turned.ellipses[0].shapes[0], width, height)
        # equal but for single pixels, since OpenCV draws a polygon
        assert cv2.countNonZero(np.rot90(before, turns) ^ after) <= 0.01 * cv2.countNonZero(before)

    def test_there_and_back(self) -> None:
        labels = fddb_truth({"a": ellipses(FACE, OTHER)})
        back = labels.rotated(1).rotated(-1)
        assert back.ellipses[0].shapes[:, [0, 1, 3, 4]] == pytest.approx(labels.ellipses[0].shapes[:, [0, 1, 3, 4]])
        assert (back.sizes == labels.sizes).all()
        found = {"a": labels.ellipses[0]}
        assert fddb.evaluate(found, back, provenance=KNOWN).metrics["continuous @1"] == 1

    def test_a_quarter_turn_counter_clockwise_takes_the_right_edge_to_the_top(self) -> None:
        turned = ellipses((5, 4, 0.0, 199, 30)).rotated(200, 150, 1)
        assert turned.shapes[0] == pytest.approx([5, 4, -np.pi / 2, 30, 0])


class TestReaders:
    def write(self, folder: Path) -> fddb.truth.Sizes:
        (folder / "FDDB-fold-01-ellipseList.txt").write_text(
            "2002/a/img_1\n1\n30.5 20.25 1.5 60 70  1\n2002/a/img_2\n2\n30 20 -1.5 60 70 1\n10 9 0 5 6  1\n"
        )
        (folder / "FDDB-fold-02-ellipseList.txt").write_text("2003/b/img_3\n1\n8 7 0.5 20 21 1\n")
        return {"2002/a/img_1": (100, 90), "2002/a/img_2": (100, 80), "2003/b/img_3": (50, 60)}

    def test_lists(self, tmp_path: Path) -> None:
        labels = fddb.load_truth(tmp_path, self.write(tmp_path))
        assert labels.names == ("2002/a/img_1", "2002/a/img_2", "2003/b/img_3")
        assert labels.folds.tolist() == [1, 1, 2]
        assert labels.sizes.tolist() == [[100, 90], [100, 80], [50, 60]]
        assert labels.ellipses[0].shapes.tolist() == [[30.5, 20.25, 1.5, 60, 70]]
        assert labels.fold(2).names == ("2003/b/img_3",)

    def test_subset(self, tmp_path: Path) -> None:
        sizes = self.write(tmp_path)
        names = ["2003/b/img_3", "2002/a/img_2"]
        chosen = fddb.load_truth(tmp_path, {name: sizes[name] for name in names}, names=names)
        assert chosen.names == ("2002/a/img_2", "2003/b/img_3")
        assert fddb.load_truth(tmp_path, sizes).subset(names).names == chosen.names
        with pytest.raises(LabelError, match="'2002/a/img_9'; did you mean '2002/a/img_"):
            fddb.load_truth(tmp_path, sizes, names=["2002/a/img_9"])
        with pytest.raises(LabelError, match="1 of 3 listed images have no size, the first is '2003/b/img_3'"):
            fddb.load_truth(tmp_path, {name: sizes[name] for name in list(sizes)[:2]})

    def test_an_image_in_two_folds(self, tmp_path: Path) -> None:
        sizes = self.write(tmp_path)
        (tmp_path / "FDDB-fold-03-ellipseList.txt").write_text("2003/b/img_3\n0\n")
        with pytest.raises(LabelError, match=r"fold-03.*'2003/b/img_3' is in fold 2 already"):
            fddb.load_truth(tmp_path, sizes)

    def test_no_lists(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"no FDDB-fold-XX-ellipseList.txt"):
            fddb.load_truth(tmp_path, {})

    def test_rectangles_instead_of_ellipses(self, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text("a\n1\n8 7 0.5 20 1\n")
        with pytest.raises(LabelError, match=r"list.txt:3: 5 numbers, expected 6"):
            fddb.load_truth(path, {"a": (10, 10)})

    def test_image_sizes(self, tmp_path: Path) -> None:
        folder = tmp_path / "2002" / "big"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(folder / "img_1.jpg")
        assert fddb.image_sizes(tmp_path) == {"2002/big/img_1": (40, 30)}
        (folder / "img_2.jpg").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"img_2\.jpg"):
            fddb.image_sizes(tmp_path)
        with pytest.raises(ImageError, match=r"no \.jpg"):
            fddb.image_sizes(tmp_path / "none")

    def test_predictions_of_either_kind(self, tmp_path: Path) -> None:
        boxes, rounds = {"a": faces((1, 2, 3, 4, 0.5))}, {"a": ellipses((*FACE, 0.5))}
        write_fddb_text(boxes, tmp_path / "boxes.txt")
        write_fddb_text(rounds, tmp_path / "ellipses.txt")
        write_jsonl(boxes, tmp_path / "boxes.jsonl")
        assert isinstance(fddb.read_predictions(tmp_path / "boxes.txt")["a"], Faces)
        assert isinstance(fddb.read_predictions(tmp_path / "boxes.jsonl")["a"], Faces)
        read = fddb.read_predictions(tmp_path / "ellipses.txt")["a"]
        assert isinstance(read, fddb.Ellipses)
        assert (read.shapes == rounds["a"].shapes).all()

    def test_ellipses_are_checked(self) -> None:
        with pytest.raises(ValueError, match="radii not negative"):
            ellipses((-1, 2, 0, 3, 4))
        with pytest.raises(ValueError, match="finite"):
            ellipses((1, np.nan, 0, 3, 4))
        with pytest.raises(ValueError, match="2 shapes but 1 scores"):
            fddb.Ellipses(np.ones((2, 5)), np.ones(1))

    def test_boxes_of_ellipses(self) -> None:
        assert ellipses(FACE).boxes()[0] == pytest.approx([40, 40, 80, 100])
        assert ellipses((30, 20, 0, 60, 70)).boxes()[0] == pytest.approx([30, 50, 90, 90])
        half = np.sqrt((30**2 + 20**2) / 2)
        assert ellipses((30, 20, np.pi / 4, 60, 70)).boxes()[0] == pytest.approx(
            [60 - half, 70 - half, 60 + half, 70 + half]
        )


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (../shared/data/dev) is not here")
def test_official_lists() -> None:
    names = [
        line
        for path in sorted((DATA / "ground-truth" / "FDDB-folds").glob("*.txt"))
        for line in path.read_text().splitlines()
        if line.startswith("200")
    ]
    labels = fddb.load_truth(DATA / "ground-truth" / "FDDB-folds", dict.fromkeys(names, (450, 450)))
    assert len(labels.names) == fddb.OFFICIAL_IMAGES
    assert sum(map(len, labels.ellipses)) == 5171
    assert np.bincount(labels.folds).tolist() == [0, 290, 285, 274, 302, 298, 302, 279, 276, 259, 280]
    chosen = labels.subset((DATA / "fddb-images.txt").read_text().split())
    assert len(chosen.names) == 350
    found = dict(zip(chosen.names, chosen.ellipses, strict=True))
    assert fddb.evaluate(found, chosen, provenance=KNOWN).metrics["continuous @1"] == pytest.approx(1)
