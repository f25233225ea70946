from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drawn_faces import TINY_BATCH, write_faces
from facesmith.data.sources import Source, find_sources
from facesmith.detectors.bfbox.architecture import Dense, Depthwise, Plain
from facesmith.detectors.bfbox.blocks import Bottleneck
from facesmith.detectors.bfbox.config import BFBoxConfig, uniform
from facesmith.detectors.bfbox.space import Preset, Space, uniform_path
from facesmith.detectors.bfbox.supernet import Supernet, SupernetConfig
from facesmith.training.checkpoint import load_checkpoint
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train
from facesmith.training.optimisers import AdamW
from facesmith.training.schedule import Cosine

CHOICES = (Plain(3), Depthwise((3, 5)), Dense(2, 8))
SMALL = Preset(
    Space(((CHOICES,) * 2, (CHOICES,), *(((Plain(3), Depthwise((3,))),),) * 4)),
    BFBoxConfig(
        uniform("k3", (2, 1, 1, 1, 1, 1)),
        stem=8,
        stem_kernel=3,
        widths=(8, 12, 16, 16, 16, 16),
        squeeze=2,
        channels=8,
        candidates=50,
    ),
)
SHORT = TrainConfig(
    steps=7,
    batch=replace(TINY_BATCH, images=3),
    optimiser=AdamW(rate=1e-3),
    schedule=Cosine(warmup=2),
    save_every=3,
    workers=0,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums in another order would differ in their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return find_sources(write_faces(tmp_path_factory.mktemp("faces"), 3))


def supernet(*, attention: bool = True, seed: int = 0) -> Supernet:
    torch.manual_seed(0)
    preset = replace(SMALL, detector=replace(SMALL.detector, attention=attention))
    return Supernet(SupernetConfig(preset, seed=seed))


def images(count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 64, 64), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("attention", [True, False])
def test_a_network_is_its_path(attention: bool) -> None:
    net = supernet(attention=attention)
    for norm in (module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)  # some start at 0, which hides what is before them
    if net.attention is not None:
        torch.nn.init.normal_(net.attention.tensor, std=0.3)
    with torch.inference_mode():
        for step in range(5):
            genes = uniform_path(net.space, 0, step)
            whole = net.eval().path(images(), genes)
            alone = net.network(genes)(images())
            assert torch.equal(whole.logits, alone.logits)
            assert torch.equal(whole.boxes, alone.boxes)


def test_each_step_takes_the_path_of_its_number() -> None:
    net, other = supernet(seed=4).train(), supernet(seed=4).train()
    for step in range(4):
        assert torch.equal(net(images()).logits, other.path(images(), uniform_path(net.space, 4, step)).logits)
    assert int(net.taken) == 4


def test_a_step_touches_the_weights_of_its_path_only() -> None:
    net = supernet().train()
    maps = net(images())
    (maps.logits.sum() + maps.boxes.sum()).backward()
    genes = uniform_path(net.space, 0, 0)
    for gene, choices in zip(genes, net.positions, strict=False):
        taken = {id(p) for p in list(choices.children())[gene].parameters()}
        assert all((p.grad is not None) == (id(p) in taken) for p in choices.parameters())
    assert net.attention is not None
    gradient = net.attention.tensor.grad
    assert gradient is not None
    trained = gradient.flatten(1).any(dim=1)
    assert int(trained.sum()) == len(net.positions)  # one row a block
    assert int((gradient != 0).any(dim=0).sum()) <= 5  # one entry a merge


def test_bottlenecks_of_a_place_share_the_layer_of_their_shortcut() -> None:
    net = supernet()
    shared = 0
    for choices in net.positions:
        shortcuts = [block.shortcut for block in choices.children() if isinstance(block, Bottleneck)]
        layers = {id(layer) for layer in shortcuts if not isinstance(layer, torch.nn.Identity)}
        assert len(layers) <= 1
        shared += len(layers) and len(shortcuts)
    assert shared > len(net.space.stages)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(sources: list[Source], tmp_path: Path) -> None:
    process = Process.start("cpu")
    train(supernet(), sources, SHORT, tmp_path / "whole", process=process)

    class Killed(Exception):
        pass

    def kill(_: Supernet) -> dict[str, float]:
        raise Killed

    stops = replace(SHORT, evaluate_every=5)  # after the checkpoint of step 3
    with pytest.raises(Killed):
        train(supernet(), sources, stops, tmp_path / "parts", process=process, evaluate=kill)
    assert load_checkpoint(tmp_path / "parts/checkpoint.pt")["step"] == 3
    train(supernet(), sources, SHORT, tmp_path / "parts", process=process)
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    for weights in ("model", "ema"):
        assert whole[weights].keys() == parts[weights].keys()
        for key, value in whole[weights].items():
            assert torch.equal(value, parts[weights][key]), key
    assert int(whole["model"]["taken"]) == SHORT.steps
