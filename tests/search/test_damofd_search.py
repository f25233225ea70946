import random
from dataclasses import dataclass, field

import damofd_reference as reference
import pytest

from facesmith.detectors.damofd.config import RELEASED, Backbone, Stage
from facesmith.detectors.damofd.space import REGIMES, SPLIT_LAYERS
from facesmith.errors import ConfigError
from facesmith.search.budgets import BackboneMacs, DetectorMacs, DetectorParameters, total
from facesmith.search.damofd import BackboneSearch, Budget
from facesmith.search.ddsar import DDSAR
from facesmith.search.evolution import Evaluation, Evolution

MACS = "MACs"


def _published(name: str, alpha: float | None = None) -> BackboneSearch:
    regime = REGIMES[name].unconstrained()
    budget = Budget(MACS, BackboneMacs(), regime.backbone_macs)
    return BackboneSearch(regime.space, DDSAR(alpha or regime.alpha), [budget], foothold=0)


@pytest.mark.parametrize(
    ("name", "options", "max_layers"), [("0.5G", reference.MOBILE, 14), ("2.5G", reference.RESIDUAL, 20)]
)
def test_the_same_pool_as_the_plain_loop(name: str, options: reference.Options, max_layers: int) -> None:
    """1,500 iterations, a pool of 40 that turns over: the very same nets and scores, in the same order."""
    regime = REGIMES[name]
    evolution = Evolution(_published(name), population=40, seed=3)
    for _ in range(1500):
        evolution.step()
    nets, scores = reference.search(
        str(regime.space.initial),
        options,
        budget=regime.backbone_macs,
        max_layers=max_layers,
        alpha=regime.alpha,
        iterations=1500,
        population=40,
        seed=3,
    )
    pool = evolution.state()["pool"]
    assert len(pool) == 40
    assert [text for _, _, text in pool] == nets
    assert [score for _, score, _ in pool] == scores


def test_published_search_beats_the_released_net() -> None:
    """96,000 iterations, pool of 512, the backbone within 65M MACs counted correctly (released: 65.4M)."""
    problem = _published("0.5G")
    evolution = Evolution(problem, population=512, seed=0)
    for _ in range(96_000):
        evolution.step()
    assert evolution.best is not None
    assert evolution.best.evaluation.score > 19 > DDSAR()(RELEASED["0.5G"].net)
    assert evolution.best.evaluation.costs[0] <= 65e6
    text = problem.text(evolution.best.candidate)
    assert reference.macs(text) == evolution.best.evaluation.costs[0]
    assert reference.score(text, 0.25) == pytest.approx(evolution.best.evaluation.score, abs=1e-9)


@pytest.mark.parametrize("name", REGIMES)
def test_nothing_enters_that_breaks_a_rule(name: str) -> None:
    regime = REGIMES[name]
    parameters = DetectorParameters(regime.detector)
    limits = [regime.backbone_macs, 1.25 * parameters(regime.detector.net)]
    budgets = [Budget(MACS, BackboneMacs(), limits[0]), Budget("parameters", parameters, limits[1])]
    problem = BackboneSearch(regime.space, DDSAR(regime.alpha), budgets)
    evolution = Evolution(problem, population=64)
    entered = [found for _ in range(4000) if (found := evolution.step())]
    assert len(entered) > 50
    for genome, evaluation in entered[:: max(1, len(entered) // 200)]:
        net = problem.space.decode(genome)
        text = str(net)
        assert evaluation.costs == (reference.macs(text), parameters(net))
        assert all(cost <= limit for cost, limit in zip(evaluation.costs, limits, strict=True))
        assert evaluation.score == pytest.approx(reference.score(text, regime.alpha), abs=1e-9)
        assert net.layers <= regime.space.max_layers
        assert all(stage.layers < SPLIT_LAYERS for stage in net.stages)
        widths = [stage.out_channels for stage in net.stages]
        assert widths == sorted(widths)
        assert all(s.out_channels <= (regime.space.squeeze or 0) * s.bottleneck for s in net.stages[1:])
    assert sum(evolution.refusals.values()) + len(entered) == 4000


def test_a_tighter_budget_never_scores_higher_from_the_same_net() -> None:
    problem = _published("0.5G")
    genome = problem.initial
    rng = random.Random(0)
    for _ in range(300):
        child = problem.mutate(genome, 2, rng)
        found = problem.evaluate(child, float("-inf"))
        macs = BackboneMacs()(problem.space.decode(child))
        if isinstance(found, Evaluation):
            assert macs <= 65e6
        elif found == MACS:
            assert macs > 65e6


def test_any_callable_is_a_score() -> None:
    regime = REGIMES["0.5G"]
    budgets = [Budget(MACS, BackboneMacs(), regime.backbone_macs)]

    def layers(backbone: Backbone) -> float:
        return backbone.layers

    evolution = Evolution(BackboneSearch(regime.space, layers, budgets), population=32)
    for _ in range(1500):
        evolution.step()
    assert evolution.best is not None
    best = regime.space.decode(evolution.best.candidate)
    assert evolution.best.evaluation.score == best.layers >= 8


def test_baseline_scores_are_maximised_too() -> None:
    regime = REGIMES["0.5G"]
    macs = DetectorMacs(regime.detector)
    budgets = [Budget("parameters", DetectorParameters(regime.detector), 300_000)]
    evolution = Evolution(BackboneSearch(regime.space, macs, budgets), population=32)
    scores = [found[1].score for _ in range(1500) if (found := evolution.step())]
    assert evolution.best is not None
    assert evolution.best.evaluation.score == max(scores) > 1.5 * macs(regime.space.initial)


@dataclass
class Slow:
    """Stands for a measured latency: a millisecond a layer, and a note of what was asked."""

    constant: float = 2.0
    asked: list[tuple[int, Stage]] = field(default_factory=list)

    def stage(self, index: int, stage: Stage) -> float:
        self.asked.append((index, stage))
        return stage.layers

    def __call__(self, backbone: Backbone) -> float:
        return total(self, backbone)


def test_measured_budgets_come_last_and_only_for_who_would_stay() -> None:
    regime, slow = REGIMES["0.5G"], Slow()
    budgets = [
        Budget("ms", slow, 9.5, measured=True),
        Budget(MACS, BackboneMacs(), regime.backbone_macs),
    ]
    problem = BackboneSearch(regime.space, DDSAR(), budgets)
    assert [budget.name for budget in problem.budgets] == [MACS, "ms"]
    genome = problem.initial
    net = problem.space.decode(genome)
    slow.asked.clear()
    evaluation = problem.evaluate(genome, float("-inf"))
    assert isinstance(evaluation, Evaluation)
    assert evaluation.costs == (BackboneMacs()(net), 7)
    assert [index for index, _ in slow.asked] == [0, 1, 2, 3, 4]
    slow.asked.clear()
    assert problem.evaluate(genome, evaluation.score + 1) == "outscored"
    heavy = (*genome[:3], (11, 128, 512, 5))
    assert problem.evaluate(heavy, 0) in (MACS, "squeeze")  # type: ignore[arg-type]
    assert slow.asked == []
    (op, out, mid, _), *others = genome
    deep = ((op, out, mid, 5), *others)
    assert problem.evaluate(deep, 0) == MACS or slow.asked  # type: ignore[arg-type]


def test_measuring_stops_where_the_limit_breaks() -> None:
    regime, slow = REGIMES["34G"], Slow()
    problem = BackboneSearch(regime.space, DDSAR(0.005), [Budget("ms", slow, 9.5, measured=True)])
    slow.asked.clear()
    operation = 0
    genome = ((operation, 56, 8, 5), (operation, 56, 8, 5), (operation, 56, 8, 1), (operation, 56, 8, 1))
    assert problem.evaluate(genome, float("-inf")) == "ms"  # 2 + 2 + 5 + 5 > 9.5 with the third stage
    assert [index for index, _ in slow.asked] == [0, 1, 2]


def test_the_lazy_order_does_not_change_the_search() -> None:
    """A measured budget that computes the same as a computed one leads to the same pool."""
    regime = REGIMES["0.5G"]
    pools = []
    for measured in (False, True):
        budget = Budget("x", BackboneMacs(), regime.backbone_macs, measured=measured)
        evolution = Evolution(BackboneSearch(regime.space, DDSAR(), [budget]), population=30, seed=4)
        for _ in range(3000):
            evolution.step()
        pools.append([text for _, _, text in evolution.state()["pool"]])
        assert ("outscored" in evolution.refusals) == measured
    assert pools[0] == pools[1]


def test_small_budgets_begin_at_smaller_nets() -> None:
    regime = REGIMES["0.5G"]
    figure = DetectorParameters(regime.detector)
    problem = BackboneSearch(regime.space, DDSAR(), [Budget("parameters", figure, 100_000)])
    assert figure(problem.space.initial) < figure(regime.space.initial)
    assert problem.space.initial.stages[0] == regime.space.initial.stages[0]
    tiny = BackboneSearch(regime.space, DDSAR(), [Budget("parameters", figure, 50_000)])
    assert tiny.space.initial.stages[0].out_channels < 32
    plenty = BackboneSearch(regime.space, DDSAR(), [Budget("parameters", figure, 1e6)])
    assert plenty.space == regime.space


def test_budgets_that_nothing_can_keep() -> None:
    regime = REGIMES["0.5G"]
    figure = DetectorParameters(regime.detector)
    with pytest.raises(ConfigError, match="needs a budget"):
        BackboneSearch(regime.space, DDSAR(), [])
    with pytest.raises(ConfigError, match="leaves nothing for the backbone"):
        Budget("parameters", figure, 30_000)
    with pytest.raises(ConfigError, match="no net of this space keeps to MACs 1,000,000"):
        BackboneSearch(regime.space, DDSAR(), [Budget(MACS, BackboneMacs(), 1e6)])
