"""The mesh branch in the training loop: alone, and to the bit where a run is stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import SHORT, assert_same_state, fit, rows

from drawn_faces import TINY, write_faces
from facesmith.data.sources import Source, find_sources
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig, MeshConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.training.loop import TrainConfig

BRANCH = MeshBranchConfig(
    decoder=MeshConfig(latent=4, filters=(4,), order=2, coarsest=12), alone=True, faces=2, smallest=8, crop=12
)
CONFIG = replace(TINY, mesh=BRANCH)
STEPS: TrainConfig = replace(SHORT, steps=6, save_every=3)


def network(seed: int = 0) -> RetinaFace:
    torch.manual_seed(seed)
    model = RetinaFace(CONFIG)
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
