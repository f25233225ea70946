from pathlib import Path

import pytest
import torch

from drawn_faces import TINY
from facesmith import cli
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import save_weights
from facesmith.export import formats
from facesmith.export import onnx as export
from facesmith.runtime import Detector, load


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, RetinaFace(TINY), name="tiny-name")
    return path


@pytest.fixture
def traced(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[RetinaFace, str]]:
    """What is traced; in its place comes the tiny network, which is also what the weights load as."""
    made: list[tuple[RetinaFace, str]] = []

    def recorded(model: RetinaFace, path: Path, *, name: str) -> export.Parity:
        made.append((model, name))
        path.write_bytes(tiny_model.read_bytes())
        return export.Parity(1e-6, 2e-7, 3e-6)

    def instead(model: str | Path) -> Detector:
        return load(tiny_model if Path(model).suffix == ".safetensors" else model, threads=1)

    monkeypatch.setattr(export, "export_onnx", recorded)
    monkeypatch.setattr(formats, "load", instead)
    return made


def test_the_file_lies_beside_the_weights(
    weights: Path, tiny_model: Path, traced: list[tuple[RetinaFace, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(weights)]) == 0
    ((model, name),) = traced
    assert (name, model.config) == ("tiny-name", TINY)
    path = weights.with_suffix(".onnx")
    assert path.read_bytes() == tiny_model.read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: {path.stat().st_size:,} bytes"
    assert lines[1].startswith("on painted faces (no --images was given): 100.0% of the model's ")
    assert len(lines) == 2


def test_or_where_it_is_wanted(weights: Path, tmp_path: Path, traced: list[tuple[RetinaFace, str]]) -> None:
    assert cli.main(["export", str(weights), "--out", str(tmp_path / "new/a.onnx"), "--nms", "0.4"]) == 0
    assert (tmp_path / "new/a.onnx").stat().st_size > 0
    assert not weights.with_suffix(".onnx").exists()


def test_another_network_than_the_model_is_not_written(
    weights: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(model: RetinaFace, path: Path, *, name: str) -> None:
        path.write_bytes(tiny_model.read_bytes())

    monkeypatch.setattr(export, "export_onnx", wrong)
    monkeypatch.setattr(formats, "EVALUATION_THRESHOLD", 0.0)  # the untrained network's faces are faint
    assert cli.main(["export", str(weights)]) == 2
    assert "so it is not written" in capsys.readouterr().err
    assert not weights.with_suffix(".onnx").exists()


def test_files_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(tmp_path / "absent.safetensors")]) == 2
    assert "absent.safetensors: No such file" in capsys.readouterr().err
    (tmp_path / "bad.safetensors").write_bytes(b"hello")
    assert cli.main(["export", str(tmp_path / "bad.safetensors")]) == 2
    assert "bad.safetensors: is not a readable safetensors file" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path / "absent.onnx"), "--out", str(tmp_path / "new.onnx")]) == 2
    assert "cannot read model file" in capsys.readouterr().err
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    assert cli.main(["export", str(tmp_path / "bad.onnx"), "--out", str(tmp_path / "new.onnx")]) == 2
    assert "bad.onnx: onnxruntime cannot load it" in capsys.readouterr().err
