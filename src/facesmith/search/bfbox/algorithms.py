"""In which order architectures are tried. An algorithm is a generator: it yields candidates to score and is sent their
scores. It depends on its seed and these scores alone, so a search that is resumed asks for the same candidates again,
and those that were scored before cost nothing."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from facesmith.detectors.bfbox.space import Genes, Space
from facesmith.errors import ConfigError

Trial = Generator[list[Genes], list[float], None]
Fits = Callable[[Genes], bool]
"""Whether an architecture keeps to the budget; asked before anything else."""

MOST_TRIES = 20_000
"""Draws in a row that may be over the budget or known before the search gives up."""


class Draws:
    """New architectures within the budget, each once.

    Attributes:
        refused: how many draws were over the budget.
    """

    def __init__(self, space: Space, fits: Fits) -> None:
        self.space, self.fits = space, fits
        self.refused = 0
        self._seen: set[Genes] = set()

    def take(self, make: Callable[[], Genes], count: int, tries: int) -> list[Genes]:
        """Up to ``count`` new architectures of ``make``; fewer where ``tries`` calls in a row give none."""
        found: list[Genes] = []
        left = tries
        while len(found) < count and left:
            genes = make()
            if genes in self._seen:
                left -= 1
            elif not self.fits(genes):
                self.refused += 1
                left -= 1
            else:
                self._seen.add(genes)
                found.append(genes)
                left = tries
        return found

    def uniform(self, rng: np.random.Generator, count: int) -> list[Genes]:
        """Uniformly drawn ones, as many as there are.

        Raises:
            ConfigError: none was found.
        """
        found = self.take(lambda: self.space.draw(rng), count, MOST_TRIES)
        if not found and not self._seen:
            raise ConfigError(f"none of {MOST_TRIES:,} random architectures keeps to the budget; raise it")
        return found


@dataclass(frozen=True)
class RandomSearch:
    """The paper's choice (section 4.4): uniform draws within the budget."""

    generation: int = 64

    def trial(self, draws: Draws, count: int, seed: int) -> Trial:
        """Candidates, ``count`` in all."""
        rng = np.random.default_rng((seed, 0))
        while count > 0:
            found = draws.uniform(rng, min(self.generation, count))
            if not found:
                return  # the whole space is known
            yield found
            count -= len(found)


@dataclass(frozen=True)
class EvolutionarySearch:
    """Table 8's baseline, SPOS's (Guo et al. 2019, Algorithm 1): half of a generation are mutants, half crossovers of
    the best so far; what is missing is drawn at random.

    Attributes:
        population: candidates a generation.
        parents: the best so far, from which the next generation comes.
        mutation: probability that a gene of a mutant is drawn anew.
    """

    population: int = 50
    parents: int = 10
    mutation: float = 0.1

    def trial(self, draws: Draws, count: int, seed: int) -> Trial:
        """Candidates, ``count`` in all; the paper's 20 generations of 50 are 1,000."""
        scores: dict[Genes, float] = {}
        generation = 0
        while count > 0:
            rng = np.random.default_rng((seed, generation))
            size = min(self.population, count)
            children = self._children(draws, scores, rng, size) if scores else []
            children += draws.uniform(rng, size - len(children))
            if not children:
                return
            scores.update(zip(children, (yield children), strict=True))
            generation, count = generation + 1, count - len(children)

    def _children(self, draws: Draws, scores: dict[Genes, float], rng: np.random.Generator, size: int) -> list[Genes]:
        best = np.array(sorted(scores, key=scores.__getitem__, reverse=True)[: self.parents])
        radices = draws.space.radices

        def mutant() -> Genes:
            parent = best[rng.integers(len(best))]
            anew = rng.random(len(parent)) < self.mutation
            return _genes(np.where(anew, rng.integers(radices), parent))

        def crossover() -> Genes:
            first, second = best[rng.integers(len(best), size=2)]
            return _genes(np.where(rng.random(len(first)) < 0.5, first, second))

        mutants = draws.take(mutant, size // 2, self.population * 10)
        return mutants + draws.take(crossover, size // 2, self.population * 10)


ALGORITHMS: dict[str, RandomSearch | EvolutionarySearch] = {
    "random": RandomSearch(),
    "evolution": EvolutionarySearch(),
}


def _genes(row: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Genes:
    return tuple(int(gene) for gene in row)


def best_of(scores: dict[str, float], order: Sequence[str]) -> str:
    """The highest score; of equals the first that was asked for, whatever the order in which they were scored."""
    return max(order, key=lambda text: scores[text])
