import pytest
import torch

from facesmith.detectors.parts.mobilenet import MobileNet, Tap
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig


def test_width_025_is_the_common_ports() -> None:
    backbone = MobileNet(MobileNetConfig())
    assert backbone.taps == (Tap(64, 8), Tap(128, 16), Tap(256, 32))
    # Howard et al., Table 6: 0.5 million, of which 257,000 are the classifier's
    assert sum(p.numel() for p in backbone.parameters()) == 213_072


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 47), (64, 96)])
def test_maps_have_the_sizes_that_taps_promise(height: int, width: int) -> None:
    backbone = MobileNet(MobileNetConfig()).eval()
    maps = backbone(torch.rand(2, 3, height, width))
    assert [tuple(m.shape) for m in maps] == [
        (2, tap.channels, -(-height // tap.stride), -(-width // tap.stride)) for tap in backbone.taps
    ]


def test_five_taps_from_stride_4_to_64() -> None:
    stages = tuple(((8 * 2**i, 2),) for i in range(5))
    assert [tap.stride for tap in MobileNet(MobileNetConfig(stem=8, stages=stages)).taps] == [4, 8, 16, 32, 64]


def test_nothing_is_lost_in_training() -> None:
    backbone = MobileNet(MobileNetConfig())
    sum(m.sum() for m in backbone(torch.rand(2, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in backbone.parameters())
