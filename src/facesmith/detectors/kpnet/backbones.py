"""KPNet's two backbones: images to features at stride 2 (section "Backbone architecture", facts/kpnet)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from facesmith.detectors.kpnet.config import DRNetConfig, HourglassConfig
from facesmith.detectors.parts.convolution import ConvUnit
from facesmith.detectors.parts.fpn import upsample_like


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut around them (He et al. 2016); a 1×1 one where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            ConvUnit(channels_in, channels_out, stride=stride), ConvUnit(channels_out, channels_out, activate=False)
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = (
            nn.Identity() if same else ConvUnit(channels_in, channels_out, kernel=1, stride=stride, activate=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        return torch.relu(self.shortcut(x) + self.convolutions(x))


class DRNet(nn.Module):
    """Eleven convolutions, eight of them at strides 4 and 8; two long skips bring the details back (Figure 3).

    Attributes:
        channels: channels of the features.
    """

    def __init__(self, config: DRNetConfig) -> None:
        super().__init__()
        stem, deep = config.stem, config.deep
        self.channels = deep
        self.stem = ConvUnit(3, stem, stride=2)
        self.stride4 = nn.Sequential(BasicBlock(stem, stem), BasicBlock(stem, stem))
        self.stride8 = nn.Sequential(BasicBlock(stem, deep, stride=2), BasicBlock(deep, deep))
        self.merge4 = ConvUnit(stem + deep, stem)
        # The published number of parameters leaves no room for a normalisation here.
        self.merge2 = nn.Conv2d(stem + stem, deep, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, channels, ceil(H / 2), ceil(W / 2))."""
        at2 = self.stem(x)
        at4 = self.stride4(_halve(at2))
        at8 = self.stride8(at4)
        at4 = self.merge4(torch.cat((upsample_like(at8, at4), at4), dim=1))
        return torch.relu(self.merge2(torch.cat((upsample_like(at4, at2), at2), dim=1)))


class PreactivatedBlock(nn.Module):
    """Two 3×3 convolutions, each after normalisation and ReLU, with a shortcut around them (He et al. 2016b).

    The hourglass's own kind of block. Its sums are never cut at 0, so that no cell of a deep sum can fall silent.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(layer for _ in range(2) for layer in _preactivated(channels)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        out: Tensor = self.layers(x)
        return x + out


class Hourglass(nn.Module):
    """One hourglass (Newell et al. 2016) with a stem of two small convolutions, up-sampled once more at its end.

    As in the original, the stem is pooled, so that the hourglass begins at stride 4.

    Attributes:
        channels: channels of the features.
    """

    def __init__(self, config: HourglassConfig) -> None:
        super().__init__()
        self.channels = config.channels
        # "Without BN and ReLU between them".
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.channels, 3, stride=2, padding=1, bias=False),
            ConvUnit(config.channels, config.channels),
        )
        self.hourglass = _Level(config.channels, config.depth)
        # What pre-activated blocks add up to has no scale of its own.
        self.norm = nn.Sequential(nn.BatchNorm2d(config.channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, channels, ceil(H / 2), ceil(W / 2))."""
        at2 = self.stem(x)
        return upsample_like(self.norm(self.hourglass(_halve(at2))), at2)


class _Level(nn.Module):
    """A skip, and beside it the next level at half the size between two blocks; at the bottom a single block."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.skip = PreactivatedBlock(channels)
        inner = _Level(channels, depth - 1) if depth > 1 else PreactivatedBlock(channels)
        self.inner = nn.Sequential(PreactivatedBlock(channels), inner, PreactivatedBlock(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        skip: Tensor = self.skip(x)
        return skip + upsample_like(self.inner(_halve(x)), skip)


def _preactivated(channels: int) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, padding=1, bias=False)


def _halve(x: Tensor) -> Tensor:
    """2×2 maxima; an odd side keeps its last row, so that :func:`upsample_like` fits any image size."""
    return nn.functional.max_pool2d(x, 2, ceil_mode=True)


BACKBONES: dict[type[Any], Callable[[Any], DRNet | Hourglass]] = {DRNetConfig: DRNet, HourglassConfig: Hourglass}
"""Configuration -> its class."""
