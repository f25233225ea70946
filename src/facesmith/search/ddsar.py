"""DDSAR: DamoFD's score of a backbone, from the structure alone (no weights, no input, no training).

Per stage, SAR = ln(A + B) + α·C. A + B is the logarithm of a lower bound on the number of linear regions of
the stage as a ReLU network (Xiong et al. 2020, arXiv 2006.00978); C is its sum of kernel sizes. DDSAR weighs
the five stages by the share of faces that each of them has to find. Batch normalisation and shortcuts do not
enter. The paper gives the idea; the terms here are those of the authors' public code.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith.detectors.damofd.config import Backbone, Block, Stage
from facesmith.errors import ConfigError, LabelError

STAGE_WEIGHTS = (0.20, 0.27, 0.25, 0.18, 0.10)
"""The authors' weights of the stages with strides 2, 4, 8, 16, 32."""

SIDE_EDGES = (8.0, 16.0, 32.0, 64.0)
"""Faces with a side √(width·height) below 8, 16, 32, 64 pixels belong to stage 1, 2, 3, 4, the rest to stage
5: a stage finds what is smaller than four of its strides (2, 4, 8, 16, 32) and too large for the stage
before."""

_INPUT_CHANNELS = 3  # d0 in the paper
_BLOCKS = tuple(Block)


@dataclass(frozen=True)
class DDSAR:
    """The score as a callable on backbones; higher is better.

    Attributes:
        alpha: α, what a unit of kernel size counts. 0.25 in the paper (0.5G); larger budgets need less.
        weights: of the five stages.
        size: side of the square input, pixels.
    """

    alpha: float = 0.25
    weights: tuple[float, float, float, float, float] = STAGE_WEIGHTS
    size: int = 224

    def __post_init__(self) -> None:
        if len(self.weights) != 5 or min(self.weights) < 0:
            raise ConfigError(f"DDSAR needs five stage weights of at least 0, got {self.weights}")
        if self.alpha < 0 or self.size < 32:
            raise ConfigError(f"DDSAR needs α ≥ 0 and a size ≥ 32, got {self.alpha} and {self.size}")

    @property
    def constant(self) -> float:
        """Nothing is added to the stages' sum (see :class:`facesmith.search.budgets.StageSum`)."""
        return 0.0

    def stage(self, index: int, stage: Stage) -> float:
        """The weighted SAR of the ``index``-th stage (0: the stem)."""
        return self.weights[index] * sar(stage, self.size / 2**index, self.alpha)

    def __call__(self, backbone: Backbone) -> float:
        return sum(self.stage(index, stage) for index, stage in enumerate(backbone.stages))

    def batch(self, nets: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The scores (n,) of ``nets`` (n, 5, 8), as :func:`to_array` makes them, all at once."""
        scores: npt.NDArray[np.float64] = sar_batch(nets, self.size, self.alpha) @ np.array(self.weights)
        return scores


def sar(stage: Stage, side: float, alpha: float) -> float:
    """ln(A + B) + α·C of one stage whose input has the side ``side`` in pixels."""
    widths = stage.in_channels, stage.out_channels, stage.bottleneck, stage.expansion
    regions = _regions(stage.block, math.log, *widths, stage.layers, side, side / stage.stride)
    kernels = _kernels(stage.block, stage.kernel, stage.layers)
    return math.log(math.log(side * side * _INPUT_CHANNELS) + float(regions)) + alpha * float(kernels)


def sar_batch(nets: npt.NDArray[np.int32], size: int, alpha: float) -> npt.NDArray[np.float64]:
    """The SAR of every stage (n, 5) of ``nets`` (n, 5, 8), as :func:`to_array` makes them."""
    if nets.ndim != 3 or nets.shape[1:] != (5, 8):
        raise ConfigError(f"nets must have the shape (n, 5, 8), see to_array; got {nets.shape}")
    result = np.empty(nets.shape[:2], np.float64)
    sides = np.broadcast_to(size / 2.0 ** np.arange(5), result.shape)
    for code, block in enumerate(_BLOCKS):
        rows = nets[..., 0] == code
        _, kernel, in_channels, out, stride, bottleneck, layers, expansion = nets[rows].T
        side = sides[rows]
        regions = _regions(block, np.log, in_channels, out, bottleneck, expansion, layers, side, side / stride)
        logarithms = np.log(np.log(side * side * _INPUT_CHANNELS) + regions)
        result[rows] = logarithms + alpha * _kernels(block, kernel, layers)
    return result


def to_array(backbones: Iterable[Backbone]) -> npt.NDArray[np.int32]:
    """Backbones as one array (n, 5, 8): for every stage the index of its block in ``Block``, kernel, in, out,
    stride, bottleneck, layers, expansion."""
    code = {block: index for index, block in enumerate(_BLOCKS)}
    rows = [
        [
            code[s.block],
            s.kernel,
            s.in_channels,
            s.out_channels,
            s.stride,
            s.bottleneck,
            s.layers,
            s.expansion,
        ]
        for backbone in backbones
        for s in backbone.stages
    ]
    return np.array(rows, np.int32).reshape(-1, 5, 8)


def _regions(
    block: Block,
    log: Callable[[Any], Any],
    in_channels: Any,
    out: Any,
    bottleneck: Any,
    expansion: Any,
    layers: Any,
    before: Any,
    after: Any,
) -> Any:
    """B: the sum of side²·d0·ln(width / d0) over what enters the convolutions; numbers or arrays alike.

    ``before`` and ``after`` are the sides ahead of and behind the stage's stride. In the second unit of an
    IDWE sub-layer the authors count the first unit's depthwise width again, and so do we.
    """

    def gain(width: Any) -> Any:
        return log(width / _INPUT_CHANNELS)

    match block:
        case Block.CONV:
            own, strided = 0.0, 0.0
        case Block.KXK:
            own, strided = 0.0, gain(bottleneck)
        case Block.K1KXK1:
            own, strided = gain(bottleneck), 3 * gain(bottleneck) + gain(out)
        case Block.IDWE:
            own = gain(expansion * bottleneck)
            strided = gain(bottleneck) + 3 * own
    first = before * before * (gain(in_channels) + own) + after * after * strided
    later = after * after * (gain(out) + own + strided)
    return _INPUT_CHANNELS * (first + (layers - 1) * later)


def _kernels(block: Block, kernel: Any, layers: Any) -> Any:
    """C: the sum of kernel sizes; numbers or arrays alike."""
    match block:
        case Block.CONV:
            return layers * kernel
        case Block.KXK:
            return layers * 2 * kernel
        case Block.K1KXK1 | Block.IDWE:
            return layers * (2 * kernel + 4)


def stage_weights(sides: npt.NDArray[np.floating[Any]]) -> tuple[float, float, float, float, float]:
    """Stage weights from face sides √(width·height) in pixels: the share of faces in each of the five bins
    that ``SIDE_EDGES`` makes.

    The authors do not publish how they found theirs. By this rule WIDER FACE val gives .153, .313, .259,
    .167, .108; theirs are .20, .27, .25, .18, .10. Measure the sides at the scale at which the detector will
    see the pictures.

    Raises:
        LabelError: no face.
    """
    if sides.size == 0:
        raise LabelError("stage weights need at least one labelled face, got none")
    counts = np.bincount(np.searchsorted(SIDE_EDGES, sides, side="right"), minlength=5)
    first, second, third, fourth, fifth = (counts / sides.size).tolist()
    return first, second, third, fourth, fifth


def stage_weights_of_labels(paths: Iterable[str | Path]) -> tuple[float, float, float, float, float]:
    """:func:`stage_weights` of all faces in label files that ``facesmith.data.labels.read_labels`` reads, at
    the scale of the labels. Faces marked ignored do not count.

    Raises:
        LabelError: a file is malformed, or there is no face at all.
    """
    from facesmith.data.labels import read_labels

    boxes = [image.boxes[~image.ignored] for path in paths for image in read_labels(path)]
    spans = [(b[:, 2:] - b[:, :2]).astype(np.float64) for b in boxes]
    return stage_weights(np.sqrt(np.concatenate(spans).prod(axis=1)) if spans else np.empty(0))
