"""The shape of a ResNet, for configurations that must not import torch."""

from dataclasses import dataclass

from facesmith.errors import ConfigError


@dataclass(frozen=True)
class ResNetConfig:
    """A ResNet of bottleneck blocks (He et al. 2015, arXiv 1512.03385, Table 1).

    Attributes:
        blocks: bottleneck blocks of C2, C3, C4, C5 (strides 4, 8, 16, 32).
        width: channels inside C2's bottlenecks; C2 hands on four times as many, every later stage twice as many as
            the one before.
        first_tap: the finest stage that is handed on. RetinaFace's paper taps C2 to C5 (2), its released code C3 to
            C5 (3).
        frozen: how many leading stages pretrained weights fix: 1 the stem, 2 the stem and C2, …

    Raises:
        ConfigError: a number is out of range.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    first_tap: int = 2
    frozen: int = 0

    def __post_init__(self) -> None:
        if len(self.blocks) != 4 or min(*self.blocks, self.width) < 1:
            raise ConfigError(f"a ResNet needs four stages of at least one block and a width of at least 1: {self}")
        if not (2 <= self.first_tap <= 5 and 0 <= self.frozen <= 5):
            raise ConfigError(f"a ResNet needs first_tap in 2…5 and frozen in 0…5: {self}")


RESNET50 = ResNetConfig()
RESNET152 = ResNetConfig(blocks=(3, 8, 36, 3))
