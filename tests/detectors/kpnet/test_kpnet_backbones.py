import pytest
import torch
from torch import nn

from facesmith.detectors.kpnet.backbones import DRNet, Hourglass, PreactivatedBlock
from facesmith.detectors.kpnet.config import DRNetConfig, HourglassConfig, KPNetConfig
from facesmith.detectors.kpnet.model import KPNet


@pytest.mark.parametrize(
    ("backbone", "points", "parameters"),
    [
        (DRNetConfig(), 5, 1_008_513),
        (DRNetConfig(), 19, 1_024_655),
        (HourglassConfig(), 5, 1_038_145),
        (HourglassConfig(), 19, 1_046_223),
    ],
)
def test_parameters(backbone: DRNetConfig | HourglassConfig, points: int, parameters: int) -> None:
    """DRNet's counts are exact (facts/kpnet); the hourglass's are given as 1.038 and 1.046 million."""
    model = KPNet(KPNetConfig(backbone=backbone, points=points))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_drnet_has_eleven_convolutions_on_its_way() -> None:
    convolutions = [m for m in DRNet(DRNetConfig()).modules() if isinstance(m, nn.Conv2d)]
    assert sum(m.kernel_size == (3, 3) for m in convolutions) == 11
    assert sum(m.kernel_size == (1, 1) for m in convolutions) == 1, "the one shortcut that changes shape"


def test_the_hourglass_has_thirteen_blocks() -> None:
    blocks = [m for m in Hourglass(HourglassConfig()).modules() if isinstance(m, PreactivatedBlock)]
    assert len(blocks) == 13


@pytest.mark.parametrize("net", [DRNet(DRNetConfig(8, 16)), Hourglass(HourglassConfig(8, 4))])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 47), (61, 64), (7, 130)])
def test_features_are_at_stride_2_for_any_size(net: DRNet | Hourglass, size: tuple[int, int]) -> None:
    net.eval()
    features = net(torch.zeros(2, 3, *size))
    assert features.shape == (2, net.channels, -(-size[0] // 2), -(-size[1] // 2))
    assert features.isfinite().all()


@pytest.mark.parametrize("net", [DRNet(DRNetConfig(8, 16)), Hourglass(HourglassConfig(8, 4))])
def test_details_and_surroundings_both_reach_a_cell(net: DRNet | Hourglass) -> None:
    torch.manual_seed(0)
    net.eval()
    image = torch.rand(1, 3, 96, 96, requires_grad=True)
    net(image)[0, :, 24, 24].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum(dim=(0, 1)) > 0
    rows = seen.any(dim=1).nonzero().flatten()
    assert rows[0] <= 20
    assert rows[-1] >= 76
    assert seen[48, 48]
