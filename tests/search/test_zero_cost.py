import copy
import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn

from facesmith.detectors.damofd.config import RELEASED, Backbone
from facesmith.errors import ConfigError
from facesmith.search.zero_cost import BackboneScore, ZeroCost, naswot, synflow, zen_score

SHAPE = (3, 16, 16)


def _chain(*widths: int, norm: bool = True, bias: bool = False, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers.append(nn.Conv2d(before, after, 3, padding=1, bias=bias))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


SCORES: list[ZeroCost] = [synflow, naswot, zen_score]


@pytest.mark.parametrize("score", SCORES)
def test_same_seed_same_score_and_the_module_stays_as_it_was(score: ZeroCost) -> None:
    model = _chain(3, 8, 8)
    before = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    first = score(model, SHAPE, seed=3)
    assert math.isfinite(first)
    assert score(model, SHAPE, seed=3) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    if score is not synflow:
        assert score(model, SHAPE, seed=4) != first


def test_synflow_by_hand() -> None:
    """|2| · |3| · 4 ones in, two layers that each carry the whole flow."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(-2)  # type: ignore[union-attr, operator]
        model[2].weight.fill_(3)  # type: ignore[union-attr, operator]
    assert synflow(model, (1, 2, 2)) == pytest.approx(2 * (2 * 3 * 4))


@pytest.mark.parametrize("norm", [False, True])
def test_synflow_is_conserved_from_layer_to_layer(norm: bool) -> None:
    """Tanaka et al., Theorem 2: each layer carries the output sum, so n layers score n times as much."""
    model = _chain(3, 8, 16, 4, norm=norm, bias=True)
    magnitudes = _chain(3, 8, 16, 4, norm=False).double()
    convs = [m for m in model if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        for target, source in zip((m for m in magnitudes if isinstance(m, nn.Conv2d)), convs, strict=True):
            target.weight.copy_(source.weight.abs().double())
        flow = magnitudes(torch.ones(1, *SHAPE, dtype=torch.float64)).sum().item()
    assert synflow(model, SHAPE) == pytest.approx(3 * flow, rel=1e-9)


def test_synflow_ignores_signs_and_scales_with_each_layer() -> None:
    model = _chain(3, 8, 8, norm=False)
    flipped, doubled = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        flipped[0].weight.neg_()  # type: ignore[union-attr, operator]
        for layer in (doubled[0], doubled[2]):
            layer.weight.mul_(2)  # type: ignore[union-attr, operator]
    assert synflow(flipped, SHAPE) == synflow(model, SHAPE)
    assert synflow(doubled, SHAPE) == pytest.approx(4 * synflow(model, SHAPE))


def test_synflow_needs_a_path() -> None:
    with pytest.raises(ConfigError, match="has none"):
        synflow(nn.ReLU(), SHAPE)


def test_naswot_of_inputs_that_share_nothing() -> None:
    """One linear unit for each sign pattern: K is worked out from the very codes that the network gives."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 40), nn.ReLU())
    inputs = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        codes = model(inputs) > 0
    same = torch.tensor([[float((a == b).sum()) for b in codes] for a in codes], dtype=torch.float64)
    expected = float(torch.linalg.slogdet(same).logabsdet)
    assert naswot(model, (3, 2, 2), seed=7, batch=6) == pytest.approx(expected)


def test_naswot_known_kernels() -> None:
    """ReLUs that always fire tell nothing apart; ones that answer x > 0 tell by sign."""

    class Always(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.relu(x.abs() + 1)
            return out

    assert naswot(Always(), (1, 2, 2), batch=4) == -math.inf
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0
    same = [[float((a == b).sum()) for b in x] for a in x]
    determinant = float(torch.linalg.det(torch.tensor(same, dtype=torch.float64)))
    assert naswot(nn.ReLU(), (1, 8, 8), seed=0, batch=3) == pytest.approx(math.log(determinant))


def test_naswot_prefers_more_units() -> None:
    scores = [naswot(_chain(3, width, width), SHAPE) for width in (2, 8, 32)]
    assert scores == sorted(scores)
    with pytest.raises(ConfigError, match="no"):
        naswot(nn.Conv2d(3, 3, 1), SHAPE)


@pytest.mark.parametrize("norm", [False, True])
def test_zen_score_rises_by_the_logarithm_of_the_weights_scale_a_layer(norm: bool) -> None:
    """Normalisation cannot hide the scale: three convolutions, weights four times as large."""
    model = _chain(3, 8, 8, 8, norm=norm)
    rise = zen_score(model, SHAPE, std=4) - zen_score(model, SHAPE, std=1)
    assert rise == pytest.approx(3 * math.log(4), abs=1e-6)


def test_zen_score_with_and_without_normalisation_is_about_the_same() -> None:
    plain, normed = (zen_score(_chain(3, 32, 32, norm=norm), SHAPE, repeats=8) for norm in (False, True))
    assert normed == pytest.approx(plain, abs=0.5)
    assert plain > 3


def test_zen_score_does_not_depend_on_given_weights_and_prefers_depth_and_width() -> None:
    assert zen_score(_chain(3, 8, 8, seed=1), SHAPE) == zen_score(_chain(3, 8, 8, seed=2), SHAPE)
    shallow, deep, wide = (zen_score(_chain(3, *w), SHAPE) for w in ((8,), (8, 8, 8), (32, 32, 32)))
    assert shallow < deep < wide


def test_zen_score_of_a_linear_map_is_linear_in_the_perturbation() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    rise = zen_score(model, SHAPE, perturbation=0.1) - zen_score(model, SHAPE, perturbation=0.01)
    assert rise == pytest.approx(math.log(10), abs=1e-9)


@pytest.mark.parametrize("score", SCORES)
def test_as_scores_of_backbones(score: ZeroCost) -> None:
    """The builder's own weights follow the seed too; the last of several outputs counts."""

    class Taps(nn.Module):
        def __init__(self, backbone: Backbone) -> None:
            super().__init__()
            widths = [3, *(stage.out_channels for stage in backbone.stages[:2])]
            self.layers = _chain(*widths, seed=torch.randint(1000, ()).item())  # type: ignore[arg-type]

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x, self.layers(x)]

    scorer = BackboneScore(score, Taps, SHAPE, seed=5)
    state = torch.random.get_rng_state()
    first = scorer(RELEASED["0.5G"].net)
    assert math.isfinite(first)
    assert scorer(RELEASED["0.5G"].net) == first
    assert torch.equal(torch.random.get_rng_state(), state)


def test_other_outputs_are_refused() -> None:
    class Named(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"x": x}

    with pytest.raises(ConfigError, match="not dict"):
        synflow(Named(3, 3, 1), SHAPE)


def test_importing_the_search_does_not_import_torch() -> None:
    modules = "zero_cost, results, plan, latency, graphs, record, pareto, damofd, ddsar, budgets, evolution"
    code = f"import sys; from facesmith.search import {modules}; import facesmith.cli.search; "
    code += "sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
