"""``--tiles`` and ``--rotations`` of detect and evaluate."""

import json
from pathlib import Path

import numpy as np
import pytest

import facesmith
from drawn_faces import write_faces, write_folds
from facesmith import cli, images
from facesmith.faces import Faces
from facesmith.runtime.portrait import LANDMARKS, paint_portrait


@pytest.fixture
def sideways(tmp_path: Path) -> Path:
    """A face of 60 pixels that lies on its right side, in a picture of 1,500 pixels."""
    picture = np.full((900, 1500, 3), 150, np.uint8)
    picture[600:760, 1100:1260] = np.rot90(paint_portrait(160, 160, (80, 75), 30), -1)
    images.write(tmp_path / "sideways.png", picture)
    return tmp_path / "sideways.png"


def test_detect_does_what_the_detector_does(sideways: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--size", "640", "--tiles", "480", "--rotations", "90", "--threads", "1"]
    assert cli.main(["detect", str(sideways), "--jsonl", *flags]) == 0
    printed = json.loads(capsys.readouterr().out)["faces"]
    faces = facesmith.load(threads=1).detect(sideways, size=640, tiles=480, rotations=[90])
    assert printed == faces.to_dicts()
    assert len(faces) == 1
    assert faces.landmarks is not None
    # turned clockwise, what was x to the right is now y downwards, and what was down points to the left
    x, y = (LANDMARKS * 30 + (80, 75)).T
    wanted = np.stack([1100 + 160 - y, 600 + x], axis=1)
    assert np.abs(faces.landmarks[0] - wanted).max() < 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--tiles", "100"), "tiles must have a side of 320 to 16384 pixels, not 100"),
        (("--tiles", "640", "--size", "original"), "size original sees the whole picture at full resolution"),
        (("--rotations", "90", "90"), "each rotation counts once"),
    ],
)
def test_detect_refuses(
    sideways: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert cli.main(["detect", str(sideways), *flags]) == 2
    assert message in capsys.readouterr().err


def test_evaluate_says_what_was_looked_at(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_faces(tmp_path / "data", 2, size=(800, 400))
    write_folds(data)
    flags = [
        "fddb",
        "--truth",
        str(data / "ground-truth/FDDB-folds"),
        "--images",
        str(data),
        "--model",
        str(tiny_model),
    ]
    assert cli.main(["evaluate", *flags, "--tiles", "320"]) == 2
    assert "with tiles write size auto or a number of pixels" in capsys.readouterr().err
    file = tmp_path / "result.json"
    more = ["--size", "320", "--tiles", "320", "--rotations", "90", "-90", "--json", str(file)]
    assert cli.main(["evaluate", *flags, *more, "--threads", "1"]) == 0
    settings = json.loads(file.read_text())["results"][0]["provenance"]["settings"]
    assert (settings["tiles"], settings["rotations"]) == ("320 pixels", "+90° -90°")


def test_predictions_are_not_looked_at_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_faces(tmp_path / "data", 2)
    line = {"path": "faces/0.png", "width": 160, "height": 120, "faces": Faces.empty().to_dicts()}
    (tmp_path / "found.jsonl").write_text(json.dumps(line) + "\n")
    flags = ["widerface", "--truth", str(data / "faces.txt"), "--predictions", str(tmp_path / "found.jsonl")]
    for more in (("--tiles", "640", "--size", "auto"), ("--rotations", "90")):
        assert cli.main(["evaluate", *flags, *more]) == 2
        assert "--tiles, --rotations" in capsys.readouterr().err
