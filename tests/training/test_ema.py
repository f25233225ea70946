import pytest
import torch
from torch import nn

from facesmith.training.ema import EMA


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_it_starts_as_a_copy_in_evaluation_mode() -> None:
    original = model()
    average = EMA(original, 0.9).model
    assert not average.training
    assert not any(p.requires_grad for p in average.parameters())
    for a, b in zip(average.state_dict().values(), original.state_dict().values(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()


def test_it_follows_by_the_decay() -> None:
    original = model()
    ema = EMA(original, 0.9)
    expected = original[0].weight.detach().clone()
    for step in range(200, 205):
        with torch.no_grad():
            original[0].weight += 1
        ema.update(original, step)
        expected = 0.9 * expected + 0.1 * original[0].weight.detach()
        assert torch.allclose(ema.model[0].weight, expected, atol=1e-6)
    assert not any(p.requires_grad for p in ema.model.parameters())


@pytest.mark.parametrize(("step", "weight"), [(0, 0.9), (8, 0.5), (10**6, 0.1)])
def test_early_steps_forget_faster(step: int, weight: float) -> None:
    original = model()
    ema = EMA(original, 0.9)
    before = ema.model[0].bias.clone()
    with torch.no_grad():
        original[0].bias += 1
    ema.update(original, step)
    assert torch.allclose(ema.model[0].bias, before + weight, atol=1e-6)


def test_statistics_are_averaged_and_counters_copied() -> None:
    original = model()
    ema = EMA(original, 0.9)
    for _ in range(3):
        original(torch.randn(4, 3))
    ema.update(original, 10**6)
    assert int(ema.model[1].num_batches_tracked) == 3
    assert torch.allclose(ema.model[1].running_mean, 0.1 * original[1].running_mean, atol=1e-6)


def test_weights_that_modules_share_move_once() -> None:
    layer = nn.Linear(3, 2)
    ema = EMA(nn.ModuleList([layer, layer]), 0.9)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1
    ema.update(nn.ModuleList([layer, layer]), 10**6)
    for average in ema.model:
        assert torch.allclose(average.weight, before + 0.1, atol=1e-6)
