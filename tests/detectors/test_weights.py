import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from drawn_faces import TINY
from facesmith import configs
from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import (
    build,
    kind_of,
    load_model,
    load_weights,
    read_description,
    read_metadata,
    save_weights,
)
from facesmith.errors import ModelError


@pytest.fixture
def model() -> RetinaFace:
    torch.manual_seed(0)
    return RetinaFace(TINY)


@pytest.fixture
def weights(tmp_path: Path, model: RetinaFace) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, model, name="tiny", steps=7)
    return path


def rewritten(weights: Path, **changes: object) -> Path:
    """The same tensors with other metadata."""
    metadata = json.dumps({**read_metadata(weights), **changes})
    save_file(load_file(weights), weights, metadata={"facesmith": metadata})
    return weights


def test_a_file_holds_everything_that_the_network_needs(weights: Path, model: RetinaFace) -> None:
    loaded = load_model(weights)
    assert isinstance(loaded, RetinaFace)
    assert loaded.config == TINY
    assert not loaded.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_channels_last_weights_are_stored_alike(tmp_path: Path, weights: Path, model: RetinaFace) -> None:
    other = tmp_path / "other.safetensors"
    save_weights(other, model.to(memory_format=torch.channels_last), name="tiny", steps=7)
    assert other.read_bytes() == weights.read_bytes()


def test_metadata(weights: Path) -> None:
    facts = read_metadata(weights)
    assert (facts["name"], facts["detector"], facts["steps"]) == ("tiny", "retinaface", 7)
    assert facts["config"]["candidates"] == 100


def test_weights_fill_a_network(weights: Path, model: RetinaFace) -> None:
    torch.manual_seed(1)
    other = RetinaFace(TINY)
    load_weights(weights, other)
    assert torch.equal(other.head.weight, model.head.weight)


class TestRefusals:
    def test_another_networks_shapes(self, weights: Path) -> None:
        with pytest.raises(ModelError, match=r"tiny\.safetensors: does not fit the network"):
            load_weights(weights, RetinaFace(RetinaFaceConfig()))

    def test_a_missing_and_a_surplus_tensor(self, weights: Path, model: RetinaFace) -> None:
        tensors = load_file(weights)
        tensors["head.odd"] = tensors.pop("head.bias")
        save_file(tensors, weights)
        with pytest.raises(ModelError, match=r"(?s)does not fit the network.*head\.bias.*head\.odd"):
            load_weights(weights, model)

    def test_files_that_are_no_safetensors(self, tmp_path: Path, model: RetinaFace) -> None:
        (tmp_path / "bad.safetensors").write_bytes(b"PK not at all")
        for path in (tmp_path / "bad.safetensors", tmp_path / "absent.safetensors"):
            with pytest.raises(ModelError, match="is not a readable safetensors file"):
                load_model(path)
            with pytest.raises(ModelError, match="is not a readable safetensors file"):
                load_weights(path, model)

    @pytest.mark.parametrize(
        "metadata", [None, {"facesmith": "{"}, {"facesmith": "[]"}, {"facesmith": '{"name": "a"}'}]
    )
    def test_files_of_others(self, weights: Path, metadata: dict[str, str] | None) -> None:
        save_file(load_file(weights), weights, metadata=metadata)
        with pytest.raises(ModelError, match="has no facesmith metadata with name, detector and config"):
            read_metadata(weights)

    def test_an_unknown_detector(self, weights: Path) -> None:
        with pytest.raises(ModelError, match="unknown detector 'yolo'; known: retinaface"):
            load_model(rewritten(weights, detector="yolo"))

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            ({"depth": 3}, "unknown field depth"),
            ({"channels": "wide"}, "channels: expected int, not 'wide'"),
            ({"anchors": {"strides": [8, 16, 32, 64]}}, "anchors need one tuple of sides a stride"),
            (3, "expected a table, not 3"),
        ],
    )
    def test_a_configuration_that_cannot_be_used(self, weights: Path, config: object, problem: str) -> None:
        with pytest.raises(ModelError, match=f"its configuration cannot be used: .*{problem}"):
            load_model(rewritten(weights, config=config))

    def test_a_network_that_is_not_in_the_table(self) -> None:
        class Another(RetinaFace):
            pass

        other: DetectorNetwork = Another(TINY)
        with pytest.raises(ModelError, match="Another is none of the detectors retinaface"):
            kind_of(other)


class TestDescriptions:
    def written(self, tmp_path: Path, **facts: object) -> Path:
        path = tmp_path / "best.json"
        path.write_text(json.dumps(facts))
        return path

    def test_a_network_to_train(self, tmp_path: Path) -> None:
        config = configs.to_json(TINY)
        name, found = read_description(self.written(tmp_path, name="mine", detector="retinaface", config=config))
        assert (name, found) == ("mine", TINY)
        assert isinstance(build(found), RetinaFace)

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({}, "is not a readable description"),
            ({"name": "mine"}, "expected name, detector and config"),
            ({"name": 3, "detector": "retinaface", "config": {}}, "expected name, detector and config"),
            ({"name": "mine", "detector": "yolo", "config": {}}, "unknown detector 'yolo'; known: retinaface"),
            ({"name": "mine", "detector": "retinaface", "config": {"width": 1}}, "unknown field width"),
        ],
    )
    def test_errors(self, tmp_path: Path, facts: dict[str, object], message: str) -> None:
        with pytest.raises(ModelError, match=message) as caught:
            read_description(self.written(tmp_path, **facts))
        assert "best.json" in str(caught.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"absent\.json: is not a readable"):
            read_description(tmp_path / "absent.json")
