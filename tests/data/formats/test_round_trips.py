"""Every format: what is written is read back, to the precision of the format."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_cases import SIZES, check_same, random_set

from facesmith.data import formats
from facesmith.data.formats import FORMATS, Format
from facesmith.data.labelled import Face, LabelSet, labelled_images
from facesmith.errors import LabelError

PIXELS = {Format.CVAT: 0.0051}
FILES = [one for one in Format if one != Format.YOLO]


@pytest.mark.parametrize("to", FILES)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("points", [5, 19])
def test_files(to: Format, seed: int, points: int, tmp_path: Path) -> None:
    if points == 19 and not FORMATS[to].landmarks:
        pytest.skip("holds no landmarks")
    labels = random_set(tmp_path, seed, points=points, pictures=False)
    (path,) = formats.write([labels], tmp_path / f"mine{FORMATS[to].suffix}", to)
    (found,) = formats.read(path)
    assert found.name == "mine"
    described = FORMATS[to]
    check_same(found, labels, pixels=PIXELS.get(to, 0.0011), landmarks=described.landmarks, ignored=described.ignored)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("points", [5, 19])
def test_yolo(seed: int, points: int, tmp_path: Path) -> None:
    labels = random_set(tmp_path / "mine", seed, points=points, inside=True)
    formats.write([labels], tmp_path / "yolo", Format.YOLO)
    (found,) = formats.read(tmp_path / "yolo")
    assert found.name == "mine"
    check_same(found, labels, pixels=1e-4)
    assert all((found.root / one.path).is_file() for one in found.images)


def test_yolo_cuts_at_the_border(tmp_path: Path) -> None:
    inner = np.array([(10, 10), (20, 10), (15, 15), (11, 20), (19, 20)], float)
    outer = inner - (12, 0)
    faces = {
        "a/first.png": [Face((-10, 5, 30, 60), inner), Face((0, 0, 9, 9), outer), Face((-9, -9, -1, -1))],
    }
    source = random_set(tmp_path / "mine", 0)
    formats.write([replace(source, images=labelled_images("", faces))], tmp_path / "yolo", Format.YOLO)
    (found,) = formats.read(tmp_path / "yolo")
    (image,) = found.images
    np.testing.assert_allclose(image.boxes, [(0, 5, 30, 48), (0, 0, 9, 9)], atol=1e-4)
    assert image.has_landmarks.tolist() == [True, False]


@pytest.mark.parametrize("to", [Format.COCO, Format.CVAT, Format.LABEL_STUDIO])
def test_sizes_are_read_from_pictures_or_an_error(to: Format, tmp_path: Path) -> None:
    labels = replace(random_set(tmp_path, 1), sizes={})
    (path,) = formats.write([labels], tmp_path / f"mine{FORMATS[to].suffix}", to)
    found = formats.read_file(path)[0]
    assert found.sizes.items() <= SIZES.items()
    assert {one.path for one in found.images if len(one.boxes)} <= found.sizes.keys()
    assert found.root == tmp_path.resolve()
    (tmp_path / "a/first.png").unlink()
    with pytest.raises(ValueError, match=r"first\.png"):
        formats.write([labels], tmp_path / f"again{FORMATS[to].suffix}", to)


class TestSeveralSets:
    def sets(self, folder: Path) -> list[LabelSet]:
        return [replace(random_set(folder / name, seed), name=name) for seed, name in enumerate(("train", "val"))]

    def test_a_file_each(self, tmp_path: Path) -> None:
        sets = self.sets(tmp_path / "in")
        written = formats.write(sets, tmp_path / "out", Format.COCO)
        assert [path.name for path in written] == ["train.json", "val.json"]
        for one, path in zip(sets, written, strict=True):
            check_same(formats.read(path)[0], one, pixels=0.0011)

    def test_one_file_is_not_enough(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"all\.json: there are 2 sets \(train, val\); name a folder"):
            formats.write(self.sets(tmp_path / "in"), tmp_path / "all.json", Format.COCO)

    def test_yolo_keeps_the_splits(self, tmp_path: Path) -> None:
        formats.write(self.sets(tmp_path / "in"), tmp_path / "yolo", Format.YOLO)
        text = (tmp_path / "yolo/data.yaml").read_text()
        assert "train: [images/train]\nval: [images/val]\nkpt_shape: [5, 3]\nflip_idx: [1, 0, 2, 4, 3]\n" in text
        assert [one.name for one in formats.read(tmp_path / "yolo")] == ["train", "val"]

    def test_a_wrong_suffix(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"mine\.xml: coco is a \.json file"):
            formats.write(self.sets(tmp_path / "in")[:1], tmp_path / "mine.xml", Format.COCO)


def test_what_is_no_label_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, problem in (
        ('{"name": "package"}', r"a\.json: no labels; expected COCO's object"),
        ("[]", "no labels"),
        ("[1]", "no labels"),
        ('{"images": [', r"a\.json:1: no JSON"),
    ):
        path.write_text(text)
        with pytest.raises(LabelError, match=problem):
            formats.read(path)
    path.write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(LabelError, match="cannot be read as a label file"):
        formats.read(path)
