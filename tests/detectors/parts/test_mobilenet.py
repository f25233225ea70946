from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from facesmith.detectors.parts.backbone import Tap
from facesmith.detectors.parts.mobilenet import MobileNet
from facesmith.detectors.parts.mobilenet_config import PAPER_MOBILENET, MobileNetConfig
from facesmith.errors import ConfigError, ModelError


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


class TestThePapersVariant:
    def test_a_7x7_stem_of_stride_4_and_taps_at_8_16_32(self) -> None:
        backbone = MobileNet(PAPER_MOBILENET)
        stem = backbone.stem.convolution
        assert (stem.kernel_size, stem.stride, stem.out_channels) == ((7, 7), (4, 4), 8)
        assert backbone.taps == (Tap(64, 8), Tap(128, 16), Tap(256, 32))
        # as many as the common port's, but for the stem's 49 instead of 9 weights a filter
        assert sum(p.numel() for p in backbone.parameters()) == 213_072 + 8 * 3 * (49 - 9)

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 47)])
    def test_maps_have_the_sizes_that_taps_promise(self, height: int, width: int) -> None:
        backbone = MobileNet(PAPER_MOBILENET).eval()
        shapes = [tuple(m.shape) for m in backbone(torch.rand(1, 3, height, width))]
        assert shapes == [(1, tap.channels, -(-height // tap.stride), -(-width // tap.stride)) for tap in backbone.taps]

    def test_the_first_two_layers_are_fixed_once_they_are_pretrained(self, tmp_path: Path) -> None:
        path = tmp_path / "imagenet.safetensors"
        torch.manual_seed(0)
        state = {**MobileNet(PAPER_MOBILENET).state_dict(), "classifier.weight": torch.rand(1000, 256)}
        save_file(state, path)
        backbone = MobileNet(PAPER_MOBILENET)
        assert all(p.requires_grad for p in backbone.parameters())
        backbone.load_pretrained(path)
        backbone.train()
        backbone(torch.rand(2, 3, 64, 64))
        fixed = {name for name, p in backbone.named_parameters() if not p.requires_grad}
        assert fixed == {name for name, _ in backbone.named_parameters() if name.startswith(("stem.", "stages.0.0."))}
        for name, value in backbone.state_dict().items():
            if name.endswith("running_mean"):
                assert torch.equal(value, state[name]) == name.startswith(("stem.", "stages.0.0.")), name

    def test_weights_of_another_stem_are_refused(self, tmp_path: Path) -> None:
        save_file(MobileNet(MobileNetConfig()).state_dict(), tmp_path / "other.safetensors")
        with pytest.raises(ModelError, match=r"stem\.convolution\.weight has shape \(8, 3, 3, 3\) instead of"):
            MobileNet(PAPER_MOBILENET).load_pretrained(tmp_path / "other.safetensors")


@pytest.mark.parametrize("changes", [{"stem_kernel": 4}, {"stem_kernel": -1}, {"stem_stride": 0}, {"frozen": -1}])
def test_wrong_settings_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="an odd stem_kernel"):
        MobileNetConfig(**changes)  # type: ignore[arg-type]
