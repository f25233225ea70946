"""The readers of WIDER FACE's ground truth: the official lists and both layouts of label files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from detection_cases import DATA

from facesmith.errors import LabelError
from facesmith.evaluation import widerface
from facesmith.evaluation.widerface.truth import ATTRIBUTES


def write_lists(folder: Path, images: dict[str, Sequence[Sequence[int]]], subsets: dict[str, list[list[int]]]) -> None:
    """The official .mat files, in their nesting of cell arrays."""

    def cells(values: list[object]) -> np.ndarray:
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        return column

    events = sorted({name.split("/")[0] for name in images})
    inside = {event: [name for name in images if name.startswith(event + "/")] for event in events}
    names = cells([cells([name.split("/")[1] for name in inside[event]]) for event in events])
    boxes = cells([cells([np.array(images[name], np.int32) for name in inside[event]]) for event in events])
    common = {"event_list": cells(list(events)), "file_list": names}
    labels = {
        f"{attribute}_label_list": cells(
            [cells([np.zeros((len(images[name]), 1), np.uint8) for name in inside[event]]) for event in events]
        )
        for attribute in ATTRIBUTES
    }
    scipy.io.savemat(folder / "wider_face_val.mat", {**common, **labels, "face_bbx_list": boxes})
    order = [name for event in events for name in inside[event]]
    for subset, rows in subsets.items():
        kept = dict(zip(order, rows, strict=True))
        lists = cells(
            [cells([np.array(kept[name], np.uint8).reshape(-1, 1) for name in inside[event]]) for event in events]
        )
        scipy.io.savemat(folder / f"wider_{subset}_val.mat", {**common, "gt_list": lists})


class TestReaders:
    images = {
        "0--A/x": [(1, 2, 3, 4), (5, 6, 7, 8)],
        "0--A/y": [(0, 0, 0, 0)],
        "1--B/z": [(9, 9, 9, 9), (1, 1, 0, 1), (2, 2, 2, 2)],
    }
    subsets = {"easy": [[], [], [1]], "medium": [[2], [], [1]], "hard": [[1, 2], [], [1, 3]]}

    def test_official_lists(self, tmp_path: Path) -> None:
        write_lists(tmp_path, self.images, self.subsets)
        for path in (tmp_path, tmp_path / "wider_face_val.mat"):
            labels = widerface.load_truth(path)
            assert labels.names == tuple(self.images)
            assert labels.offsets.tolist() == [0, 2, 3, 6]
            assert labels.boxes[1].tolist() == [5, 6, 12, 14]
            assert labels.subsets["hard"].tolist() == [True, True, False, True, False, True]
            assert labels.subsets["medium"].tolist() == [False, True, False, True, False, False]
            assert set(labels.attributes) == set(ATTRIBUTES)
            assert labels.official_images == 3226

    def test_lists_that_do_not_belong_together(self, tmp_path: Path) -> None:
        write_lists(tmp_path, self.images, {**self.subsets, "hard": [[], [], []]})
        other = tmp_path / "other"
        other.mkdir()
        write_lists(other, {"0--A/x": [(1, 2, 3, 4)]}, {"hard": [[1]]})
        (other / "wider_hard_val.mat").replace(tmp_path / "wider_hard_val.mat")
        with pytest.raises(LabelError, match=r"wider_hard_val.mat: lists other images"):
            widerface.load_truth(tmp_path)
        write_lists(tmp_path, self.images, {"hard": [[3], [], []]})
        with pytest.raises(LabelError, match=r"wider_hard_val.mat: lists a face that wider_face_val.mat does not"):
            widerface.load_truth(tmp_path)
        (tmp_path / "wider_hard_val.mat").unlink()
        with pytest.raises(LabelError, match=r"wider_hard_val.mat: cannot be read"):
            widerface.load_truth(tmp_path)

    def test_marked_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.txt"
        landmarks = " -1" * 15
        path.write_text(f"# 0--A/x.jpg\n1 2 3 4\n5 6 7 8{landmarks}\n# 0--A/y.jpg\n# 1--B/z.jpg\n1 1 0 1\n9 9 9 9\n")
        labels = widerface.load_truth(path, official_images=5)
        assert labels.names == ("0--A/x", "0--A/y", "1--B/z")
        assert labels.offsets.tolist() == [0, 2, 2, 4]
        assert labels.boxes[1].tolist() == [5, 6, 12, 14]
        assert labels.subsets["all"].tolist() == [True, True, False, True]
        assert labels.attributes == {}
        assert labels.official_images == 5

    def test_original_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "wider_face_val_bbx_gt.txt"
        path.write_text(
            "0--A/x.jpg\n2\n1 2 3 4 2 0 0 0 1 0 \n5 6 7 8 0 1 0 1 2 1 \n"
            "0--A/y.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n1--B/z.jpg\n1\n9 9 9 9 1 0 1 0 0 0 \n"
        )
        labels = widerface.load_truth(path)
        assert labels.names == ("0--A/x", "0--A/y", "1--B/z")
        assert labels.offsets.tolist() == [0, 2, 2, 3]
        assert labels.subsets["all"].tolist() == [True, False, True]  # the second is marked invalid
        assert labels.attributes["blur"].tolist() == [2, 0, 1]
        assert labels.attributes["occlusion"].tolist() == [1, 2, 0]
        assert labels.attributes["pose"].tolist() == [0, 1, 0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("# a.jpg\n1 2 3\n", "bad.txt:2: 3 numbers"),
            ("# a.jpg\n1 2 3 4\n# a.png\n", "bad.txt:3: image 'a' was named before"),
            ("# a.jpg\n\n1 2 -3 4\n", r"bad.txt:3: box .* negative size"),
            ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "bad.txt:2: says 2 faces for 'a', but 1 lines"),
            ("a.jpg\n1\n1 2 3 4\n", "bad.txt:3: 4 numbers, expected 10"),
            ("a.jpg\nb.jpg\n", "bad.txt:2: expected the number of faces of 'a'"),
            ("a.jpg\n0\na.jpg\n0\n", "bad.txt:3: image 'a' was named before"),
            ("a.jpg\n", "bad.txt:1: the file ends after"),
        ],
    )
    def test_malformed_labels(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "bad.txt"
        path.write_text(text)
        with pytest.raises(LabelError, match=message):
            widerface.load_truth(path)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"none.txt: cannot be read"):
            widerface.load_truth(tmp_path / "none.txt")


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (../shared/data/dev) is not here")
class TestOfficialFiles:
    def test_counts_of_the_validation_set(self) -> None:
        labels = widerface.load_truth(DATA / "ground-truth")
        assert len(labels.names) == widerface.OFFICIAL_IMAGES
        assert len({name.split("/")[0] for name in labels.names}) == 61
        assert len(labels.boxes) == 39708
        assert ((labels.boxes[:, 2:] - labels.boxes[:, :2]) <= 0).any(axis=1).sum() == 11
        assert {name: int(counted.sum()) for name, counted in labels.subsets.items()} == {
            "easy": 7211,
            "medium": 13319,
            "hard": 31958,
        }

    def test_label_file_of_the_subset_holds_the_same_boxes(self) -> None:
        part = widerface.load_truth(DATA / "widerface-val.txt")
        whole = widerface.load_truth(DATA / "ground-truth").subset(part.names)
        for name, boxes in zip(whole.names, whole.image_boxes(), strict=True):
            assert (boxes == part.image_boxes()[part.names.index(name)]).all()
