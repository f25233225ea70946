"""MobileNet v1 (Howard et al. 2017, arXiv 1704.04861), the light backbone of RetinaFace."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from facesmith.detectors.parts.convolution import ConvUnit, DepthwiseSeparable


class Tap(NamedTuple):
    """One feature map that a backbone hands on: that is all a neck has to know of it."""

    channels: int
    stride: int


@dataclass(frozen=True)
class MobileNetConfig:
    """Widths and strides of the depthwise-separable blocks.

    Attributes:
        stem: channels of the 3×3 stride-2 stem.
        stages: for each tap, the (channels, stride) of its blocks. The default is width 0.25 with taps at
            strides 8, 16, 32 (facts/retinaface).
    """

    stem: int = 8
    stages: tuple[tuple[tuple[int, int], ...], ...] = (
        ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
        ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
        ((256, 2), (256, 1)),
    )


class MobileNet(nn.Module):
    """Images to one map a tap. ``taps`` gives their channels and strides."""

    def __init__(self, config: MobileNetConfig) -> None:
        super().__init__()
        self.stem = ConvUnit(3, config.stem, stride=2)
        self.stages = nn.ModuleList()
        channels, stride = config.stem, 2
        taps = []
        for blocks in config.stages:
            stage = nn.Sequential()
            for width, block_stride in blocks:
                stage.append(DepthwiseSeparable(channels, width, stride=block_stride))
                channels, stride = width, stride * block_stride
            self.stages.append(stage)
            taps.append(Tap(channels, stride))
        self.taps = tuple(taps)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float -> [(B, C, ceil(H / s), ceil(W / s)) for (C, s) in taps]."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
