"""DamoFD's search spaces: which stages a mutation may make of a stage, and the four published regimes.

Inside a search a backbone is a *genome*: four genes ``(operation, out_channels, bottleneck, layers)``, one
for each stage behind the stem, where ``operation`` indexes ``Space.operations``. Genomes are plain tuples
because a search makes a hundred thousand of them; ``Space.decode`` turns one into a :class:`Backbone`.
"""

import random
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from facesmith.detectors.damofd.config import RELEASED, Backbone, Block, DamoFDConfig, Stage
from facesmith.errors import ConfigError

Gene = tuple[int, int, int, int]
Genome = tuple[Gene, Gene, Gene, Gene]

SPLIT_LAYERS = 6
"""The authors' code splits a stage with this many sub-layers in two and then refuses the net, which has six
stages. So a stage has at most five."""


class Operation(NamedTuple):
    """What a stage's sub-layers are."""

    block: Block
    kernel: int
    expansion: int = 1


@dataclass(frozen=True)
class Widths:
    """The widths that a mutation may make of a width: times a factor, clipped, rounded to a multiple of 8.

    Attributes:
        factors: of the present width.
        low, high: clip range; ``high`` may be None.
    """

    factors: tuple[float, ...]
    low: int
    high: int | None
    _known: dict[int, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def options(self, width: int) -> tuple[int, ...]:
        """The distinct results, ascending; all equally likely. Halves round to even, as the authors' do."""
        found = self._known.get(width)
        if found is None:
            clipped = (min(self.high or factor * width, max(self.low, factor * width)) for factor in self.factors)
            found = self._known[width] = tuple(sorted({max(8, round(value / 8) * 8) for value in clipped}))
        return found


@dataclass(frozen=True)
class Space:
    """What a search may build, and where it begins.

    Attributes:
        initial: the net that the first candidates are mutated from; its stem is every candidate's.
        operations: what a stage may be made of.
        out: mutations of a stage's out channels.
        bottleneck: mutations of its bottleneck width.
        max_layers: most sub-layers in all, the stem's convolutions included.
        squeeze: keeps trivial nets out (see :meth:`refusal`); None: the published space, which lets them in.
    """

    initial: Backbone
    operations: tuple[Operation, ...]
    out: Widths
    bottleneck: Widths
    max_layers: int
    squeeze: int | None

    def mutate(self, genome: Genome, replacements: int, rng: random.Random) -> Genome:
        """A copy in which ``replacements`` random stages (the same one may be drawn twice, then it counts
        once) have a new operation, out width, bottleneck width and number of layers (±0, 1, 2, at least 1),
        drawn uniformly.

        The authors' code offers its first operations more often than its last, through a list that grows in
        a loop; we draw all alike.
        """
        draw = rng.random
        genes = list(genome)
        for index in sorted({int(4 * draw()) for _ in range(replacements)}):
            _, out, bottleneck, layers = genes[index]
            outs, bottlenecks = self.out.options(out), self.bottleneck.options(bottleneck)
            fewest = max(1, layers - 2)
            genes[index] = (
                int(len(self.operations) * draw()),
                outs[int(len(outs) * draw())],
                bottlenecks[int(len(bottlenecks) * draw())],
                fewest + int((layers + 3 - fewest) * draw()),
            )
        first, second, third, fourth = genes
        return first, second, third, fourth

    def refusal(self, genome: Genome) -> str | None:
        """Why ``genome`` does not belong to the space, in a word, or None.

        ``split``: a stage has ``SPLIT_LAYERS`` sub-layers or more. ``layers``: more than ``max_layers`` in
        all. With ``squeeze`` also ``narrowing``: a stage gives fewer channels than it takes; and
        ``squeeze``: a stage gives more than ``squeeze`` times its bottleneck width. DDSAR asks for neither:
        the last stage's out width hardly enters it, and α·C rewards layers whatever their width, so free
        searches end in nets that drop to 32 channels at the end or pass everything through 8.
        """
        (_, out1, mid1, n1), (_, out2, mid2, n2), (_, out3, mid3, n3), (_, out4, mid4, n4) = genome
        if n1 >= SPLIT_LAYERS or n2 >= SPLIT_LAYERS or n3 >= SPLIT_LAYERS or n4 >= SPLIT_LAYERS:
            return "split"
        stem = self.initial.stages[0]
        if stem.layers + n1 + n2 + n3 + n4 > self.max_layers:
            return "layers"
        if (most := self.squeeze) is not None:
            if not stem.out_channels <= out1 <= out2 <= out3 <= out4:
                return "narrowing"
            if out1 > most * mid1 or out2 > most * mid2 or out3 > most * mid3 or out4 > most * mid4:
                return "squeeze"
        return None

    def stage(self, gene: Gene, in_channels: int) -> Stage:
        """The stage that ``gene`` makes behind ``in_channels`` channels."""
        operation, out, bottleneck, layers = gene
        block, kernel, expansion = self.operations[operation]
        return Stage(block, kernel, in_channels, out, 2, bottleneck, layers, expansion)

    def decode(self, genome: Genome) -> Backbone:
        """The backbone that ``genome`` stands for."""
        stages = [self.initial.stages[0]]
        for gene in genome:
            stages.append(self.stage(gene, stages[-1].out_channels))
        return Backbone((stages[0], stages[1], stages[2], stages[3], stages[4]))

    def encode(self, backbone: Backbone) -> Genome:
        """The genome of ``backbone``.

        Raises:
            ConfigError: it has another stem or an operation that the space does not know.
        """
        if backbone.stages[0] != self.initial.stages[0]:
            raise ConfigError(f"{backbone}: the space's stem is {self.initial.stages[0]}")
        try:
            first, second, third, fourth = (self._gene(stage) for stage in backbone.stages[1:])
        except ValueError:
            raise ConfigError(f"{backbone}: the space has none of these blocks but {self.operations}") from None
        return first, second, third, fourth

    def shrunk(self, factor: float, stem_factor: float = 1.0) -> "Space":
        """The same space, beginning at a smaller net: layers and widths behind the stem times ``factor``, the
        stem's width times ``stem_factor``."""

        def width(value: int, times: float, least: int = 8) -> int:
            return max(least, round(value * times / 8) * 8)

        stem = self.initial.stages[0]
        stem = replace(stem, out_channels=width(stem.out_channels, stem_factor))
        stages = [stem]
        for stage in self.initial.stages[1:]:
            narrower = replace(
                stage,
                in_channels=stages[-1].out_channels,
                out_channels=width(stage.out_channels, factor, stem.out_channels),
                bottleneck=width(stage.bottleneck, factor),
                layers=max(1, round(stage.layers * factor)),
            )
            stages.append(narrower)
        return replace(self, initial=Backbone((stages[0], stages[1], stages[2], stages[3], stages[4])))

    def _gene(self, stage: Stage) -> Gene:
        operation = self.operations.index(Operation(stage.block, stage.kernel, stage.expansion))
        return operation, stage.out_channels, stage.bottleneck, stage.layers


@dataclass(frozen=True)
class Regime:
    """A published setting of the search.

    Attributes:
        name: nominal FLOPs of the whole detector at 640×480.
        space: see there.
        backbone_macs: budget of the backbone at 224×224.
        alpha: α of DDSAR.
    """

    name: str
    space: Space
    backbone_macs: float
    alpha: float

    @property
    def detector(self) -> DamoFDConfig:
        """The released detector of this size; a search keeps its neck and head."""
        return RELEASED[self.name]

    def unconstrained(self) -> "Regime":
        """The same with the published space, without our constraints against trivial nets."""
        return replace(self, space=replace(self.space, squeeze=None))


_SHRINKING = (1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5)


def _mobile(initial: str, squeeze: int) -> Space:
    """Inverted depthwise stages whose widths only grow (budget 0.5G)."""
    operations = tuple(Operation(Block.IDWE, kernel, expansion) for kernel in (3, 5, 7) for expansion in (1, 2, 4, 6))
    growing = (2.5, 2, 1.5, 1.25)
    out = Widths((*growing, 1), 8, 128)
    return Space(Backbone.parse(initial), operations, out, Widths((*growing, *_SHRINKING), 8, None), 14, squeeze)


def _residual(initial: str, squeeze: int) -> Space:
    """Bottleneck and plain residual stages (the larger budgets)."""
    operations = tuple(Operation(block, kernel) for block in (Block.K1KXK1, Block.KXK) for kernel in (3, 5, 7))
    out = Widths((2, 1.75, 1.5, 1.25, *_SHRINKING), 8, 1024)
    bottleneck = Widths((2.5, 2, 1.5, 1.25, *_SHRINKING), 8, 256)
    return Space(Backbone.parse(initial), operations, out, bottleneck, 20, squeeze)


REGIMES: dict[str, Regime] = {
    "0.5G": Regime(
        "0.5G",
        _mobile(
            "K3(3,32,2,1)IDWE1K3(32,32,2,8,1)IDWE4K3(32,48,2,32,1)IDWE1K3(48,96,2,48,1)IDWE1K3(96,128,2,96,1)",
            4,
        ),
        65e6,
        0.25,
    ),
    "2.5G": Regime(
        "2.5G",
        _residual("K3(3,24,2,2)K3K3(24,32,2,32,3)K3K3(32,48,2,64,2)K3K3(48,64,2,128,2)K3K3(64,128,2,16,3)", 16),
        345e6,
        0.005,
    ),
    "10G": Regime(
        "10G",
        _residual("K3(3,56,2,2)K3K3(56,56,2,64,5)K3K3(56,64,2,64,5)K3K3(64,96,2,128,3)K3K3(96,128,2,16,1)", 16),
        1414e6,
        0.005,
    ),
    "34G": Regime(
        "34G",
        _residual("K3(3,56,2,2)K3K3(56,112,2,96,4)K3K3(112,224,2,96,4)K3K3(224,448,2,64,3)K3K3(448,512,2,32,1)", 16),
        4375e6,
        0.005,
    ),
}
"""The published regimes. α is the paper's at 0.5G and the committed code's beyond. At 0.5G and 2.5G the
initial nets are those of the authors' scripts. At 10G ours has the released net's stem and widens to it (the
script's stem, one layer of 24 channels, can never lead to the released net, as stems do not mutate); at 34G
ours is the script's made smaller, which keeps to the constraints. ``squeeze`` holds in every stage of the
released nets but the last one at 10G and 34G."""
