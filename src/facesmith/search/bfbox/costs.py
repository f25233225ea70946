"""What a BFBox costs, counted from its configuration alone: parameters, and multiply-accumulates (MACs).

Published figures call MACs FLOPs; Table 9's are those of the backbone at 224×224. No torch here, so that an
architecture over the budget costs microseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from facesmith.detectors.bfbox.architecture import STAGES, Block, Dense, Depthwise, Plain
from facesmith.detectors.bfbox.config import BFBoxConfig

Size = tuple[int, int]
"""Height and width of the input, pixels."""

HEAD_OUTPUTS = 15


class Conv(NamedTuple):
    """A convolution; ``level`` is that of its output, whose stride is 2^level."""

    kernel: int
    channels_in: int
    channels_out: int
    level: int
    groups: int = 1

    @property
    def weights(self) -> int:
        """Without a bias: multiply-accumulates a pixel of the output."""
        return self.kernel**2 * self.channels_in * self.channels_out // self.groups


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates and parameters (convolutions and normalisation; buffers do not count)."""

    macs: int
    parameters: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.macs + other.macs, self.parameters + other.parameters)


@cache
def block_convs(block: Block, channels_in: int, channels_out: int, squeeze: int, level: int, stride: int) -> list[Conv]:
    """The convolutions of ``make_block`` where its output is of ``level``."""
    before = level - (stride == 2)
    if isinstance(block, Dense):
        grown = [channels_in + i * block.growth for i in range(block.layers + 1)]
        inner = 4 * block.growth
        layers = [(Conv(1, c, inner, level), Conv(3, inner, block.growth, level)) for c in grown[:-1]]
        return [*(conv for pair in layers for conv in pair), Conv(1, grown[-1], channels_out, level)]
    inner = channels_out // squeeze
    match block:
        case Plain(kernel):
            spatial = [Conv(kernel, inner, inner, level)]
        case Depthwise(kernels):
            spatial = [Conv(kernel, inner, inner, level, groups=inner) for kernel in kernels]
    changes = channels_in != channels_out or stride == 2
    shortcut = [Conv(1, channels_in, channels_out, level)] if changes else []
    return [Conv(1, channels_in, inner, before), *spatial, Conv(1, inner, channels_out, level), *shortcut]


def backbone_convs(config: BFBoxConfig) -> Iterator[Conv]:
    """Stem and conv2 … conv7."""
    yield Conv(config.stem_kernel, 3, config.stem, 1)
    channels = config.stem
    for level, blocks, width in zip(STAGES, config.net.stages, config.widths, strict=True):
        for place, block in enumerate(blocks):
            stride = 2 if level > STAGES[0] and not place else 1
            yield from block_convs(block, channels, width, config.squeeze, level, stride)
            channels = width


def pyramid_convs(config: BFBoxConfig) -> Iterator[Conv]:
    """Laterals, and what follows the merges; merges themselves have no convolution."""
    channels = config.channels
    for level, width in zip(STAGES, config.widths, strict=True):
        yield Conv(1, width, channels, level)
        if not config.receptive_field:
            yield Conv(3, channels, channels, level)
            continue
        quarter = channels // 4
        yield Conv(3, channels, channels - 2 * quarter, level)
        yield Conv(3, channels, quarter, level)
        for _ in range(3):
            yield Conv(3, quarter, quarter, level)


def _cost(convs: Iterator[Conv], size: Size) -> Cost:
    macs = parameters = 0
    for conv in convs:
        macs += conv.weights * _cells(size, conv.level)
        parameters += conv.weights + 2 * conv.channels_out
    return Cost(macs, parameters)


def _cells(size: Size, level: int) -> int:
    stride: int = 2**level
    return -(-size[0] // stride) * -(-size[1] // stride)


def backbone_cost(config: BFBoxConfig, size: Size = (224, 224)) -> Cost:
    """Stem and conv2 … conv7."""
    return _cost(backbone_convs(config), size)


def detector_cost(config: BFBoxConfig, size: Size = (480, 640)) -> Cost:
    """The whole network; elementwise operations do not count."""
    cells = sum(_cells(size, level) for level in STAGES)
    head = Cost(cells * config.channels * HEAD_OUTPUTS, HEAD_OUTPUTS * (config.channels + 1))
    gates = sum(merge.other is not None for merge in config.net.merges) if config.attention else 0
    return backbone_cost(config, size) + _cost(pyramid_convs(config), size) + head + Cost(0, gates)
