"""What a training starts from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drawn_faces import TINY
from facesmith.detectors.damofd.config import DamoFDConfig
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.pretrained import SHIPPED_DECODER, load_decoder, save_decoder
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import save_weights
from facesmith.errors import ConfigError, ModelError
from facesmith.training.start import Start

MESHED = replace(TINY, mesh=MeshBranchConfig())


def decoder_of(model: object) -> MeshDecoder:
    assert isinstance(model, RetinaFace)
    assert model.mesh is not None
    return model.mesh.dense.decoder


def test_a_mesh_branch_gets_the_shipped_decoder() -> None:
    shipped, _ = load_decoder(SHIPPED_DECODER)
    for name, tensor in decoder_of(Start().network(MESHED)).state_dict().items():
        assert torch.equal(tensor, shipped.state_dict()[name])
    assert Start().files(MESHED) == (SHIPPED_DECODER,)
    assert Start().files(TINY) == ()


def test_or_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = MeshDecoder()
    save_decoder(tmp_path / "other.safetensors", other)
    start = Start(decoder=tmp_path / "other.safetensors")
    found = decoder_of(start.network(MESHED)).linear.weight
    torch.testing.assert_close(found, other.linear.weight.half().float())
    assert start.files(MESHED) == (tmp_path / "other.safetensors",)
    with pytest.raises(ConfigError, match="--decoder is for a RetinaFace with a mesh branch"):
        start.network(TINY)


def test_a_backbone_of_another_detector(tmp_path: Path) -> None:
    torch.manual_seed(7)
    teacher = RetinaFace(replace(TINY, channels=8))
    save_weights(tmp_path / "teacher.safetensors", teacher, name="teacher")
    model = Start(tmp_path / "teacher.safetensors").network(TINY)
    assert isinstance(model, RetinaFace)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, teacher.backbone.state_dict()[name])


def test_a_backbone_of_another_kind(tmp_path: Path) -> None:
    save_weights(tmp_path / "teacher.safetensors", RetinaFace(TINY), name="teacher")
    start = Start(tmp_path / "teacher.safetensors")
    with pytest.raises(ModelError, match=r"is not a state dict of this MobileNet: stem\.convolution\.weight has shape"):
        start.network(replace(TINY, backbone=replace(TINY.backbone, stem=4)))
    with pytest.raises(ConfigError, match="--pretrained is for ResNet and MobileNet backbones; DamoFD has another"):
        start.network(DamoFDConfig())
