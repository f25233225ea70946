from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesmith import images, load
from facesmith.errors import ConfigError, ImageError
from facesmith.evaluation import predict as module
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.predict import Settings, find_pictures, predict, walk_pictures


def picture(path: Path, cells: list[tuple[int, int]], *, width: int = 64, height: int = 48) -> Path:
    """Black, with white 16×16 cells: the tiny network's faces."""
    image = np.zeros((height, width, 3), np.uint8)
    for column, row in cells:
        image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 255
    images.write(path, image)
    return path


def test_predictions_come_in_order_with_names_and_sizes(tiny_model: Path, tmp_path: Path) -> None:
    files = {f"event/{i}": picture(tmp_path / f"{i}.png", [(i % 4, 0)], height=16 * (i + 1)) for i in range(8)}
    found = list(predict(load(tiny_model, threads=2), files, Settings(), progress=False))
    assert [one.name for one in found] == list(files)
    assert [(one.width, one.height) for one in found] == [(64, 16 * (i + 1)) for i in range(8)]
    for i, one in enumerate(found):
        np.testing.assert_allclose(one.faces.boxes, [[16 * (i % 4), 0, 16 * (i % 4) + 16, 16]])


def test_pictures_are_read_a_few_ahead_only(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, read = picture(tmp_path / "a.png", [(0, 0)]), []
    original = images.read

    def counted(source: Any) -> Any:
        read.extend([source] if isinstance(source, Path) else [])
        return original(source)

    monkeypatch.setattr(module.images, "read", counted)
    many = {str(i): file for i in range(50)}
    stream = predict(load(tiny_model, threads=1), many, Settings(), progress=False)
    for _ in range(3):
        next(stream)
    stream.close()
    assert 3 <= len(read) <= 6


def test_an_unreadable_picture_is_an_error_that_names_it(tiny_model: Path, tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "good.png", [(0, 0)]), tmp_path / "bad.jpg"
    bad.write_bytes(good.read_bytes()[:50])
    stream = predict(load(tiny_model, threads=1), {"good": good, "bad": bad}, Settings(), progress=False)
    assert next(stream).name == "good"
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        next(stream)


def test_thresholds_and_provenance(tiny_model: Path, tmp_path: Path) -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16], image[:, 16:] = 51, 204  # scores .2 and .8
    images.write(tmp_path / "a.png", image)
    detector = load(tiny_model, threads=1)
    settings = Settings(Augmentation.parse("none", "32"), threshold=0.5, nms=0.3)
    (one,) = predict(detector, {"a": tmp_path / "a.png"}, settings, progress=False)
    np.testing.assert_allclose(one.faces.scores, [0.8])
    origin = settings.provenance(detector)
    assert (origin.detector, origin.checksum) == ("tiny", detector.checksum)
    assert (origin.size_rule, origin.augmentation) == ("long side 32", "none")
    assert (origin.score_threshold, origin.nms) == (0.5, 0.3)
    assert origin.package
    assert origin.settings["device"] == "cpu"
    assert "NMS over" not in origin.settings
    over = Settings(nms=0.6, nms_min_area=True).provenance(detector)
    assert over.settings["NMS over"] == "the smaller area"


def test_settings_refuse_what_is_out_of_range() -> None:
    with pytest.raises(ConfigError, match="threshold must lie between 0 and 1, not 2"):
        Settings(threshold=2)
    with pytest.raises(ConfigError, match="nms"):
        Settings(nms=-0.1)
    with pytest.raises(ConfigError, match="meshes of several looks cannot be merged"):
        Settings(Augmentation.parse("flip", None), meshes=True)
    with pytest.raises(ConfigError, match="box voting takes the place of NMS"):
        Settings(Augmentation.parse("flip", None), nms_min_area=True)


def test_pictures_are_found_by_the_end_of_their_path(tmp_path: Path) -> None:
    for name in ("val/images/0--Parade/b.jpg", "val/images/0--Parade/a.png", "val/images/other/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "val/images/0--Parade/.a.jpg").touch()
    names = ["0--Parade/c", "0--Parade/b", "0--Parade/a"]
    found = find_pictures(tmp_path, names)
    assert list(found) == ["0--Parade/b", "0--Parade/a"]  # the protocol's order; c is not there
    assert found["0--Parade/a"] == tmp_path / "val/images/0--Parade/a.png"
    # a folder within the names finds them as well
    assert list(find_pictures(tmp_path / "val/images/0--Parade", names)) == ["0--Parade/b", "0--Parade/a"]
    assert [path.name for path in walk_pictures(tmp_path)] == ["a.png", "b.jpg", "a.jpg"]


def test_links_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "store/1234.jpg").touch()
    (tmp_path / "images/a.jpg").symlink_to(tmp_path / "store/1234.jpg")
    assert list(find_pictures(tmp_path / "images", ["a"])) == ["a"]


def test_finding_pictures_explains_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        find_pictures(tmp_path / "nowhere", ["a"])
    with pytest.raises(ConfigError, match=r"none of the 2 images of the ground truth \(such as 'a'\)"):
        find_pictures(tmp_path, ["a", "b"])
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").touch()
    with pytest.raises(ConfigError, match="are both image 'a'"):
        find_pictures(tmp_path, ["a", "b"])
