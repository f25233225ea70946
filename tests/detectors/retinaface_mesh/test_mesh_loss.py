import numpy as np
import torch

from facesmith.detectors.retinaface.mesh.loss import Crops, crop, pixel_loss, squares
from facesmith.detectors.retinaface.mesh.renderer import Rendering


def test_squares_have_the_longer_side() -> None:
    centre, half = squares(torch.tensor([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 15.0, 7.0]]))
    assert centre.tolist() == [[5, 10], [10, 6]]
    assert half.tolist() == [10, 5]


def test_crops_at_the_pictures_own_size_are_its_pixels() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 16), dtype=torch.uint8)
    boxes = torch.tensor([[3.0, 2.0, 11.0, 10.0], [0.0, 0.0, 8.0, 8.0]])
    crops = crop(images, boxes, torch.tensor([1, 0]), 8)
    assert torch.allclose(crops.colours[0], images[1, :, 2:10, 3:11] / 255)
    assert torch.allclose(crops.colours[1], images[0, :, :8, :8] / 255)
    assert crops.inside.all()


def test_crops_are_bilinear() -> None:
    """A picture that is a linear function keeps its values at all places, away from the border."""
    y, x = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(30) + 0.5, indexing="ij")
    image = (2 * x + 5 * y)[None, None].expand(1, 3, -1, -1)
    crops = crop(image, torch.tensor([[3.3, 4.1, 15.6, 16.4]]), torch.tensor([0]), 7)
    line = (torch.arange(7) + 0.5) * (12.3 / 7)
    expected = (2 * (line[None] + 3.3) + 5 * (line[:, None] + 4.1)) / 255
    assert torch.allclose(crops.colours[0], expected.expand(3, -1, -1), atol=1e-5)


def test_crops_that_stick_out() -> None:
    crops = crop(torch.full((1, 3, 8, 8), 255.0), torch.tensor([[-4.0, 0.0, 4.0, 8.0]]), torch.tensor([0]), 8)
    assert crops.inside[0].int().sum(dim=0).tolist() == [0, 0, 0, 0, 8, 8, 8, 8]


def test_loss_by_hand() -> None:
    drawn = torch.zeros(2, 3, 2, 2, requires_grad=True)
    mask = torch.tensor([[[True, True], [False, True]], [[False] * 2] * 2])
    inside = torch.tensor([[[True, False], [True, True]], [[True] * 2] * 2])
    target = torch.tensor([0.1, 0.2, 0.4])[None, :, None, None].expand(2, -1, 2, 2)
    loss = pixel_loss(Rendering(drawn, mask, torch.zeros(2, 2, 2)), Crops(target, inside))
    assert np.allclose(loss.detach(), [2 * 0.7 / 4, 0])  # two of four pixels count
    loss.sum().backward()
    assert drawn.grad is not None
    assert drawn.grad[0, 0].tolist() == [[-0.25, 0], [0, -0.25]]
