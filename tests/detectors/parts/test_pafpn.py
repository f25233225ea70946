import pytest
import torch

from facesmith.detectors.parts.pafpn import PAFPN


@pytest.mark.parametrize("size", [1, 7, 30, 33, 64])
def test_keeps_sizes(size: int) -> None:
    sides = [-(-size // stride) for stride in (1, 2, 4)]
    maps = [torch.rand(1, c, s, s) for c, s in zip((4, 6, 8), sides, strict=True)]
    assert [tuple(out.shape) for out in PAFPN((4, 6, 8), 5)(maps)] == [(1, 5, s, s) for s in sides]


def test_every_level_sees_every_map() -> None:
    maps = [torch.rand(1, c, s, s, requires_grad=True) for c, s in zip((4, 6, 8), (16, 8, 4), strict=True)]
    for out in PAFPN((4, 6, 8), 5)(maps):
        gradients = torch.autograd.grad(out.sum(), maps, retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)
