"""Landmarks to boxes in torch: ``facesmith.geometry.box_from_landmarks`` and a box style, exported with the network."""

import torch
from torch import Tensor, nn

from facesmith.box_styles import BoxStyle

TEMPLATE = ((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.3, 0.75), (0.7, 0.75))
"""Where the landmarks lie in the unit square (facts/kpnet)."""

MEAN = (0.5, 0.48)
"""Their mean."""

LARGEST = 5.0
"""Squares are at most this often as large as landmarks of their spread would imply that lie like a face's."""


class LandmarkBoxes(nn.Module):
    """Boxes of five landmarks.

    The least-squares similarity that takes the landmarks to the unit square's template is, with points as complex
    numbers, z -> a z + b with a = Σ p̄ q / Σ |p|² (p and q: both sets less their means). The square has its centre
    where z is the unit square's centre, and the side 1 / |a|.

    Landmarks that lie nothing like a face's have an a near 0: their squares are bounded by :data:`LARGEST`, and
    landmarks that coincide give a square without area, where the function in numpy gives NaN.

    Args:
        style: what the boxes are to look like.
    """

    def __init__(self, style: BoxStyle) -> None:
        super().__init__()
        self.style = style
        self.template: Tensor
        # A buffer, because CUDA graphs cannot copy constants to the device.
        self.register_buffer("template", torch.tensor(TEMPLATE) - torch.tensor(MEAN), persistent=False)

    def forward(self, landmarks: Tensor) -> Tensor:
        """(..., 5, 2) -> (..., 4) x1, y1, x2, y2, in the landmarks' pixels."""
        mean = landmarks.mean(dim=-2)
        p, q = landmarks - mean[..., None, :], self.template.to(landmarks.dtype)
        real = (p * q).sum(dim=(-2, -1))
        imaginary = (p[..., 0] * q[:, 1] - p[..., 1] * q[:, 0]).sum(dim=-1)
        spread = p.square().sum(dim=(-2, -1))
        least = spread.sqrt() * (q.square().sum().sqrt() / LARGEST)
        strength = (real.square() + imaginary.square()).sqrt().maximum(least).clamp(min=1e-12)  # |a| Σ |p|²
        side = spread / strength
        to_x, to_y = 0.5 - MEAN[0], 0.5 - MEAN[1]
        factor = side / strength
        x = mean[..., 0] + (real * to_x + imaginary * to_y) * factor + side * self.style.dx
        y = mean[..., 1] + (real * to_y - imaginary * to_x) * factor + side * self.style.dy
        half_width, half_height = side * (self.style.sx / 2), side * (self.style.sy / 2)
        return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), dim=-1)
