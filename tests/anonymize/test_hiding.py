"""What is hidden, how much of it is left, and that nothing else changes."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facesmith.anonymize.hiding import Hiding, Method, grown
from facesmith.errors import ConfigError

METHODS: tuple[Method, ...] = ("blur", "pixelate", "box")


def noise(height: int = 240, width: int = 320) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_the_face_changes_and_the_rest_does_not(method: Method) -> None:
    image = noise()
    before = image.copy()
    hidden = Hiding(method).hide(image, [[100, 60, 160, 140]])
    assert np.array_equal(image, before)
    changed = (hidden != image).any(axis=2)
    assert changed[64:136, 104:156].mean() > 0.98
    changed[60 - 16 : 140 + 16, 100 - 12 : 160 + 12] = False
    assert not changed.any()


def test_the_shapes() -> None:
    image = np.full((240, 320, 3), 200, np.uint8)
    image[::2] = 100
    corners = [(44, 88), (44, 171), (155, 88), (155, 171)]
    for method in METHODS:
        hidden = Hiding(method).hide(image, [[100, 60, 160, 140]])
        same = [np.array_equal(hidden[y, x], image[y, x]) for y, x in corners]
        assert same == [method == "blur"] * 4  # an ellipse leaves the corners of its rectangle
        for y, x in ((62, 102), (62, 157), (137, 102), (137, 157)):  # but covers those of the face's box
            assert not np.array_equal(hidden[y, x], image[y, x])
    assert (Hiding("box", margin=0).hide(image, [[100, 60, 160, 140]])[60:140, 100:160] == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [24, 60, 180])
def test_little_is_left_whatever_the_size(method: Method, side: int) -> None:
    """A face of strong detail, seen again at 6 x 6 cells, explains nearly all that is left of it."""
    coarse = np.random.default_rng(1).integers(0, 256, (12, 12, 3), np.uint8)
    image = np.zeros((300, 300, 3), np.uint8)
    image[60 : 60 + side, 60 : 60 + side] = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_NEAREST)
    face = slice(60, 60 + side)
    hidden = Hiding(method).hide(image, [[60, 60, 60 + side, 60 + side]])[face, face].astype(float)
    seen = cv2.resize(hidden.astype(np.float32), (12, 12), interpolation=cv2.INTER_AREA)
    detail = coarse - cv2.resize(cv2.resize(coarse.astype(np.float32), (6, 6), interpolation=cv2.INTER_AREA), (12, 12))
    likeness = np.corrcoef(detail.ravel(), seen.ravel())[0, 1] if method != "box" else 0
    assert abs(likeness) < 0.45
    assert seen.std() < 0.45 * coarse.std()


def test_strength_grows_with_the_face() -> None:
    """The same picture at twice the size is hidden alike."""
    small = cv2.GaussianBlur(noise(), (0, 0), 3)
    large = cv2.resize(small, None, fx=2, fy=2)
    box = np.array([100, 60, 160, 140])
    for method in METHODS:
        a = Hiding(method).hide(small, [box]).astype(int)
        b = cv2.resize(Hiding(method).hide(large, [2 * box]), (320, 240), interpolation=cv2.INTER_AREA)
        assert np.abs(a - b)[62:138, 102:158].mean() < 4


@pytest.mark.parametrize("method", METHODS)
def test_faces_at_and_beyond_the_border(method: Method) -> None:
    image = noise(40, 50)
    boxes = [[-20, -20, 10, 10], [45, 30, 80, 70], [100, 100, 120, 120], [-9, 0, -5, 9], [20, 20, 20.4, 20.3]]
    hidden = Hiding(method).hide(image, boxes)
    assert hidden.shape == image.shape
    assert (hidden[:8, :8] != image[:8, :8]).any()
    assert (hidden[34:, 47:] != image[34:, 47:]).any()
    assert np.array_equal(Hiding(method).hide(image, np.zeros((0, 4))), image)


def test_grown() -> None:
    boxes = np.array([[0, 0, 10, 20], [5, 5, 7, 7]], np.float32)
    assert grown(boxes, 0.1).tolist() == [[-1, -2, 11, 22], pytest.approx([4.8, 4.8, 7.2, 7.2])]
    assert grown(boxes, [1, 0]).tolist() == [[-10, -20, 20, 40], [5, 5, 7, 7]]


def test_wrong_margin() -> None:
    with pytest.raises(ConfigError, match="margin"):
        Hiding(margin=-0.1)


def test_a_mask_covers_the_outline_and_nothing_else() -> None:
    image = np.full((100, 120, 3), 200, np.uint8)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    oval = np.stack((60 + 20 * np.cos(angle), 50 + 30 * np.sin(angle)), axis=1).astype(np.float32)
    x, y = np.arange(120) + 0.5, np.arange(100)[:, None] + 0.5
    for margin, reach in ((0, 1), (0.25, 1.5), (0.1, 1.2)):
        hidden = Hiding("mask", margin).hide(image, [[40, 20, 80, 80]], [oval])
        radius = np.hypot((x - 60) / (20 * reach), (y - 50) / (30 * reach))
        assert (hidden[radius < 0.96] == 0).all()
        assert (hidden[radius > 1.06] == 200).all()


def test_a_mask_for_a_face_without_outline_is_an_ellipse() -> None:
    image, box = noise(), [[100, 60, 160, 140]]
    masked = Hiding("mask").hide(image, box, [np.zeros((0, 2), np.float32)])
    blurred = Hiding("blur").hide(image, box)
    covered = (masked == 0).all(axis=2)
    assert (covered != (blurred != image).any(axis=2)).mean() < 0.01
    assert np.array_equal(masked[~covered], image[~covered])
    with pytest.raises(ConfigError, match="needs the faces' outlines"):
        Hiding("mask").hide(image, box)
    assert np.array_equal(Hiding("mask").hide(image, np.zeros((0, 4))), image)


def test_masks_at_and_beyond_the_border() -> None:
    image = np.full((40, 50, 3), 200, np.uint8)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    curves = [square * 30 - 20, square * 40 + 45, square * 1e9 + 1e8, square * 0.1 + 20]
    hidden = Hiding("mask", 0).hide(image, np.zeros((4, 4)), curves)
    assert (hidden[:9, :9] == 0).all()
    assert (hidden[12:, 12:18] == 200).all()
