import json
from pathlib import Path

import pytest
import torch
from linear_face_model import write_linear_face_model

from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.pretrained import load_decoder
from facesmith.errors import ConfigError, TrainingError
from facesmith.training.mesh_autoencoder import AutoencoderConfig, Pretrain, pretrain, samplers

MODEL = MeshConfig(latent=8, filters=(4, 4, 8, 8), order=2)
SHORT = AutoencoderConfig(steps=120, batch=4, rate=2e-2, warmup=5, codes_from=40, evaluate_every=120, held_out=8)


@pytest.fixture(scope="module")
def ict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ict")
    write_linear_face_model(folder / "ict_face.npz")
    return folder


def test_from_faces_to_a_decoder_that_loads(ict: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mesh.safetensors"
    Pretrain(ict=ict, out=out, config=SHORT, model=MODEL).run()
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert row["step"] == 120
    assert row["shape_mm"] < 0.7 * row["average_mm"]
    assert row["linear_mm"] < row["average_mm"]
    assert row["shape_percent"] == pytest.approx(100 * row["shape_mm"] / 150, rel=0.1)  # 15 cm from ear to ear
    decoder, facts = load_decoder(out)
    assert decoder.config == MODEL
    assert facts["figures"]["shape_mm"] == row["shape_mm"]
    assert facts["skins"] == "procedural"


def test_the_same_seed_gives_the_same_weights(ict: Path) -> None:
    config = AutoencoderConfig(steps=3, batch=2, codes_from=20, held_out=2)
    train, held_out = samplers(ict / "ict_face.npz", None, MODEL, 0)
    one, two = (pretrain(MODEL, config, train, held_out)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_losses_that_are_not_numbers_stop_the_run(ict: Path) -> None:
    train, held_out = samplers(ict / "ict_face.npz", None, MODEL, 0)
    config = AutoencoderConfig(steps=50, batch=2, rate=1e30, warmup=1, codes_from=20, held_out=2)
    with pytest.raises(TrainingError, match="lower the rate"):
        pretrain(MODEL, config, train, held_out)


@pytest.mark.parametrize("change", [{"steps": 0}, {"rate": 0.0}, {"photo_skins": -1}, {"seed": -1}])
def test_senseless_settings_fail(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"needs steps|must be above 0"):
        AutoencoderConfig(**change)  # type: ignore[arg-type]
