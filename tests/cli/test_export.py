from pathlib import Path
from typing import Any

import pytest
import torch

from drawn_faces import TINY
from facesmith import cli
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import save_weights
from facesmith.export import onnx as export


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, RetinaFace(TINY), name="tiny-name")
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the command asks for; tests/export/test_onnx.py looks at what a real export gives."""
    made: list[tuple[Any, ...]] = []

    def recorded(model: RetinaFace, path: Path, *, name: str) -> export.Parity:
        made.append((model, path, name))
        path.write_bytes(b"12345")
        return export.Parity(1e-6, 2e-7, 3e-6)

    monkeypatch.setattr(export, "export_onnx", recorded)
    return made


def test_the_file_lies_beside_the_weights(
    weights: Path, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(weights)]) == 0
    ((model, path, name),) = calls
    assert path == weights.with_suffix(".onnx")
    assert name == "tiny-name"
    assert isinstance(model, RetinaFace)
    assert model.config == TINY
    assert capsys.readouterr().out == f"{path}: 5 bytes; greatest relative difference to torch 3.0e-06\n"


def test_or_where_it_is_wanted(weights: Path, tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    assert cli.main(["export", str(weights), "--out", str(tmp_path / "a.onnx")]) == 0
    assert calls[0][1] == tmp_path / "a.onnx"


def test_files_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(tmp_path / "absent.safetensors")]) == 2
    assert "absent.safetensors: is not a readable safetensors file" in capsys.readouterr().err
    (tmp_path / "bad.safetensors").write_bytes(b"hello")
    assert cli.main(["export", str(tmp_path / "bad.safetensors")]) == 2
    assert "bad.safetensors: is not a readable safetensors file" in capsys.readouterr().err
