from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from facesmith.detectors.parts.backbone import Tap
from facesmith.detectors.parts.resnet import ResNet
from facesmith.detectors.parts.resnet_config import RESNET50, RESNET152, ResNetConfig
from facesmith.errors import ConfigError, ModelError

SMALL = ResNetConfig(blocks=(2, 1, 1, 1), width=4)


def network(config: ResNetConfig = SMALL, seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    return ResNet(config)


def imagenet_names(width: int, blocks: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet of bottlenecks, written down without its code or ours."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv1.weight"] = (width, 3, 7, 7)
    norm("bn1", width)
    channels = width
    for stage, count in enumerate(blocks, 1):
        inner = width * 2 ** (stage - 1)
        for block in range(count):
            at = f"layer{stage}.{block}"
            shapes[f"{at}.conv1.weight"] = (inner, channels, 1, 1)
            shapes[f"{at}.conv2.weight"] = (inner, inner, 3, 3)
            shapes[f"{at}.conv3.weight"] = (4 * inner, inner, 1, 1)
            for i, size in enumerate((inner, inner, 4 * inner), 1):
                norm(f"{at}.bn{i}", size)
            if block == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * inner, channels, 1, 1)
                norm(f"{at}.downsample.1", 4 * inner)
            channels = 4 * inner
    shapes["fc.weight"], shapes["fc.bias"] = (1000, channels), (1000,)
    return shapes


def made_up(seed: int = 7) -> dict[str, Tensor]:
    """A state dict of torchvision's kind for :data:`SMALL`."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.tensor(5) if name.endswith("tracked") else torch.rand(shape, generator=generator)
        for name, shape in imagenet_names(SMALL.width, SMALL.blocks).items()
    }


class TestShape:
    @pytest.mark.parametrize(("config", "parameters"), [(RESNET50, 25_557_032), (RESNET152, 60_192_808)])
    def test_published_parameters_and_names(self, config: ResNetConfig, parameters: int) -> None:
        """25.557 and 60.193 million with the classifier's 2,049,000: 23,508,032 and 58,143,808 remain."""
        classifier = 2048 * 1000 + 1000
        with torch.device("meta"):
            backbone = ResNet(config)
        assert sum(p.numel() for p in backbone.parameters()) + classifier == parameters
        assert backbone.taps == (Tap(256, 4), Tap(512, 8), Tap(1024, 16), Tap(2048, 32))
        shapes = {name: tuple(value.shape) for name, value in backbone.state_dict().items()}
        wanted = imagenet_names(config.width, config.blocks)
        assert shapes == {name: shape for name, shape in wanted.items() if not name.startswith("fc.")}

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 47), (64, 96)])
    @pytest.mark.parametrize("first_tap", [2, 3, 5])
    def test_maps_have_the_sizes_that_taps_promise(self, height: int, width: int, first_tap: int) -> None:
        backbone = network(ResNetConfig(blocks=(2, 1, 1, 1), width=4, first_tap=first_tap)).eval()
        maps = backbone(torch.rand(2, 3, height, width))
        assert len(maps) == 6 - first_tap
        assert [tuple(m.shape) for m in maps] == [
            (2, tap.channels, -(-height // tap.stride), -(-width // tap.stride)) for tap in backbone.taps
        ]

    def test_strides_are_in_the_3x3_convolutions(self) -> None:
        strides = {name: m.stride[0] for name, m in network().named_modules() if isinstance(m, nn.Conv2d)}
        halving = {name for name, stride in strides.items() if stride == 2}
        assert halving == {"conv1", *(f"layer{i}.0.{part}" for i in (2, 3, 4) for part in ("conv2", "downsample.0"))}

    def test_a_block_adds_to_its_input(self) -> None:
        backbone, x = network().eval(), torch.rand(1, 16, 5, 5)
        block = backbone.stages[0][1]  # type: ignore[index]
        nn.init.zeros_(block.bn3.weight)
        torch.testing.assert_close(block(x.clone()), x)

    def test_nothing_is_lost_in_training(self) -> None:
        backbone = network()
        sum(m.sum() for m in backbone(torch.rand(2, 3, 64, 64))).backward()
        for name, parameter in backbone.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"blocks": (3, 4, 6)}, "four stages"),
            ({"blocks": (3, 4, 6, 0)}, "at least one block"),
            ({"width": 0}, "a width of at least 1"),
            ({"first_tap": 6}, "first_tap in 2…5"),
            ({"frozen": 6}, "frozen in 0…5"),
        ],
    )
    def test_wrong_settings_are_refused(self, changes: dict[str, object], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            ResNetConfig(**changes)  # type: ignore[arg-type]


class TestPretrained:
    def test_a_state_dict_of_torchvisions_kind_loads(self, tmp_path: Path) -> None:
        state = made_up()
        torch.save(state, tmp_path / "resnet.pth")
        save_file(state, tmp_path / "resnet.safetensors")
        for name in ("resnet.pth", "resnet.safetensors"):
            backbone = network()
            backbone.load_pretrained(tmp_path / name)
            for key, value in backbone.state_dict().items():
                assert torch.equal(value, state[key]), key

    def test_files_from_before_the_batch_counter_load(self, tmp_path: Path) -> None:
        state = {name: value for name, value in made_up().items() if not name.endswith("tracked")}
        save_file(state, tmp_path / "old.safetensors")
        backbone = network()
        backbone.load_pretrained(tmp_path / "old.safetensors")
        assert torch.equal(backbone.bn1.running_var, state["bn1.running_var"])  # type: ignore[arg-type]

    def refused(self, tmp_path: Path, state: object, problem: str, name: str = "bad.pth") -> None:
        torch.save(state, tmp_path / name)
        backbone = network()
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        with pytest.raises(ModelError, match=rf"{name}: {problem}"):
            backbone.load_pretrained(tmp_path / name)
        assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())

    def test_missing_and_unexpected_tensors_are_named(self, tmp_path: Path) -> None:
        state = made_up()
        state["layer3.0.se.fc1.weight"] = state.pop("layer2.0.conv2.weight")
        self.refused(
            tmp_path,
            state,
            r".*of this ResNet: missing layer2\.0\.conv2\.weight; unexpected layer3\.0\.se\.fc1\.weight",
        )

    def test_other_shapes_are_named(self, tmp_path: Path) -> None:
        state = {**made_up(), "conv1.weight": torch.rand(4, 3, 3, 3)}
        self.refused(tmp_path, state, r".*conv1\.weight has shape \(4, 3, 3, 3\) instead of \(4, 3, 7, 7\)$")

    def test_a_long_list_is_cut(self, tmp_path: Path) -> None:
        state = {name: value for name, value in made_up().items() if not name.startswith("layer4")}
        self.refused(tmp_path, state, r".*missing layer4\.0\.conv1\.weight, .* and 16 more$")

    def test_other_contents_are_refused(self, tmp_path: Path) -> None:
        self.refused(
            tmp_path, {"state_dict": made_up(), "epoch": 3}, "holds a dictionary of state_dict, epoch; expected"
        )
        self.refused(tmp_path, [1, 2], "holds list; expected a state dict")
        self.refused(tmp_path, nn.ReLU(), "is not a readable state dict")  # a pickled object is not unpickled

    @pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "text.safetensors"])
    def test_unreadable_files(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "text.safetensors").write_text("no tensors")
        with pytest.raises(ModelError, match=f"{name}: is not a readable state dict"):
            network().load_pretrained(tmp_path / name)


class TestFrozen:
    @pytest.mark.parametrize(
        ("frozen", "fixed"),
        [(0, ()), (1, ("conv1", "bn1")), (2, ("conv1", "bn1", "layer1")), (5, ("conv1", "bn1", "la"))],
    )
    def test_pretrained_weights_fix_the_first_stages(self, tmp_path: Path, frozen: int, fixed: tuple[str, ...]) -> None:
        save_file(made_up(), tmp_path / "resnet.safetensors")
        backbone = network(ResNetConfig(blocks=(2, 1, 1, 1), width=4, frozen=frozen))
        assert all(p.requires_grad for p in backbone.parameters()), "nothing is fixed before it is pretrained"
        backbone.load_pretrained(tmp_path / "resnet.safetensors")
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        backbone.train()
        learning = {name for name, p in backbone.named_parameters() if p.requires_grad}
        assert learning == {name for name, _ in backbone.named_parameters() if not name.startswith(fixed or "none")}
        backbone(torch.rand(2, 3, 64, 64))
        after = backbone.state_dict()
        same = {name for name in before if torch.equal(before[name], after[name]) and "running_mean" in name}
        assert same == {name for name in before if name.startswith(fixed or "none") and "running_mean" in name}
