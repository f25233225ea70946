"""The shape of a MobileNet, for configurations that must not import torch."""

from dataclasses import dataclass

from facesmith.errors import ConfigError


@dataclass(frozen=True)
class MobileNetConfig:
    """Widths and strides of the depthwise-separable blocks.

    Attributes:
        stem: channels of the stem.
        stages: for each tap, the (channels, stride) of its blocks. The default is width 0.25 with taps at
            strides 8, 16, 32 (facts/retinaface).
        stem_kernel, stem_stride: side and stride of the stem's convolution.
        frozen: how many leading layers pretrained weights fix: 1 the stem, 2 the stem and the first block, …

    Raises:
        ConfigError: an even or negative stem kernel, or another number out of range.
    """

    stem: int = 8
    stages: tuple[tuple[tuple[int, int], ...], ...] = (
        ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
        ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
        ((256, 2), (256, 1)),
    )
    stem_kernel: int = 3
    stem_stride: int = 2
    frozen: int = 0

    def __post_init__(self) -> None:
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0 or self.stem_stride < 1 or self.frozen < 0:
            raise ConfigError(
                f"a MobileNet needs an odd stem_kernel, stem_stride of at least 1 and frozen of at least 0: {self}"
            )


PAPER_MOBILENET = MobileNetConfig(
    stages=(((16, 1), (32, 1), (32, 1), (64, 2), (64, 1)), *MobileNetConfig().stages[1:]),
    stem_kernel=7,
    stem_stride=4,
    frozen=2,
)
"""RetinaFace's own MobileNet-0.25 (paper, section 4.8): a 7×7 stem of stride 4 reads the picture, so C2's block keeps
its stride; the first two layers are fixed where they are pretrained."""
