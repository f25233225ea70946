import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import facesmith
from facesmith.errors import ConfigError, MissingExtraError, ModelError


def test_from_a_file(tiny_model: Path) -> None:
    detector = facesmith.load(tiny_model, threads=3)
    assert detector.name == "tiny"
    assert detector.device == "cpu"
    assert detector.threads == 3
    assert detector.checksum == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert facesmith.load(str(tiny_model)).threads >= 1


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"no model is called 'retinaface-mobilnet'.*path ending in \.onnx"):
        facesmith.load("retinaface-mobilnet")


@pytest.mark.parametrize("name", ["missing.onnx", "missing.safetensors"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot read model file .*{name}: No such file"):
        facesmith.load(tmp_path / name)


def test_folder_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match="cannot read"):
        facesmith.load(tmp_path / "folder.onnx")
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(ModelError, match=r"\.onnx, \.xml or \.safetensors"):
        facesmith.load(tmp_path / "model.pth")


def test_no_threads(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="threads"):
        facesmith.load(tiny_model, threads=0)


def test_a_checkpoint_without_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # what `import torch` finds where it is not installed
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"facesmith\[train\]"):
        facesmith.load(path)


def test_an_onnx_model_never_imports_torch(tiny_model: Path) -> None:
    code = (
        "import sys, numpy, facesmith\n"
        f"facesmith.load({str(tiny_model)!r})(numpy.zeros((9, 9, 3), numpy.uint8))\n"
        "print([m for m in ('torch', 'scipy', 'matplotlib', 'onnx', 'tyro') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
