"""YOLO folders as other tools write them."""

from pathlib import Path

import numpy as np
import pytest

from facesmith import images
from facesmith.data import formats
from facesmith.data.formats import plain_yaml
from facesmith.data.sources import find_sources
from facesmith.errors import LabelError

POSE = "0 0.5 0.5 0.5 0.25 " + " ".join(f"0.{x} 0.{y} 2" for x, y in ((4, 45), (6, 45), (5, 5), (45, 55), (55, 55)))


def picture(path: Path, width: int = 40, height: int = 80) -> None:
    images.write(path, np.zeros((height, width, 3), np.uint8))


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def roboflow(tmp_path: Path) -> Path:
    """train/images, train/labels, valid/…, and a data.yaml whose paths lead beside its own folder."""
    for split in ("train", "valid"):
        picture(tmp_path / split / "images/a.jpg")
        text(tmp_path / split / "labels/a.txt", POSE + "\n")
    picture(tmp_path / "train/images/background.jpg")
    text(
        tmp_path / "data.yaml",
        "train: ../train/images\nval: ../valid/images\n\nkpt_shape: [5, 3]\nnc: 1\nnames: ['Face']\n"
        "roboflow:\n  workspace: mine\n  url: https://example.org/x\n",
    )
    text(tmp_path / "README.roboflow.txt", "no labels")
    return tmp_path


def test_roboflow(roboflow: Path) -> None:
    train, valid = formats.read(roboflow)
    assert (train.name, valid.name) == ("train", "val")
    face, background = train.images
    np.testing.assert_allclose(face.boxes, [(10, 30, 30, 50)])
    np.testing.assert_allclose(face.landmarks[0, :2], [(16, 36), (24, 36)], rtol=1e-6)
    assert len(background.boxes) == 0
    assert train.sizes == {"a.jpg": (40, 80)}


def test_training_leaves_the_validation_split_out(roboflow: Path) -> None:
    (source,) = find_sources(roboflow)
    assert source.config.name == "train"
    assert source.load(0, None).landmarks.shape == (1, 5, 2)


@pytest.mark.parametrize("described", [True, False])
def test_ultralytics(tmp_path: Path, described: bool) -> None:
    for name in ("train/deep/a.jpg", "val/b.png"):
        picture(tmp_path / "images" / name)
    text(tmp_path / "labels/train/deep/a.txt", "0 .5 .5 .5 .5\n\n1 .5 .5 .1 .1\n2 .5 .5 .1 .1\n" if described else POSE)
    text(tmp_path / "labels/val/b.txt", "")
    if described:
        text(
            tmp_path / "data.yaml",
            "# mine\npath: /on/another/machine\ntrain: images/train  # relative\nval:\n - images/val\nnames:\n"
            "  0: face\n  1: car\n  2: ignored\n",
        )
    train, val = formats.read(tmp_path)
    assert [one.path for one in train.images] == ["deep/a.jpg"]
    assert train.images[0].ignored.tolist() == ([False, True] if described else [False])
    assert [one.path for one in val.images] == ["b.png"]
    (same,) = formats.read(tmp_path / "images/train")
    assert [one.path for one in same.images] == ["deep/a.jpg"]


def test_without_splits_and_visibility(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "images/b.jpg")
    text(tmp_path / "labels/a.txt", "0 .5 .5 .5 .25 .4 .45 .6 .45 .5 .5 .45 .55 .55 .55")
    text(tmp_path / "labels/b.txt", "0 .5 .5 .5 .25 .4 .45 .6 .45 .5 .5 .45 .55 0 0")
    (found,) = formats.read(tmp_path)
    assert [one.has_landmarks.tolist() for one in found.images] == [[True], [False]]
    assert find_sources(tmp_path)[0].paths[0].is_file()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 .5 .5 .5", r"a\.txt:2: 4 numbers"),
        ("0 .5 .5 .5 x", r"a\.txt:2: not a line of numbers"),
        ("0 .5 .5 .5 nan", r"a\.txt:2: 5 numbers"),
        ("0.5 .5 .5 .5 .5", r"a\.txt:2: 5 numbers"),
        ("0 250 300 40 40", r"a\.txt:2: cx cy w h must be shares of the picture, 0 to 1, not \[250.0"),
        ("1 .5 .5 .5 .5", r"a\.txt:2: class 1, but no data\.yaml that names the classes"),
        (POSE + " .5", r"a\.txt:2: 21 numbers, .*; expected class cx cy w h, or these and x y v"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, line: str, problem: str) -> None:
    picture(tmp_path / "images/a.jpg")
    text(tmp_path / "labels/a.txt", POSE + "\n" + line)
    with pytest.raises(LabelError, match=problem):
        formats.read(tmp_path)


def test_labels_without_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    text(tmp_path / "labels/a.txt", POSE)
    text(tmp_path / "labels/z.txt", POSE)
    with pytest.raises(LabelError, match=r"z\.txt: labels without a picture in .*images \(1 such files\)"):
        formats.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("train: images\nnames: [a, b]\n", "names: classes a, b; expected one, or one called 'face'"),
        ("train: images\n", "expected names, a list of classes"),
        ("train: elsewhere\nnames: [face]\n", "train: no folder 'elsewhere' beside it"),
        ("train images\n", r"data\.yaml:1: 'train images'; expected 'key: value'"),
        ("names: [face,\n", r"data\.yaml:1: a list or mapping must end in the line where it begins"),
        (" - a\n", r"data\.yaml:1: '- a' belongs to no key"),
    ],
)
def test_errors_of_the_description(tmp_path: Path, content: str, problem: str) -> None:
    picture(tmp_path / "images/a.jpg")
    text(tmp_path / "labels/a.txt", POSE)
    text(tmp_path / "data.yaml", content)
    with pytest.raises(LabelError, match=problem):
        formats.read(tmp_path)


def test_plain_yaml(tmp_path: Path) -> None:
    text(
        tmp_path / "a.yaml",
        "---\na: 1 # one\n'b c': \"d: e\"\nlist: [1, 'x, y', z]\nmap: {0: face, 1: 'no'}\nblock:\n- p\n- q\n"
        "inner:\n  0: r\n  k: [1, 2]\nempty:\n",
    )
    assert plain_yaml.load(tmp_path / "a.yaml") == {
        "a": "1",
        "b c": "d: e",
        "list": ["1", "x, y", "z"],
        "map": {"0": "face", "1": "no"},
        "block": ["p", "q"],
        "inner": {"0": "r", "k": ["1", "2"]},
        "empty": "",
    }
