"""The evolutionary loop of DamoFD (after Zen-NAS): a pool that candidates enter by score and leave by score.

The loop is sequential, one candidate after another, exactly as published. It is fast because evaluating a
candidate is a handful of look-ups (see :mod:`facesmith.search.damofd`), not because candidates are batched.
"""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from facesmith.errors import ConfigError

Candidate = TypeVar("Candidate")

SEED_POOL = 10
"""Up to this many candidates in the pool, the next one is mutated from the initial net."""


class Evaluation(NamedTuple):
    """What a candidate that keeps to the budgets is worth, and what it costs, one figure a budget."""

    score: float
    costs: tuple[float, ...]


class Problem(Protocol[Candidate]):
    """What is searched."""

    @property
    def initial(self) -> Candidate:
        """Where the search begins."""

    def mutate(self, candidate: Candidate, replacements: int, rng: random.Random) -> Candidate:
        """A copy of ``candidate`` with up to ``replacements`` parts changed at random."""

    def evaluate(self, candidate: Candidate, floor: float) -> Evaluation | str:
        """Score and costs, or in a word why the candidate is refused.

        A candidate that scores below ``floor`` would leave the pool at once, so it may be refused unmeasured.
        """

    def text(self, candidate: Candidate) -> str:
        """The candidate as one line."""

    def read(self, text: str) -> Candidate:
        """The candidate that :meth:`text` wrote."""


@dataclass(frozen=True)
class Best(Generic[Candidate]):
    """The best candidate so far; the first of equals.

    Attributes:
        candidate, evaluation: see there.
        iteration: when it was found, counted from 0.
    """

    candidate: Candidate
    evaluation: Evaluation
    iteration: int


class Evolution(Generic[Candidate]):
    """The loop. An iteration is: with more than ten candidates in the pool, mutate two parts of a random
    one, else one part of the initial net; refuse what breaks a budget; score; add to the pool; while the
    pool is over its size, drop the lowest score (the oldest of equals). No crossover.

    Args:
        problem: what is searched.
        population: size of the pool.
        seed: the same seed gives the same search.
    """

    def __init__(self, problem: Problem[Candidate], *, population: int = 512, seed: int = 0) -> None:
        if population <= SEED_POOL:
            raise ConfigError(f"the population must be over {SEED_POOL}, got {population}")
        self.problem = problem
        self.population = population
        self.iteration = 0
        self.best: Best[Candidate] | None = None
        self.refusals: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._pool: list[Candidate] = []  # in order of arrival
        self._arrivals: list[int] = []  # iteration at which each of the pool came, ascending
        self._lowest: list[tuple[float, int]] = []  # heap of (score, arrival)

    def step(self) -> tuple[Candidate, Evaluation] | None:
        """One iteration: the candidate that entered the pool, or None if it was refused."""
        pool, rng, iteration = self._pool, self._rng, self.iteration
        self.iteration = iteration + 1
        if len(pool) > SEED_POOL:
            candidate = self.problem.mutate(pool[int(len(pool) * rng.random())], 2, rng)
        else:
            candidate = self.problem.mutate(self.problem.initial, 1, rng)
        floor = self._lowest[0][0] if len(pool) >= self.population else float("-inf")
        evaluation = self.problem.evaluate(candidate, floor)
        if isinstance(evaluation, str):
            self.refusals[evaluation] += 1
            return None
        pool.append(candidate)
        self._arrivals.append(iteration)
        heappush(self._lowest, (evaluation.score, iteration))
        if len(pool) > self.population:
            index = bisect_left(self._arrivals, heappop(self._lowest)[1])
            del pool[index], self._arrivals[index]
        if self.best is None or evaluation.score > self.best.evaluation.score:
            self.best = Best(candidate, evaluation, iteration)
        return candidate, evaluation

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as JSON-ready values."""
        version, words, gauss = self._rng.getstate()
        scores = {arrival: score for score, arrival in self._lowest}
        best = self.best
        return {
            "iteration": self.iteration,
            "random": [version, list(words), gauss],
            "pool": [
                [arrival, scores[arrival], self.problem.text(candidate)]
                for arrival, candidate in zip(self._arrivals, self._pool, strict=True)
            ],
            "best": best and [best.iteration, best.evaluation.score, *best.evaluation.costs],
            "best_text": best and self.problem.text(best.candidate),
            "refusals": dict(self.refusals),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave. Problem, population and seed must be the same."""
        version, words, gauss = state["random"]
        self._rng.setstate((version, tuple(words), gauss))
        self.iteration = state["iteration"]
        self.refusals = Counter(state["refusals"])
        self._arrivals = [arrival for arrival, _, _ in state["pool"]]
        self._pool = [self.problem.read(text) for _, _, text in state["pool"]]
        self._lowest = [(score, arrival) for arrival, score, _ in state["pool"]]
        heapify(self._lowest)
        self.best = None
        if state["best"]:
            iteration, score, *costs = state["best"]
            candidate = self.problem.read(state["best_text"])
            self.best = Best(candidate, Evaluation(score, tuple(costs)), iteration)
