import pytest
import torch
from torch import nn

from facesmith.detectors.parts.context import SSHContext
from facesmith.detectors.parts.deformable import DeformableUnit


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


def test_all_five_layers_are_made_of_the_unit_that_is_passed_in() -> None:
    torch.manual_seed(0)
    context = SSHContext(8, 16, unit=DeformableUnit).eval()
    assert sum(isinstance(m, DeformableUnit) for m in context.modules()) == 5
    plain = SSHContext(8, 16).eval()
    for name, value in context.state_dict().items():
        if name.endswith("convolution.weight"):
            plain.get_submodule(name.removesuffix(".weight")).weight.data.copy_(value)  # type: ignore[union-attr,operator]
    x = torch.randn(1, 8, 7, 5)
    torch.testing.assert_close(context(x), plain(x), rtol=1e-4, atol=1e-5)  # offsets start at zero
