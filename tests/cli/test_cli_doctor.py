import json
from pathlib import Path

import numpy as np
import pytest

from facesmith import runtime, weights
from facesmith.cli import doctor, main
from facesmith.errors import ModelError
from facesmith.runtime.portrait import BOX, LANDMARKS, paint_portrait

needs_default_model = pytest.mark.skipif(
    weights.DEFAULT not in weights.records(), reason="the default model is not released yet"
)


def test_one_opencv_wheel_is_fine() -> None:
    check = doctor.opencv_wheels({"opencv-python-headless": "4.10"})
    assert check.sound
    assert "4.10" in check.text
    assert doctor.opencv_wheels({}).sound  # built from source


def test_wheels_side_by_side_are_wrong() -> None:
    check = doctor.opencv_wheels({"opencv-python": "4.9", "opencv-python-headless": "4.10"})
    assert not check.sound
    assert "pip uninstall opencv-python opencv-python-headless" in check.text


def test_whatever_goes_wrong_is_a_line() -> None:
    def broken() -> str:
        raise ImportError("libGL.so.1: cannot open shared object file")

    check = doctor.guarded("opencv", broken)
    assert check == ("opencv", "ImportError: libGL.so.1: cannot open shared object file", False)


@needs_default_model
def test_a_sound_installation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "opencv_wheels", lambda found: doctor.Check("opencv wheel", "one"))
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    names = [line.split()[1] for line in lines[:-1]]
    assert {"facesmith", "python", "numpy", "onnxruntime", "devices", "threads", "self-test"} <= set(names)


def test_a_model_that_finds_the_wrong_things_is_wrong(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = runtime.load(tiny_model)
    monkeypatch.setattr(runtime, "load", lambda: tiny)
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert "WRONG  self-test     tiny finds" in report
    assert report.splitlines()[-1].startswith("something is wrong")


def test_a_missing_model_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModelError("no model")

    monkeypatch.setattr(runtime, "load", missing)
    assert main(["doctor"]) == 1
    assert "WRONG  self-test     no model\n" in capsys.readouterr().out


def test_the_portrait_is_where_it_says() -> None:
    """Doubling the unit doubles the picture; the pupils are dark, the whites beside them light."""
    small = paint_portrait(200, 200, (100, 90), 40)
    large = paint_portrait(400, 400, (200, 180), 80)
    halved = large.reshape(200, 2, 200, 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 2
    for x, y in LANDMARKS[:2] * 80 + (200, 180):
        assert large[int(y), int(x)].mean() < 80
        assert large[int(y), int(x + 0.14 * 80)].mean() > 150
    (left, top), (right, bottom) = BOX
    assert left < LANDMARKS[:, 0].min() < LANDMARKS[:, 0].max() < right
    assert top < LANDMARKS[:, 1].min() < LANDMARKS[:, 1].max() < bottom


@needs_default_model
@pytest.mark.parametrize(
    ("width", "height", "unit"), [(320, 320, 70), (48, 48, 18), (1600, 1200, 60), (2000, 1500, 500)]
)
def test_the_default_model_finds_it_at_any_size(width: int, height: int, unit: float) -> None:
    centre = (width / 2, height / 2)
    faces = runtime.load()(paint_portrait(width, height, centre, unit))
    assert len(faces) == 1
    np.testing.assert_allclose(faces.boxes[0], (BOX * unit + centre).ravel(), atol=0.35 * unit)


def test_models_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    report = capsys.readouterr().out
    for record in weights.records().values():
        assert record.sha256[:12] in report
        assert record.licence in report
        assert record.training_data in report
        shown = [figure for name, figure in record.figures.items() if not name.endswith(": recall")]
        assert shown
        assert all(f"{figure.value:.4g}" in report for figure in shown)


def test_models_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["default"] == weights.DEFAULT
    assert [row["name"] for row in table["models"]] == list(weights.records())
