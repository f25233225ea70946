from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.pretrained import load_decoder, save_decoder
from facesmith.errors import ConfigError, ModelError

SMALL = MeshConfig(latent=16, filters=(8, 8), order=3, coarsest=2)


def test_the_usual_decoder() -> None:
    decoder = MeshDecoder()
    faces = decoder(torch.zeros(2, 128))
    assert faces.shape == (2, 3169, 6)
    assert faces.isfinite().all()


def test_decoder_learns_a_few_faces() -> None:
    torch.manual_seed(0)
    decoder = MeshDecoder(SMALL)
    codes = torch.randn(4, 16)
    faces = decoder.mean + 0.1 * torch.randn(4, 1, 6) + 0.05 * torch.randn(4, len(decoder.mean), 1)
    decoder.set_statistics(faces.mean(dim=0), (faces - faces.mean(dim=0)).std(dim=(0, 1)))
    optimiser = torch.optim.Adam(decoder.parameters(), 5e-3)
    losses = []
    for _ in range(150):
        loss = (decoder(codes) - faces).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_decoder_adds_the_mean_and_scales() -> None:
    torch.manual_seed(0)
    decoder = MeshDecoder(SMALL)
    parameters = torch.randn(3, 16)
    plain = decoder(parameters) - decoder.mean
    mean, deviation = torch.randn_like(decoder.mean), torch.rand(6) + 0.5
    decoder.set_statistics(mean, deviation)
    assert torch.allclose(decoder(parameters), plain * deviation + mean, atol=1e-5)


def test_a_batch_equals_single_faces() -> None:
    torch.manual_seed(0)
    decoder = MeshDecoder(SMALL)
    parameters = torch.randn(3, 16)
    faces = decoder(parameters)
    for i in range(3):
        assert torch.allclose(decoder(parameters[i : i + 1])[0], faces[i], atol=1e-5)


@torch.no_grad()
def test_compiles_as_one_graph() -> None:
    """Traced only: code for a machine takes minutes and a compiler."""
    torch.manual_seed(0)
    decoder = MeshDecoder(MeshConfig(latent=4, filters=(6, 4), order=3)).eval()
    traced = torch.compile(decoder, backend="eager", fullgraph=True)
    parameters = torch.randn(3, 4)
    torch.testing.assert_close(traced(parameters), decoder(parameters))


def test_what_is_stored() -> None:
    decoder = MeshDecoder(SMALL)
    layers = ("convs.0", "convs.1", "last", "linear")
    parameters = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert set(decoder.state_dict()) == parameters | {"mean", "deviation"}  # the mesh is rebuilt, not stored


@pytest.mark.parametrize("change", [{"latent": 0}, {"filters": ()}, {"filters": (4, 0)}, {"order": 0}])
def test_senseless_sizes_fail(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="positive sizes"):
        MeshConfig(**change)  # type: ignore[arg-type]


def test_files_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder, path = MeshDecoder(SMALL), tmp_path / "mesh.safetensors"
    save_decoder(path, decoder, figures={"shape_mm": 1.5})
    found, facts = load_decoder(path)
    assert found.config == SMALL
    assert facts == {"figures": {"shape_mm": 1.5}}
    parameters = torch.randn(2, 16)
    assert torch.allclose(found(parameters), decoder(parameters), atol=5e-3)  # float16


def test_files_that_are_not_decoders_fail(tmp_path: Path) -> None:
    path = tmp_path / "mesh.safetensors"
    with pytest.raises(ModelError, match="is not a mesh decoder"):
        load_decoder(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="is not a mesh decoder"):
        load_decoder(path)
    save_decoder(path, MeshDecoder(SMALL))
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(ModelError, match="is not a mesh decoder"):
        load_decoder(path)  # no metadata


def test_tensors_that_do_not_fit_fail(tmp_path: Path) -> None:
    path, decoder = tmp_path / "mesh.safetensors", MeshDecoder(SMALL)
    decoder.config = MeshConfig(latent=16, filters=(8, 4), order=3, coarsest=2)
    save_decoder(path, decoder)
    with pytest.raises(ModelError, match="do not fit"):
        load_decoder(path)
    broken = MeshDecoder(SMALL)
    torch.nn.init.constant_(broken.last.bias, float("nan"))
    save_decoder(path, broken)
    with pytest.raises(ModelError, match="not finite"):
        load_decoder(path)
