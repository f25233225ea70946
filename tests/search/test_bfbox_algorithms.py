from collections.abc import Sequence
from itertools import chain

import pytest

from facesmith.detectors.bfbox.architecture import TOP_DOWN, Architecture, Dense, Depthwise, Plain
from facesmith.detectors.bfbox.config import uniform
from facesmith.detectors.bfbox.space import TINY, Genes, Space
from facesmith.errors import ConfigError
from facesmith.search.bfbox.algorithms import Draws, EvolutionarySearch, RandomSearch, best_of
from facesmith.search.bfbox.costs import detector_cost

FEW = Space((((Plain(3), Dense(2, 8), Depthwise((3,))),) * 2, *(((Plain(3),),),) * 5)).with_pyramid(TOP_DOWN)
"""Nine architectures."""


def anything(_: Genes) -> bool:
    return True


def tried(algorithm: RandomSearch | EvolutionarySearch, draws: Draws, count: int, seed: int = 0) -> list[list[Genes]]:
    """Generations of a search whose score is the sum of the genes."""
    trial = algorithm.trial(draws, count, seed)
    generations, answer = [], None
    while True:
        try:
            found = next(trial) if answer is None else trial.send(answer)
        except StopIteration:
            return generations
        generations.append(found)
        answer = [float(sum(genes)) for genes in found]


def mean(generation: Sequence[Genes]) -> float:
    return sum(map(sum, generation)) / len(generation)


@pytest.mark.parametrize("algorithm", [RandomSearch(), EvolutionarySearch()])
def test_candidates_are_new_and_repeatable(algorithm: RandomSearch | EvolutionarySearch) -> None:
    found = [genes for generation in tried(algorithm, Draws(TINY.space, anything), 160) for genes in generation]
    assert len(found) == len(set(found)) == 160
    again = [genes for generation in tried(algorithm, Draws(TINY.space, anything), 160) for genes in generation]
    assert again == found
    other = tried(algorithm, Draws(TINY.space, anything), 160, seed=1)
    assert set(chain.from_iterable(other)) != set(found)


@pytest.mark.parametrize("algorithm", [RandomSearch(), EvolutionarySearch()])
def test_all_candidates_keep_to_the_budget(algorithm: RandomSearch | EvolutionarySearch) -> None:
    def fits(genes: Genes) -> bool:
        return detector_cost(TINY.config(TINY.space.decode(genes))).macs <= 0.55e9

    draws = Draws(TINY.space, fits)
    generations = tried(algorithm, draws, 110)
    assert sum(map(len, generations)) == 110
    assert all(fits(genes) for generation in generations for genes in generation)
    assert draws.refused > 0


def test_evolution_follows_the_score_and_random_search_does_not() -> None:
    evolved = tried(EvolutionarySearch(), Draws(TINY.space, anything), 400)
    assert [len(generation) for generation in evolved] == [50] * 8
    assert mean(evolved[-1]) > mean(evolved[0]) + 6
    drawn = tried(RandomSearch(50), Draws(TINY.space, anything), 400)
    assert abs(mean(drawn[-1]) - mean(drawn[0])) < 3


@pytest.mark.parametrize("algorithm", [RandomSearch(), EvolutionarySearch()])
def test_a_small_space_is_exhausted(algorithm: RandomSearch | EvolutionarySearch) -> None:
    found = list(chain.from_iterable(tried(algorithm, Draws(FEW, anything), 100)))
    assert len(set(found)) == len(found) == FEW.size == 9


def test_a_budget_that_nothing_keeps_to() -> None:
    with pytest.raises(ConfigError, match="raise it"):
        tried(RandomSearch(), Draws(TINY.space, lambda genes: False), 10)


def test_of_equal_scores_the_first_wins() -> None:
    assert best_of({"c": 1.0, "b": 2.0, "a": 2.0}, ["c", "b", "a"]) == "b"


def test_a_whole_space_can_be_one_backbone() -> None:
    space = TINY.space.with_backbone(Architecture.parse(uniform("k3", (2, 2, 2, 2, 1, 1))))
    found = list(chain.from_iterable(tried(EvolutionarySearch(), Draws(space, anything), 60)))
    assert {space.decode(genes).backbone for genes in found} == {"k3,k3/k3,k3/k3,k3/k3,k3/k3/k3"}
