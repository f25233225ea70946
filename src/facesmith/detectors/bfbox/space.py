"""The face-appropriate search space FDB(k): what an architecture may be, and uniform draws from it.

An architecture is a row of genes, integers below the space's ``radices``: a choice a block, then the pyramid's order,
inputs and operations. Every row is an architecture and no two rows are the same one, so independent uniform genes are
a uniform draw, and changing any gene keeps every rule.

Where the paper is silent or unclear:

- FDB(k) has k blocks a stage (facts/bfbox), in shallow stages; the deep ones always have four. The paper's sentence
  ("k denoted as the number of blocks in the search space of shallow layers") could also mean kinds of blocks.
- Shallow stages are conv2 and conv3, those of Tables 3 and 4.
- The five merges give p2 … p6, each once. So fᵢ, the input with the output's resolution, is the backbone's map of the
  level that is drawn, and fⱼ any other candidate: other laterals, and what was merged before.
- Elementwise operations are the sum (FPN) and the product (PyramidBox, DSFD).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from facesmith.detectors.bfbox.architecture import (
    LEVELS,
    SOURCES,
    STAGES,
    Architecture,
    Block,
    Dense,
    Depthwise,
    Merge,
    Operation,
    Plain,
    parse_pyramid,
)
from facesmith.detectors.bfbox.config import BFBoxConfig, uniform
from facesmith.errors import ConfigError

Genes = tuple[int, ...]

SHALLOW_STAGES = 2


@dataclass(frozen=True)
class Space:
    """All architectures of some choices a block and any pyramid, or one fixed pyramid.

    Attributes:
        stages: stage -> block -> the kinds that it may be.
        operations: of merges.
        pyramid: the merges if they are fixed.

    Raises:
        ConfigError: a stage is missing, or a block has no choice.
    """

    stages: tuple[tuple[tuple[Block, ...], ...], ...]
    operations: tuple[Operation, ...] = ("+", "*")
    pyramid: tuple[Merge, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.stages) != len(STAGES) or not all(stage and all(stage) for stage in self.stages):
            raise ConfigError("a space needs a choice for each block of conv2 to conv7")
        if not self.operations:
            raise ConfigError("a space needs an operation for its merges")

    @cached_property
    def positions(self) -> tuple[tuple[Block, ...], ...]:
        """The choices of every block, stage after stage."""
        return tuple(choices for stage in self.stages for choices in stage)

    @cached_property
    def radices(self) -> Genes:
        """How many values each gene has: blocks; then the order of the levels (5, 4, 3, 2 left), the other inputs
        (4 … 8 candidates), the operations."""
        blocks = tuple(len(choices) for choices in self.positions)
        if self.pyramid is not None:
            return blocks
        order = tuple(range(len(LEVELS), 1, -1))
        others = tuple(range(len(LEVELS) - 1, 2 * len(LEVELS) - 1))
        return (*blocks, *order, *others, *(len(self.operations),) * len(LEVELS))

    @property
    def size(self) -> int:
        """How many architectures there are; orders of the same merges count."""
        total = 1
        for radix in self.radices:
            total *= radix
        return total

    def draw(self, rng: np.random.Generator) -> Genes:
        """Genes of a uniformly drawn architecture."""
        return tuple(int(gene) for gene in rng.integers(self.radices))

    def decode(self, genes: Genes) -> Architecture:
        """The architecture of ``genes``.

        Raises:
            ConfigError: their number or a value is not of this space.
        """
        if len(genes) != len(self.radices) or not all(0 <= g < r for g, r in zip(genes, self.radices, strict=True)):
            raise ConfigError(f"genes {genes} are not of this space, whose radices are {self.radices}")
        chosen = iter(choices[gene] for choices, gene in zip(self.positions, genes, strict=False))
        stages = tuple(tuple(next(chosen) for _ in stage) for stage in self.stages)
        if self.pyramid is not None:
            return Architecture(stages, self.pyramid)
        return Architecture(stages, self._merges(genes[len(self.positions) :]))

    def encode(self, architecture: Architecture) -> Genes:
        """The genes of ``architecture``.

        Raises:
            ConfigError: it is not of this space.
        """
        if [len(stage) for stage in architecture.stages] != [len(stage) for stage in self.stages]:
            raise ConfigError(f"{architecture.backbone}: this space has {[len(s) for s in self.stages]} blocks a stage")
        genes = []
        for choices, block in zip(self.positions, (b for s in architecture.stages for b in s), strict=True):
            if block not in choices:
                raise ConfigError(f"{block} is not among the choices {', '.join(map(str, choices))} of its place")
            genes.append(choices.index(block))
        if self.pyramid is None:
            return (*genes, *self._pyramid_genes(architecture.merges))
        if architecture.merges != self.pyramid:
            raise ConfigError(f"{architecture.pyramid}: this space has the one pyramid {self._pyramid_text}")
        return tuple(genes)

    def with_pyramid(self, text: str) -> "Space":
        """This space with one pyramid: a search of backbones."""
        return replace(self, pyramid=parse_pyramid(text))

    def with_backbone(self, architecture: Architecture) -> "Space":
        """This space with the backbone of ``architecture``: a search of pyramids."""
        return replace(self, stages=tuple(tuple((b,) for b in stage) for stage in architecture.stages))

    @property
    def _pyramid_text(self) -> str:
        return " ".join(map(str, self.pyramid or ()))

    def _merges(self, genes: Genes) -> tuple[Merge, ...]:
        count = len(LEVELS)
        order, others, operations = genes[: count - 1], genes[count - 1 : 2 * count - 1], genes[2 * count - 1 :]
        left, candidates, merges = list(LEVELS), [f"c{level}" for level in LEVELS], []
        for place, other, operation in zip((*order, 0), others, operations, strict=True):
            level = left.pop(place)
            choices = [name for name in candidates if name != f"c{level}"]
            merges.append(Merge(level, choices[other], self.operations[operation]))
            candidates.append(f"p{level}")
        return tuple(merges)

    def _pyramid_genes(self, merges: tuple[Merge, ...]) -> Genes:
        left, candidates = list(LEVELS), [f"c{level}" for level in LEVELS]
        order, others, operations = [], [], []
        for merge in merges:
            if merge.other is None or merge.operation not in self.operations:
                raise ConfigError(f"{merge}: merges of this space take two maps and one of {self.operations}")
            order.append(left.index(merge.level))
            left.remove(merge.level)
            others.append([name for name in candidates if name != f"c{merge.level}"].index(merge.other))
            operations.append(self.operations.index(merge.operation))
            candidates.append(f"p{merge.level}")
        return (*order[:-1], *others, *operations)


def uniform_path(space: Space, seed: int, step: int) -> Genes:
    """The architecture that ``step`` of a supernet's training takes; a function of ``seed`` and ``step`` alone."""
    return space.draw(np.random.default_rng((seed, step)))


def source_indices(merges: tuple[Merge, ...]) -> npt.NDArray[np.int64]:
    """(k, 2) int64 rows and columns of the attention tensor's (levels, sources) for merges with another input."""
    return np.array([(LEVELS.index(m.level), SOURCES.index(m.other)) for m in merges if m.other], np.int64).reshape(
        -1, 2
    )


_PAIRS: tuple[Block, ...] = (Depthwise((3, 5)), Depthwise((5, 7)))
_SHALLOW: tuple[Block, ...] = (
    *(Plain(k) for k in (3, 5, 7, 9)),
    *(Depthwise((k,)) for k in (3, 5, 7, 9)),
    *_PAIRS,
    Dense(2, 32),
    Dense(3, 16),
)
_DEEP: tuple[Block, ...] = (*(Plain(k) for k in (3, 5, 7)), *(Depthwise((k,)) for k in (3, 5, 7)), *_PAIRS)


def face_appropriate(
    k: int = 4, *, deep: int = 4, shallow_choices: tuple[Block, ...] = _SHALLOW, deep_choices: tuple[Block, ...] = _DEEP
) -> Space:
    """FDB(k): k blocks of ``shallow_choices`` in conv2 and conv3, ``deep`` blocks of ``deep_choices`` from conv4 on."""
    shallow = ((shallow_choices,) * k,) * SHALLOW_STAGES
    return Space((*shallow, *((deep_choices,) * deep,) * (len(STAGES) - SHALLOW_STAGES)))


@dataclass(frozen=True)
class Preset:
    """A space, and the detector that its architectures are put into.

    Attributes:
        space: the choices.
        detector: all else; its own architecture is a plain one, the bottleneck of 3×3 with the plain FPN.
    """

    space: Space
    detector: BFBoxConfig = field(default_factory=lambda: BFBoxConfig(uniform("k3", (4,) * 6)))

    def config(self, architecture: Architecture) -> BFBoxConfig:
        """The detector with ``architecture``."""
        return replace(self.detector, architecture=architecture.text)


PAPER = Preset(face_appropriate(4))
"""FDB(4) at the paper's widths: about 3 · 10³⁰ architectures."""

TINY = Preset(
    Space(
        (
            *(((Plain(3), Plain(5), Depthwise((3,)), Depthwise((5,)), Depthwise((7,)), _PAIRS[0], Dense(2, 8)),) * 2,)
            * 2,
            *(((Plain(3), Depthwise((3,)), Depthwise((5,)), _PAIRS[0]),) * 2,) * 2,
            *(((Plain(3), Depthwise((3,)), Depthwise((5,)), _PAIRS[0]),),) * 2,
        )
    ),
    BFBoxConfig(
        uniform("k3", (2, 2, 2, 2, 1, 1)),
        stem=16,
        stem_kernel=3,
        widths=(32, 48, 64, 96, 96, 96),
        squeeze=2,
        channels=32,
        anchor=2.5,
        candidates=1000,
    ),
)
"""All four kinds of blocks in shallow stages and the first three in deep ones, at widths for a CPU."""

PRESETS = {"tiny": TINY, "paper": PAPER}
