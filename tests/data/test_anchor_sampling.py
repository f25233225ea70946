import numpy as np
import pytest

from facesmith.data.anchor_sampling import ANCHORS, SQUARES, anchor_window
from facesmith.geometry import iou

EXTENT = (1000, 800)


def sampled_sides(size: float, count: int = 2000) -> np.ndarray:
    box = np.array([[480, 380, 480 + size, 380 + size]], np.float32)
    rng = np.random.default_rng(0)
    return np.array([anchor_window(box, (20_000, 20_000), 640, rng).scale * size for _ in range(count)])


@pytest.mark.parametrize("size", [10.0, 30.0, 70.0])
def test_a_face_becomes_any_smaller_anchor_or_the_next_larger_one(size: float) -> None:
    nearest = int(np.abs(np.array(ANCHORS) - size).argmin())
    sides = sampled_sides(size)
    assert sides.min() >= ANCHORS[0] / 2 - 1e-3
    assert sides.max() <= ANCHORS[nearest + 1] * 2 + 1e-3
    # Every target is drawn equally often, and U(−1, 1) octaves around it: the mean logarithm tells both.
    targets = np.log2(ANCHORS[: nearest + 2])
    assert np.log2(sides).mean() == pytest.approx(targets.mean(), abs=0.1)
    assert np.log2(sides).var() == pytest.approx(targets.var() + 1 / 3, rel=0.1)


def test_the_window_holds_a_face_and_lies_on_the_picture() -> None:
    rng = np.random.default_rng(1)
    box = np.array([[300, 200, 420, 340], [700, 500, 730, 530]], np.float32)
    for _ in range(300):
        scale, corner = anchor_window(box, EXTENT, 320, rng)
        inside = ((box[:, :2] * scale >= corner - 1e-6) & (box[:, 2:] * scale <= corner + 320 + 1e-6)).all(axis=1)
        square = any(np.isclose(320 / scale, share * 800) for share in SQUARES)
        window = np.concatenate((corner, corner + 320))[None]
        assert inside.any() or square or iou(window, box * scale).max() > 0.69
        room = np.array(EXTENT) * scale - 320
        assert (corner >= np.minimum(room, 0) - 1e-6).all()
        assert (corner <= np.maximum(room, 0) + 1e-6).all()


def test_faces_that_would_be_larger_than_the_window_give_squares() -> None:
    rng = np.random.default_rng(2)
    box = np.array([[100, 100, 700, 700]], np.float32)
    squares = 0
    for _ in range(300):
        scale, corner = anchor_window(box, EXTENT, 256, rng)
        if 600 * scale > 256 / 0.7**0.5 + 1:
            assert any(np.isclose(256 / scale, share * 800) for share in SQUARES)
            assert (corner >= -1e-9).all()
            squares += 1
    assert squares > 20


def test_pictures_without_faces() -> None:
    rng = np.random.default_rng(3)
    shares = {
        round(64 / anchor_window(np.zeros((0, 4), np.float32), EXTENT, 64, rng).scale / 800, 6) for _ in range(100)
    }
    assert shares == set(SQUARES)


def test_the_same_numbers_give_the_same_window() -> None:
    box = np.array([[300, 200, 420, 340]], np.float32)
    a, b = (anchor_window(box, EXTENT, 320, np.random.default_rng(4)) for _ in range(2))
    assert a.scale == b.scale
    assert (a.corner == b.corner).all()
