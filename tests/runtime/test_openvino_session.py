"""The tiny network as OpenVINO's files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facesmith import load
from facesmith.errors import DeviceError, MissingExtraError, ModelError
from facesmith.export.openvino import write_openvino
from facesmith.runtime.openvino_session import OpenVINOSession

openvino = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def file(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "tiny.xml"
    write_openvino(tiny_model.read_bytes(), path)
    return path


def test_it_gives_what_onnxruntime_gives(file: Path, tiny_model: Path) -> None:
    ours, theirs = load(file, threads=2), load(tiny_model, threads=1)
    assert (ours.name, ours.device, ours.threads) == ("tiny", "cpu", 2)
    assert ours.usual_size == theirs.usual_size
    assert len(ours.checksum) == 64
    rng = np.random.default_rng(0)
    for shape in ((1, 32, 48, 3), (3, 70, 50, 3), (1, 1, 1, 3)):
        batch = rng.integers(0, 256, shape, np.uint8)
        for mine, other in zip(ours.raw(batch), theirs.raw(batch), strict=True):
            assert mine.shape == other.shape
        np.testing.assert_allclose(ours.raw(batch).scores, theirs.raw(batch).scores, atol=1e-6)
    first = ours.raw(np.zeros((1, 32, 32, 3), np.uint8)).scores
    ours.raw(np.full((1, 32, 32, 3), 255, np.uint8))
    assert (first == 0).all(), "results are the caller's own, not the engine's memory"


def test_precision_and_threads_are_those_asked_for(file: Path) -> None:
    model = OpenVINOSession(file, device="cpu", threads=1)._model
    assert model.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert model.get_property("INFERENCE_NUM_THREADS") == 1


def test_the_checksum_covers_both_files(file: Path, tmp_path: Path) -> None:
    for part in (file, file.with_suffix(".bin")):
        (tmp_path / part.name).write_bytes(part.read_bytes())
    text = (tmp_path / "tiny.xml").read_text()
    (tmp_path / "tiny.xml").write_text(text + "\n")
    sums = {OpenVINOSession(path, device="cpu", threads=1).checksum for path in (file, tmp_path / "tiny.xml")}
    assert len(sums) == 2


def test_files_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no .*absent\.xml"):
        load(tmp_path / "absent.xml")
    alone = tmp_path / "alone.xml"
    alone.write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match=r"needs alone\.bin beside it"):
        load(alone)
    alone.with_suffix(".bin").write_bytes(b"")
    alone.write_text("hello")
    with pytest.raises(ModelError, match=r"alone\.xml: OpenVINO cannot read it"):
        load(alone)


def test_models_of_others(tiny_model: Path, tmp_path: Path) -> None:
    other = openvino.Core().read_model(str(tiny_model))
    openvino.save_model(other, tmp_path / "other.xml", compress_to_fp16=False)
    with pytest.raises(ModelError, match=r"not a facesmith model.*'facesmith' entry"):
        load(tmp_path / "other.xml")


@pytest.mark.parametrize("device", ["cuda", "npu.7"])
def test_devices_that_are_not_there(file: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=f"{device} was asked for, but OpenVINO has cpu.* here"):
        load(file, device=device)


def test_without_openvino(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facesmith\[openvino\]'"):
        load(file)


def test_torch_is_not_needed(file: Path) -> None:
    code = f"import sys, facesmith; facesmith.load({str(file)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
