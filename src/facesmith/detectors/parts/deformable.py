"""Modulated deformable convolution (DCNv2; Zhu et al. 2018, arXiv 1811.11168, Eq. 1).

Plain PyTorch that runs on every device and exports to ONNX (GridSample and a matrix product); torchvision's kernel
takes its place where it imports and gives the same.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

SLOWER = 0.1**0.5
"""Offsets and masks learn at a tenth of the rate (facts/retinaface). Their convolution starts at zero, so scaling its
output by √s is, step for step of gradient descent, a learning rate scaled by s."""


class DeformableConv2d(nn.Module):
    """A convolution without bias whose every sampling point is moved by an offset and weighted by a mask of 0…2.

    Both are predicted from the input, by a convolution that starts at zero: offsets 0 and masks 1, which is
    ``nn.Conv2d`` with the same weight and ``padding=kernel // 2``.
    """

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.points, self.stride = kernel * kernel, stride
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel, kernel))
        self.offsets = nn.Conv2d(channels_in, 3 * self.points, kernel, stride, padding=kernel // 2)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.reset_offsets()

    def reset_offsets(self) -> None:
        """Back to an ordinary convolution."""
        nn.init.zeros_(self.offsets.weight)
        assert self.offsets.bias is not None
        nn.init.zeros_(self.offsets.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        offsets, mask = (self.offsets(x) * SLOWER).split((2 * self.points, self.points), dim=1)
        return deformable_conv2d(x, offsets, 2 * mask.sigmoid(), self.weight, stride=self.stride)


class DeformableUnit(nn.Module):
    """:class:`~facesmith.detectors.parts.convolution.ConvUnit` with a deformable 3×3 convolution."""

    def __init__(self, channels_in: int, channels_out: int, *, activate: bool = True) -> None:
        super().__init__()
        self.convolution = DeformableConv2d(channels_in, channels_out)
        self.norm = nn.BatchNorm2d(channels_out)
        self.activation = nn.ReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W)."""
        out: Tensor = self.activation(self.norm(self.convolution(x)))
        return out


def deformable_conv2d(x: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, *, stride: int = 1) -> Tensor:
    """Convolution with an odd k×k kernel, padding k // 2, at moved and weighted points.

    Point t = k · row + column of the kernel is read bilinearly at its usual place plus the offset; what lies outside
    the map is zero. The order of channels is torchvision's.

    Args:
        x: (B, C, H, W).
        offsets: (B, 2k², h, w) in pixels of ``x``: channel 2t moves point t down, 2t + 1 to the right.
        mask: (B, k², h, w) factors.
        weight: (O, C, k, k).
        stride: of the convolution; h = ceil(H / stride), w = ceil(W / stride).

    Returns:
        (B, O, h, w).
    """
    if torch.compiler.is_exporting():
        return _sampled(x, offsets, mask, weight, stride)
    if kernel := _torchvision_kernel(x.device):
        fused: Tensor = kernel(x, offsets, weight, stride=stride, padding=weight.shape[-1] // 2, mask=mask)
        return fused
    if torch.is_grad_enabled():
        # The k² samples a pixel are made again for the gradient: kept, they would be most of a training's memory.
        again: Tensor = checkpoint(
            _sampled, x, offsets, mask, weight, stride, use_reentrant=False, preserve_rng_state=False
        )
        return again
    return _sampled(x, offsets, mask, weight, stride)


def _sampled(x: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, stride: int) -> Tensor:
    """:func:`deformable_conv2d` in plain PyTorch: all points are read, one below the other, then convolved."""
    kernel = weight.shape[-1]
    points = kernel * kernel
    precise = torch.promote_types(offsets.dtype, torch.float32)  # half a precision is too little for a place
    moves = offsets.to(precise).transpose(1, 2)  # (B, h, 2k², w)
    around = [(t // kernel - kernel // 2, t % kernel - kernel // 2) for t in range(points)]
    down, right = torch.tensor(around, device=x.device, dtype=precise).unbind(1)
    y = _places(offsets.shape[2], stride, x)[:, None] + down  # (h, k²)
    x_ = _places(offsets.shape[3], stride, x) + right[:, None]  # (k², w)
    grid = torch.stack(
        (
            _normalised(moves[:, :, 1::2], x_, x.shape[3]),
            _normalised(moves[:, :, 0::2], y[:, :, None], x.shape[2]),
        ),
        dim=-1,
    )
    read = F.grid_sample(x.to(precise), grid.flatten(1, 2), align_corners=False)  # (B, C, h · k², w)
    weighted = read * mask.transpose(1, 2).flatten(1, 2)[:, None]
    return F.conv2d(weighted.to(weight.dtype), weight.flatten(2)[..., None], stride=(points, 1))


def _places(count: int, stride: int, like: Tensor) -> Tensor:
    """Where the kernel's centre is in each of ``count`` rows or columns, in pixels of the input."""
    return torch.arange(count, device=like.device) * stride


def _normalised(move: Tensor, place: Tensor, side: int) -> Tensor:
    """``move`` + ``place`` for grid_sample, which counts from −1 at the first pixel's outer edge to 1 at the last's."""
    return move * (2 / side) + ((2 * place + 1) / side - 1)


@functools.cache
def _torchvision_kernel(device: torch.device) -> Callable[..., Any] | None:
    """torchvision's kernel, if it can be imported, runs on ``device`` and agrees with the plain code there."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 2, 5, 4), (1, 18, 5, 4), (1, 9, 5, 4), (3, 2, 3, 3))
    x, offsets, mask, weight = (torch.randn(shape, generator=generator).to(device) for shape in shapes)
    try:
        kernel: Callable[..., Any] = importlib.import_module("torchvision.ops").deform_conv2d
        with torch.no_grad():
            found = kernel(x, offsets, weight, stride=1, padding=1, mask=mask)
            same = torch.allclose(found, _sampled(x, offsets, mask, weight, 1), atol=1e-4)
    except (ImportError, OSError, AttributeError, RuntimeError):
        return None  # not installed, or built for another torch or without this device
    return kernel if same else None
