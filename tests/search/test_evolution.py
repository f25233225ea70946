import json
import random

import pytest

from facesmith.errors import ConfigError
from facesmith.search.evolution import SEED_POOL, Evaluation, Evolution


class Numbers:
    """A toy problem: integers that mutations move; odd ones are refused, the score is a wave."""

    initial = 0

    def __init__(self) -> None:
        self.parents: list[tuple[int, int]] = []

    def mutate(self, candidate: int, replacements: int, rng: random.Random) -> int:
        self.parents.append((candidate, replacements))
        return candidate + sum(rng.choice((-2, -1, 1, 2)) for _ in range(replacements))

    def evaluate(self, candidate: int, floor: float) -> Evaluation | str:
        return "odd" if candidate % 2 else Evaluation(candidate % 10, (abs(candidate),))

    def text(self, candidate: int) -> str:
        return str(candidate)

    def read(self, text: str) -> int:
        return int(text)


def test_seeding_then_two_replacements_from_the_pool() -> None:
    problem = Numbers()
    evolution = Evolution(problem, population=20)
    accepted = 0
    while evolution.iteration < 200:
        before = accepted
        accepted += evolution.step() is not None
        parent, replacements = problem.parents[-1]
        if before <= SEED_POOL:
            assert (parent, replacements) == (0, 1)
        else:
            assert replacements == 2
    assert any(parent != 0 for parent, _ in problem.parents)
    assert evolution.refusals["odd"] == 200 - accepted


def test_the_lowest_leaves_and_among_equals_the_oldest() -> None:
    evolution = Evolution(Numbers(), population=12)
    entered: list[tuple[int, int, float]] = []
    while evolution.iteration < 500:
        iteration = evolution.iteration
        found = evolution.step()
        if found is None:
            continue
        entered.append((iteration, found[0], found[1].score))
        if len(entered) > 12:
            worst = min(entered, key=lambda row: (row[2], row[0]))
            entered.remove(worst)
        pool = [(arrival, int(text), score) for arrival, score, text in evolution.state()["pool"]]
        assert pool == entered


def test_best_is_the_first_of_equals() -> None:
    evolution = Evolution(Numbers(), population=12)
    best: tuple[int, float] | None = None
    for iteration in range(300):
        found = evolution.step()
        if found and (best is None or found[1].score > best[1]):
            best = iteration, found[1].score
        if best:
            assert evolution.best is not None
            assert (evolution.best.iteration, evolution.best.evaluation.score) == best


def test_same_seed_same_search_other_seed_another() -> None:
    def course(seed: int) -> list[object]:
        evolution = Evolution(Numbers(), population=12, seed=seed)
        return [evolution.step() for _ in range(200)]

    assert course(1) == course(1)
    assert course(1) != course(2)


def test_state_goes_through_json_at_any_moment() -> None:
    whole = Evolution(Numbers(), population=12)
    steps = [whole.step() for _ in range(400)]
    for moment in (0, 3, 40, 399):
        first = Evolution(Numbers(), population=12)
        for _ in range(moment):
            first.step()
        second = Evolution(Numbers(), population=12, seed=99)
        second.restore(json.loads(json.dumps(first.state())))
        assert [second.step() for _ in range(400 - moment)] == steps[moment:]
        assert second.best == whole.best
        assert second.refusals == whole.refusals
        assert second.state() == whole.state()


def test_population_must_hold_the_seeds() -> None:
    with pytest.raises(ConfigError, match="over 10"):
        Evolution(Numbers(), population=10)
