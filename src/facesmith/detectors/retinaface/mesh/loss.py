"""Dense regression loss: a rendered face against the crop of its anchor (RetinaFace, eq. 3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from facesmith.detectors.retinaface.mesh.renderer import Rendering


class Crops(NamedTuple):
    """K square pieces of pictures.

    Attributes:
        colours: (K, 3, S, S), 0 … 1.
        inside: (K, S, S) bool; False where the square sticks out of its picture.
    """

    colours: Tensor
    inside: Tensor


def squares(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(K, 4) boxes -> (K, 2) centres and (K,) half sides of the squares that stand for them.

    Anchors are squares; of another box the longer side counts.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centre, (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) / 2


@torch.no_grad()
def crop(images: Tensor, boxes: Tensor, owners: Tensor, size: int) -> Crops:
    """Squares of pictures, sampled bilinearly to ``size`` × ``size`` pixels.

    Args:
        images: (B, 3, H, W) RGB of 0 … 255, any dtype.
        boxes: (K, 4) pixels.
        owners: (K,) number of the picture of each box.
        size: side of the crops.
    """
    height, width = images.shape[-2:]
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3)
    centre, half = squares(boxes)
    line = (torch.arange(size, device=boxes.device) + 0.5) * (2 / size) - 1
    at = centre[:, None] + line[:, None] * half[:, None, None]  # (K, S, 2), borders' convention
    x, y = at[:, None, :, 0].expand(-1, size, -1), at[:, :, None, 1].expand(-1, -1, size)
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    left, top = (x - 0.5).clamp(0, width - 1), (y - 0.5).clamp(0, height - 1)
    colours = torch.zeros(*x.shape, 3, device=images.device)
    for column, share_x in ((left.floor(), 1 - left.frac()), (left.ceil(), left.frac())):
        for row, share_y in ((top.floor(), 1 - top.frac()), (top.ceil(), top.frac())):
            index = (owners[:, None, None] * height + row.long()) * width + column.long()
            colours += pixels[index].float() * (share_x * share_y)[..., None]
    return Crops(colours.permute(0, 3, 1, 2) / 255, inside)


def pixel_loss(rendering: Rendering, crops: Crops) -> Tensor:
    """(K,) dense regression loss of each face: eq. 3, Σ |rendered - picture|₁ / (W · H).

    Pixels that the mesh does not cover, or that lie outside the picture, count as 0 (the paper does not say what is
    drawn there): they have no gradient in any case, since the renderer has none at silhouettes.
    """
    counted = (rendering.mask & crops.inside)[:, None]
    difference = (rendering.colours - crops.colours).abs() * counted
    return difference.sum(dim=1).mean(dim=(1, 2))
