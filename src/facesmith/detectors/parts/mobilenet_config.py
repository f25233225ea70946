"""The shape of a MobileNet, for configurations that must not import torch."""

from dataclasses import dataclass


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
