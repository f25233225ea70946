"""DamoFD's search as an evolution problem: genomes, budgets, and the tables that make evaluation cheap."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from facesmith.detectors.damofd.config import Backbone
from facesmith.detectors.damofd.space import Gene, Genome, Space
from facesmith.errors import ConfigError
from facesmith.search.budgets import StageSum
from facesmith.search.evolution import Evaluation

Score = Callable[[Backbone], float]
"""A figure of merit: any callable on backbones, higher is better. ``DDSAR`` is one; ``BackboneMacs`` and
``DetectorParameters`` serve as baselines. Those that are a :class:`StageSum` are looked up stage by stage."""

SCORE_DIGITS = 9
"""Decimals kept of a score, so that the last bits of a machine's logarithm do not turn a search."""

FOOTHOLD = 0.1
"""Share of the initial net's mutants that must keep to the budgets, or the search begins at a smaller net."""

_FOOTHOLD_TRIES = 200
_SHRINK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
_SHRINK_STEM = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Budget:
    """A figure and its upper limit.

    Attributes:
        name: for tables and files, with the unit.
        figure: what is limited.
        limit: the highest value allowed.
        measured: whether the figure is measured rather than computed; then it is asked for last, and only for
            candidates whose score would keep them in the pool.

    Raises:
        ConfigError: what does not depend on the backbone is over the limit already.
    """

    name: str
    figure: StageSum
    limit: float
    measured: bool = False

    def __post_init__(self) -> None:
        if not self.limit > self.figure.constant:
            raise ConfigError(
                f"{self.name}: a limit of {self.limit:g} leaves nothing for the backbone; the rest of the "
                f"detector takes {self.figure.constant:g}"
            )


class BackboneSearch:
    """The problem of finding the backbone of highest score within budgets.

    Args:
        space: where candidates come from.
        score: higher is better.
        budgets: at least one. ``self.budgets`` and the costs of an evaluation have the measured ones last.
        foothold: share of the initial net's mutants that must keep to the budgets. Where fewer do, the
            search begins at a smaller net (``Space.shrunk``), with a narrower stem only if nothing else
            helps. 0: one mutant will do.

    Raises:
        ConfigError: no budget, or none that can be kept.
    """

    def __init__(self, space: Space, score: Score, budgets: Sequence[Budget], *, foothold: float = FOOTHOLD) -> None:
        if not budgets:
            raise ConfigError("a search needs a budget, or its candidates grow without end")
        self.score = score
        self.budgets = tuple(sorted(budgets, key=lambda budget: budget.measured))
        self._computed = [budget for budget in self.budgets if not budget.measured]
        self._measured = [budget for budget in self.budgets if budget.measured]
        self._sums: list[StageSum] = [budget.figure for budget in self._computed]
        if isinstance(score, StageSum):
            self._sums.append(score)
        self._rows: dict[tuple[int, int, Gene], tuple[float, ...]] = {}
        self._begin(space, foothold)

    def mutate(self, candidate: Genome, replacements: int, rng: random.Random) -> Genome:
        """See :meth:`Space.mutate`."""
        return self.space.mutate(candidate, replacements, rng)

    def evaluate(self, candidate: Genome, floor: float) -> Evaluation | str:
        """Score and costs, or why the candidate is refused: a word of :meth:`Space.refusal`, the name of the
        budget that it breaks, or ``outscored`` where it was not measured as it scores below ``floor``."""
        if refusal := self.space.refusal(candidate):
            return refusal
        totals = self._totals(candidate)
        for total, budget in zip(totals, self._computed, strict=False):
            if total > budget.limit:
                return budget.name
        scored = len(self._sums) > len(self._computed)
        score = round(totals[-1] if scored else self.score(self.space.decode(candidate)), SCORE_DIGITS)
        costs = totals[: len(self._computed)]
        if not self._measured:
            return Evaluation(score, tuple(costs))
        if score < floor:
            return "outscored"
        return self._measure(candidate, score, costs)

    def text(self, candidate: Genome) -> str:
        """The one-line form of the backbone."""
        return str(self.space.decode(candidate))

    def read(self, text: str) -> Genome:
        """The genome of a one-line form."""
        return self.space.encode(Backbone.parse(text))

    def _totals(self, genome: Genome) -> list[float]:
        """Every computed budget's figure, and last the score if it is a sum over stages."""
        rows = [self._base]
        in_channels = self._stem_channels
        for index, gene in enumerate(genome, 1):
            key = (index, in_channels, gene)
            row = self._rows.get(key)
            if row is None:
                stage = self.space.stage(gene, in_channels)
                row = self._rows[key] = tuple(figure.stage(index, stage) for figure in self._sums)
            rows.append(row)
            in_channels = gene[1]
        return [a + b + c + d + e for a, b, c, d, e in zip(*rows, strict=True)]

    def _measure(self, candidate: Genome, score: float, costs: list[float]) -> Evaluation | str:
        """The rest of :meth:`evaluate`; no part is measured beyond the one that breaks a limit."""
        backbone = self.space.decode(candidate)
        for budget in self._measured:
            cost = budget.figure.constant
            for index, stage in enumerate(backbone.stages):
                cost += budget.figure.stage(index, stage)
                if cost > budget.limit:
                    return budget.name
            costs.append(cost)
        return Evaluation(score, tuple(costs))

    def _begin(self, space: Space, foothold: float) -> None:
        """Set the space, with the largest initial net that has a foothold within the budgets."""
        wanted = max(1, round(foothold * _FOOTHOLD_TRIES))
        for stem_factor, factor in product(_SHRINK_STEM, _SHRINK):
            smaller = space if factor == stem_factor == 1 else space.shrunk(factor, stem_factor)
            stem = smaller.initial.stages[0]
            self.space = smaller
            self.initial: Genome = smaller.encode(smaller.initial)
            self._stem_channels = stem.out_channels
            self._base = tuple(figure.constant + figure.stage(0, stem) for figure in self._sums)
            if self._fitting_mutants(wanted) == wanted:
                return
        limits = ", ".join(f"{budget.name} {budget.limit:,.10g}" for budget in self.budgets)
        raise ConfigError(f"no net of this space keeps to {limits}; raise the budget, or choose another regime")

    def _fitting_mutants(self, wanted: int) -> int:
        rng, fitting = random.Random(0), 0
        for _ in range(_FOOTHOLD_TRIES):
            mutant = self.mutate(self.initial, 1, rng)
            fitting += not isinstance(self.evaluate(mutant, float("-inf")), str)
            if fitting == wanted:
                break
        return fitting
