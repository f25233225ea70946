"""What a network costs: parameters and multiply-accumulates (MACs), of backbones and of whole detectors.

Every figure here is a constant plus a sum over the backbone's stages, each depending on that stage
alone. The search uses that: it counts a stage once and looks it up ever after.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

from facesmith.detectors.damofd.config import Backbone, DamoFDConfig, Stage
from facesmith.detectors.damofd.layers import (
    Conv,
    Unit,
    first_units,
    later_units,
    lateral,
    predictions,
    smoothing,
    tower,
)

LEVELS = 3
"""Pyramid levels, at strides 8, 16, 32: behind the last three stages."""


@runtime_checkable
class StageSum(Protocol):
    """A figure of a backbone that is a constant plus a sum over its five stages."""

    @property
    def constant(self) -> float:
        """What does not depend on the backbone."""

    def stage(self, index: int, stage: Stage) -> float:
        """The share of the ``index``-th stage (0: the stem)."""

    def __call__(self, backbone: Backbone) -> float:
        """The figure itself."""


def total(figure: StageSum, backbone: Backbone) -> float:
    """``figure`` of ``backbone``: its constant and its stages summed."""
    return figure.constant + sum(figure.stage(index, stage) for index, stage in enumerate(backbone.stages))


@dataclass(frozen=True)
class Counter:
    """What counts as a MAC besides the convolutions' own.

    Attributes:
        norm: operations for every normalised element.
        bias: operations for every element that a bias is added to.
        relu: operations for every element of the head's ReLUs (those of the backbone never count).
        slip: whether a strided projection shortcut counts a quarter of what it costs, as in the authors'
            search code, which divides by the stride twice.
    """

    norm: int = 1
    bias: int = 0
    relu: int = 0
    slip: bool = False

    def count(self, conv: Conv, pixels: int, *, head: bool = False) -> int:
        """MACs of ``conv`` with ``pixels`` output positions."""
        extras = self.norm * conv.norm + self.bias * conv.bias + self.relu * (head and conv.relu)
        return pixels * (conv.weights + conv.out_channels * extras)

    def units(self, units: tuple[Unit, ...], before: int, after: int) -> int:
        """MACs of ``units`` with ``before`` positions ahead of the first strided convolution, ``after``
        behind."""
        operations, pixels = 0, before
        for unit in units:
            for conv in unit.convs:
                pixels = after if conv.stride == 2 else pixels
                operations += self.count(conv, pixels)
            if unit.projection:
                shortcut = self.count(unit.projection, pixels)
                operations += shortcut // unit.projection.stride**2 if self.slip else shortcut
        return operations


MACS = Counter()
"""Convolutions, and one operation for every batch-normalised element: how backbone budgets are counted."""
SEARCH_CODE = Counter(slip=True)
"""The authors' search code, to compare only: 63.1M, 326.8M, 1341.9M and 4147.3M for the released
backbones at 224×224, where ``MACS`` finds 65.4M, 331.0M, 1362.4M and 4305.5M."""
REPORTED = Counter(norm=2, bias=1, relu=1)
"""The rule behind the published "FLOPs at VGA" (0.520G, 2.46G, 9.74G, 34.03G; with landmarks 0.593G,
2.53G, 9.83G, 34.32G): all eight come out to the last printed digit."""


def half(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width behind a convolution of stride 2."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def stage_size(index: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at the input of the ``index``-th stage, where the network's input is ``size``."""
    for _ in range(index):
        size = half(size)
    return size


def stage_macs(stage: Stage, size: tuple[int, int], counter: Counter = MACS) -> int:
    """MACs of a stage whose input has height and width ``size``."""
    inside = half(size) if stage.stride == 2 else size
    before, after = size[0] * size[1], inside[0] * inside[1]
    first = counter.units(first_units(stage), before, after)
    return first + (stage.layers - 1) * counter.units(later_units(stage), after, after)


def stage_parameters(stage: Stage) -> int:
    """Learnable parameters of a stage."""
    return _parameters(first_units(stage)) + (stage.layers - 1) * _parameters(later_units(stage))


def _parameters(units: tuple[Unit, ...]) -> int:
    convs = sum(conv.parameters for unit in units for conv in unit.convs)
    return convs + sum(unit.projection.parameters for unit in units if unit.projection)


@dataclass(frozen=True)
class BackboneMacs:
    """MACs of the backbone alone; the published search budgets are such counts at 224×224.

    Attributes:
        size: height and width of the input, pixels.
        counter: what counts.
    """

    size: tuple[int, int] = (224, 224)
    counter: Counter = MACS

    @property
    def constant(self) -> float:
        """Nothing."""
        return 0

    def stage(self, index: int, stage: Stage) -> float:
        """MACs of one stage."""
        return stage_macs(stage, stage_size(index, self.size), self.counter)

    def __call__(self, backbone: Backbone) -> float:
        return total(self, backbone)


@dataclass(frozen=True)
class DetectorMacs:
    """MACs of the whole detector: backbone, neck and head; decoding and NMS are outside.

    Attributes:
        config: gives neck and head; its backbone does not matter.
        size: height and width of the input, pixels.
        counter: what counts.
    """

    config: DamoFDConfig
    size: tuple[int, int] = (480, 640)
    counter: Counter = REPORTED

    def _pixels(self, index: int) -> int:
        height, width = stage_size(index + 1, self.size)
        return height * width

    @property
    def constant(self) -> float:
        """The head, and the neck without its laterals."""
        necks = (1, 3, 3)  # convolutions of the neck that end on each level
        neck, head = smoothing(self.config), [*tower(self.config), *predictions(self.config)]
        operations = 0
        for level, count in enumerate(necks):
            pixels = self._pixels(2 + level)
            operations += count * self.counter.count(neck, pixels)
            operations += sum(self.counter.count(conv, pixels, head=True) for conv in head)
        return operations

    def stage(self, index: int, stage: Stage) -> float:
        """MACs of one stage, and of the neck's lateral convolution behind it."""
        macs = stage_macs(stage, stage_size(index, self.size), self.counter)
        if index < 5 - LEVELS:
            return macs
        return macs + self.counter.count(lateral(self.config, stage.out_channels), self._pixels(index))

    def __call__(self, backbone: Backbone) -> float:
        return total(self, backbone)


@dataclass(frozen=True)
class DetectorParameters:
    """Learnable parameters of the whole detector.

    Attributes:
        config: gives neck and head; its backbone does not matter.
    """

    config: DamoFDConfig

    @property
    def constant(self) -> float:
        """The head, with a scale on the boxes of each level, and the neck without its laterals."""
        head = sum(conv.parameters for conv in chain(tower(self.config), predictions(self.config)))
        return head + LEVELS + 7 * smoothing(self.config).parameters

    def stage(self, index: int, stage: Stage) -> float:
        """Parameters of one stage, and of the neck's lateral convolution behind it."""
        if index < 5 - LEVELS:
            return stage_parameters(stage)
        return stage_parameters(stage) + lateral(self.config, stage.out_channels).parameters

    def __call__(self, backbone: Backbone) -> float:
        return total(self, backbone)
