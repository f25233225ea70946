from pathlib import Path

import numpy as np
import pytest

from facesmith import images
from facesmith.errors import ConfigError
from facesmith.export import photographs as module
from facesmith.export.photographs import photographs
from facesmith.runtime import SizeRule

AUTO = SizeRule.parse("auto")


def folder(path: Path, count: int, *, width: int = 8, height: int = 6) -> Path:
    for i in range(count):
        images.write(path / f"{i:03}.png", np.full((height, width, 3), i, np.uint8))
    return path


def test_calibrating_and_checking_share_no_picture(tmp_path: Path) -> None:
    found = photographs(folder(tmp_path, 20), SizeRule.parse(8), calibrate=True)
    assert len(found.calibrating) == 16
    assert len(found.checking) == 4, "a fifth"
    greys = {int(image[0, 0, 0]) for image in found.checking}
    assert greys.isdisjoint(int(path.stem) for path in found.calibrating)
    assert {0, 19} <= greys, "spread over the folder"
    assert found.description == f"4 photographs of {tmp_path} that it was not calibrated on"


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALIBRATING", 5)
    monkeypatch.setattr(module, "CHECKING", 2)
    found = photographs(folder(tmp_path, 20), SizeRule.parse(8), calibrate=True)
    assert (len(found.calibrating), len(found.checking)) == (5, 2)
    assert len(set(found.calibrating)) == 5


def test_without_calibration_all_may_check(tmp_path: Path) -> None:
    found = photographs(folder(tmp_path, 3), SizeRule.parse(8), calibrate=False)
    assert (len(found.calibrating), len(found.checking)) == (0, 3)


@pytest.mark.parametrize(("size", "shape"), [("auto", (480, 640, 3)), ("256", (192, 256, 3))])
def test_they_are_seen_as_the_model_sees_them(tmp_path: Path, size: str, shape: tuple[int, ...]) -> None:
    found = photographs(folder(tmp_path, 2, width=80, height=60), SizeRule.parse(size), calibrate=False)
    assert {image.shape for image in found.checking} == {shape}


def test_painted_faces_check_where_there_are_none() -> None:
    found = photographs(None, AUTO, calibrate=False)
    assert len(found.checking) == 2
    assert "painted" in found.description


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"int8 models are calibrated on photographs.*--images DIR"):
        photographs(None, AUTO, calibrate=True)
    with pytest.raises(ConfigError, match="1 pictures; at least 2"):
        photographs(folder(tmp_path, 1), AUTO, calibrate=True)
    with pytest.raises(ConfigError, match="no such folder"):
        photographs(tmp_path / "absent", AUTO, calibrate=False)
