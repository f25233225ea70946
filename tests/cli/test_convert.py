"""``facesmith convert`` as a user types it, and training on whatever comes out."""

import json
from pathlib import Path

import numpy as np
import pytest

from drawn_faces import write_faces
from facesmith import cli
from facesmith.data import formats
from facesmith.data.formats import FORMATS, Format
from facesmith.data.sources import find_sources


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "data", 4)


@pytest.mark.parametrize("to", list(Format))
def test_there_and_back(to: Format, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"out{FORMATS[to].suffix}"
    pictures = ["--images", str(data)]
    assert cli.main(["convert", str(data / "faces.txt"), str(out), "--to", to.value]) == 0
    captured = capsys.readouterr()
    assert ": 4 pictures, 8 faces\n" in captured.out
    assert ("has no landmarks: those of 8 faces are left out" in captured.err) == (to is Format.WIDER)
    back = tmp_path / "back.txt"
    assert cli.main(["convert", str(out), str(back), "--to", "retinaface", *(pictures * (to is not Format.YOLO))]) == 0
    for one, other in zip(formats.read(back)[0].images, formats.read(data / "faces.txt")[0].images, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.01)
        if to is not Format.WIDER:
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.01)


@pytest.mark.parametrize(
    ("to", "place"),
    [
        (Format.COCO, "annotations/instances_train.json"),
        (Format.COCO, "mine.json"),
        (Format.CVAT, "annotations.xml"),
        (Format.LABEL_STUDIO, "export.json"),
        (Format.YOLO, "."),
    ],
)
def test_training_takes_it_as_it_is(to: Format, place: str, data: Path, tmp_path: Path) -> None:
    expected = find_sources(data)[0].load(1, None)
    folder = data if to is not Format.YOLO else tmp_path / "yolo"
    assert cli.main(["convert", str(data / "faces.txt"), str(folder / place), "--to", to.value]) == 0
    (data / "faces.txt").unlink()
    source = find_sources(folder)[0]
    sample = source.load(1, None)
    assert len(source.paths) == 4
    assert sample.image.tolist() == expected.image.tolist()
    np.testing.assert_allclose(sample.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(sample.landmarks, expected.landmarks, atol=0.01)


def test_a_folder_with_several_sets(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", str(data), str(tmp_path / "coco"), "--to", "coco"]) == 0
    assert {path.name for path in (tmp_path / "coco").iterdir()} == {"faces.json", "background.json"}
    assert cli.main(["convert", str(data), str(tmp_path / "all.json"), "--to", "coco"]) == 2
    assert "there are 2 sets (faces, background); name a folder" in capsys.readouterr().err


def test_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wider.txt").write_text("a.jpg\n2\n1 2 3 4 0 0 0 1 0 0\n-5 2 30 4 0 0 0 0 0 0\n")
    assert cli.main(["convert", str(tmp_path / "wider.txt"), str(tmp_path / "r.txt"), "--to", "retinaface"]) == 0
    assert "retinaface cannot mark faces as ignored: 1 are left out" in capsys.readouterr().err
    coco = {"images": [{"id": 1, "file_name": "0.png", "width": 160, "height": 120}]}
    coco |= {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [-5, 2, 30, 40]}]}
    (tmp_path / "c.json").write_text(json.dumps(coco | {"categories": [{"id": 1, "name": "face"}]}))
    pictures = write_faces(tmp_path / "data", 1) / "faces"
    flags = ["--to", "yolo", "--images", str(pictures)]
    assert cli.main(["convert", str(tmp_path / "c.json"), str(tmp_path / "yolo"), *flags]) == 0
    assert "yolo refuses what lies outside the picture: 1 boxes are cut at its border" in capsys.readouterr().err


def test_a_missing_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("# absent.jpg\n1 2 3 4\n")
    assert cli.main(["convert", str(tmp_path / "a.txt"), str(tmp_path / "a.json"), "--to", "coco"]) == 2
    assert "absent.jpg: No such file" in capsys.readouterr().err
