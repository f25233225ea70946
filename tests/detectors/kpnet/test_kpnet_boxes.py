import numpy as np
import pytest
import torch

from facesmith.box_styles import SQUARE, WIDER, BoxStyle
from facesmith.detectors.kpnet.boxes import LARGEST, MEAN, TEMPLATE, LandmarkBoxes


def faces(count: int) -> np.ndarray:
    """Landmarks of turned, scaled and moved faces, somewhat out of shape."""
    rng = np.random.default_rng(0)
    turn, size = rng.uniform(-np.pi, np.pi, count), np.exp(rng.uniform(np.log(4), np.log(500), count))
    z = (np.array(TEMPLATE) - MEAN) @ (1, 1j)
    z = z * (size * np.exp(1j * turn))[:, None] + rng.normal(0, 0.1, (count, 5)) * size[:, None]
    z += rng.uniform(0, 600, (count, 1)) + 1j * rng.uniform(0, 600, (count, 1))
    return np.stack((z.real, z.imag), axis=2).astype(np.float32)


@pytest.mark.parametrize("style", [SQUARE, WIDER, BoxStyle(0.1, 0.2, 0.7, 1.3)])
def test_it_is_what_numpy_gives(style: BoxStyle) -> None:
    points = faces(300)
    boxes = LandmarkBoxes(style)(torch.from_numpy(points).reshape(30, 10, 5, 2))
    np.testing.assert_allclose(boxes.reshape(300, 4).numpy(), style.boxes(points), atol=1e-3, rtol=2e-6)


def test_the_template_is_its_own_square() -> None:
    assert np.mean(TEMPLATE, axis=0) == pytest.approx(MEAN)
    square = LandmarkBoxes(SQUARE)(torch.tensor(TEMPLATE) * 50 + 7)
    torch.testing.assert_close(square, torch.tensor([7.0, 7, 57, 57]))


def test_landmarks_that_coincide_give_a_point() -> None:
    boxes = LandmarkBoxes(WIDER)(torch.full((1, 5, 2), 12.5))
    torch.testing.assert_close(boxes, torch.full((1, 4), 12.5))


def test_landmarks_unlike_a_face_give_a_bounded_box() -> None:
    """Mirrored eyes and an upside-down mouth cancel out in the similarity."""
    points = torch.tensor(TEMPLATE)
    spread = points - torch.tensor(MEAN)
    mirrored = spread * torch.tensor([-1.0, 1.0])
    # A share of the mirror image for which a vanishes.
    share = float((spread * spread).sum() / -(mirrored * spread).sum())
    unlike = (spread + share * mirrored) * 10
    boxes = LandmarkBoxes(SQUARE)(unlike)
    assert boxes.isfinite().all()
    likewise = unlike.square().sum().sqrt() / spread.square().sum().sqrt()  # side of a face with this spread
    torch.testing.assert_close(boxes[2] - boxes[0], LARGEST * likewise)
