"""The mesh branch in the training loop: alone and together with its detector, to the bit where a run is stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import SHORT, assert_same_state, fit, rows

from drawn_faces import TINY, write_faces
from facesmith.data.sources import Source, find_sources
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig, MeshConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD

BRANCH = MeshBranchConfig(
    decoder=MeshConfig(latent=4, filters=(4,), order=2, coarsest=12), alone=True, faces=2, smallest=8, crop=12
)
CONFIG = replace(TINY, mesh=BRANCH)
JOINT = replace(TINY, mesh=replace(BRANCH, alone=False, landmark=0.0))
STEPS: TrainConfig = replace(SHORT, steps=6, save_every=3)


def network(seed: int = 0, config: RetinaFaceConfig = CONFIG) -> RetinaFace:
    torch.manual_seed(seed)
    model = RetinaFace(config)
    assert model.mesh is not None
    model.mesh.dense.decoder.last.weight.data.mul_(0.02)
    return model


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return find_sources(write_faces(tmp_path_factory.mktemp("faces"), 3))


class Stopped(Exception):
    pass


def stop(model: RetinaFace) -> dict[str, float]:
    raise Stopped


def test_a_stopped_run_ends_as_if_it_had_not_and_only_the_head_moves(sources: list[Source], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averaged = fit(model, sources, whole, STEPS)
    with pytest.raises(Stopped):
        fit(network(), sources, parts, replace(STEPS, evaluate_every=5), evaluate=stop)
    fit(network(seed=9), sources, parts, STEPS)
    assert_same_state(whole, parts)
    for trained in (model, averaged):
        changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"mesh.head.weight", "mesh.head.bias"}
    assert {"mesh", "mesh_landmark", "mesh_prior"} < rows(whole)[-1].keys()
    assert "class" not in rows(whole)[-1]


def test_together_a_stopped_run_ends_as_if_it_had_not(sources: list[Source], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = network(config=JOINT)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit(model, sources, whole, STEPS)
    with pytest.raises(Stopped):
        fit(network(config=JOINT), sources, parts, replace(STEPS, evaluate_every=5), evaluate=stop)
    fit(network(seed=9, config=JOINT), sources, parts, STEPS)
    assert_same_state(whole, parts)
    kept = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith("mesh.dense.decoder.")}
    assert {"class", "box", "landmark", "mesh"} < rows(whole)[-1].keys()


def test_together_pixels_change_the_backbone(sources: list[Source], tmp_path: Path) -> None:
    """Two runs that differ in the weight of Eq. 3 only: what differs in their backbones came through the loss."""

    def backbone(pixel: float) -> dict[str, torch.Tensor]:
        assert JOINT.mesh is not None
        config = replace(JOINT, mesh=replace(JOINT.mesh, pixel=pixel, prior=0.0))
        model = network(config=config)
        fit(model, sources, tmp_path / str(pixel), replace(STEPS, clip=1e9, optimiser=SGD(rate=1e-3)))
        return {name: weight for name, weight in model.backbone.named_parameters() if weight.ndim == 4}

    without, with_pixels = backbone(0.0), backbone(100.0)
    assert not [name for name, weight in without.items() if torch.equal(weight, with_pixels[name])]
