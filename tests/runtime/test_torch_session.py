from pathlib import Path

import numpy as np
import pytest

import facesmith
from facesmith.errors import DeviceError, ModelError

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained RetinaFace, as training would save it."""
    from facesmith.detectors.retinaface.config import RetinaFaceConfig
    from facesmith.detectors.retinaface.model import RetinaFace
    from facesmith.detectors.weights import save_weights

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "file.safetensors"
    save_weights(path, RetinaFace(RetinaFaceConfig(candidates=50)), name="untrained")
    return path


@pytest.fixture(autouse=True)
def keep_thread_count() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_checkpoint_runs_like_its_network(checkpoint: Path) -> None:
    from facesmith.detectors.weights import load_model

    detector = facesmith.load(checkpoint, threads=1)
    assert (detector.name, detector.device, detector.threads) == ("untrained", "cpu", 1)
    batch = np.random.default_rng(0).integers(0, 256, (2, 60, 90, 3), np.uint8)
    with torch.inference_mode():
        expected = load_model(checkpoint).export_forward(torch.from_numpy(batch))
    for ours, theirs in zip(detector.raw(batch), expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)
    pictures = [batch[0], batch[1][:40]]
    assert [len(f) for f in detector(pictures)] == [len(detector(picture)) for picture in pictures]


def test_broken_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"broken\.safetensors"):
        facesmith.load(path)


def test_devices(checkpoint: Path) -> None:
    with pytest.raises(DeviceError, match="no such device"):
        facesmith.load(checkpoint, device="gpu")
    with pytest.raises(DeviceError, match="PyTorch sees"):
        facesmith.load(checkpoint, device="cuda:99")
