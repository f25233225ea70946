import pytest
import torch
from torch import nn

from facesmith.detectors.parts.context import SSHContext


@pytest.mark.parametrize("channels", [8, 16, 30])
def test_shape(channels: int) -> None:
    assert SSHContext(12, channels).eval()(torch.rand(2, 12, 5, 9)).shape == (2, channels, 5, 9)


def test_output_is_rectified() -> None:
    torch.manual_seed(0)
    out = SSHContext(8, 16).eval()(torch.randn(1, 8, 6, 6))
    assert (out >= 0).all()
    assert (out == 0).any()


def test_receptive_fields_are_3_5_and_7() -> None:
    context = SSHContext(1, 16).eval()
    for module in context.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)  # positive weights: nothing cancels
    point = torch.zeros(1, 1, 15, 15)
    point[0, 0, 7, 7] = 1
    reached = (context(point)[0] > 0).any(dim=1).sum(dim=1)  # columns that each channel reaches
    assert reached.tolist() == [3] * 8 + [5] * 4 + [7] * 4
