from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from facesmith.errors import DeviceError, ModelError
from facesmith.runtime.session import OnnxSession


def open_session(path: Path, device: str = "cpu") -> OnnxSession:
    return OnnxSession(path.read_bytes(), source="some.onnx", device=device, threads=1)


def test_runs_any_shape(tiny_model: Path) -> None:
    session = open_session(tiny_model)
    assert (session.name, session.device, session.threads) == ("tiny", "cpu", 1)
    for batch, height, width in ((1, 1, 1), (3, 50, 70), (2, 640, 480)):
        boxes, scores, landmarks = session.run(np.zeros((batch, height, width, 3), np.uint8))
        assert boxes.shape[0] == scores.shape[0] == landmarks.shape[0] == batch
        assert boxes.shape[2:] == (4,)
        assert landmarks.shape[2:] == (5, 2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"metadata": {}}, "not a facesmith model.*'facesmith' entry"),
        ({"metadata": {"facesmith": "{"}}, "not a JSON object with a name"),
        ({"metadata": {"facesmith": "[1]"}}, "not a JSON object with a name"),
        ({"metadata": {"facesmith": "{}"}}, "not a JSON object with a name"),
        ({"input": "data"}, r"inputs are \['data'\], not \['images'\]"),
        ({"dtype": TensorProto.FLOAT}, r"input images is tensor\(float\)"),
        ({"shape": [1, "H", "W", 3]}, r"frozen to \[1\]"),
        ({"shape": ["B", "H", "W", 4]}, "not tensor"),
        ({"without": "landmarks"}, "no output 'landmarks'"),
    ],
)
def test_a_model_of_another_kind(spoilt_model: Callable[..., Path], spoil: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        open_session(spoilt_model(**spoil))
    assert "some.onnx" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"no protobuf at all", b"\x08\x09"])
def test_no_model_at_all(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"some\.onnx: onnxruntime cannot load it"):
        open_session(path)


def test_a_failing_run_is_a_model_error(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny failed on input \(1, 4, 4, 1\)"):
        open_session(tiny_model).run(np.zeros((1, 4, 4, 1), np.uint8))


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "", "CPU0", "tpu:0"])
def test_unknown_device(tiny_model: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="no such device"):
        open_session(tiny_model, device)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
@pytest.mark.parametrize(
    ("device", "missing"), [("cuda", "CUDA"), ("cuda:1", "CUDA"), ("tensorrt", "TensorRT"), ("tensorrt:1", "TensorRT")]
)
def test_a_gpu_is_never_replaced(tiny_model: Path, device: str, missing: str) -> None:
    with pytest.raises(DeviceError, match=f"{device} was asked for, but this onnxruntime has no {missing} provider"):
        open_session(tiny_model, device)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("cuda", [("CUDAExecutionProvider", {"device_id": "0"})]),
        ("tensorrt:1", [(f"{kind}ExecutionProvider", {"device_id": "1"}) for kind in ("Tensorrt", "CUDA")]),
    ],
)
def test_a_silent_fallback_is_an_error(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, device: str, wanted: list[tuple[str, object]]
) -> None:
    """onnxruntime-gpu without CUDA's libraries lists the provider, warns, and runs on the CPU."""
    real = onnxruntime.InferenceSession

    def without_cuda(model: bytes, settings: object, providers: list[tuple[str, object]], **options: object) -> object:
        assert providers == wanted
        return real(model, settings, providers=["CPUExecutionProvider"], **options)

    known = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_cuda)
    with pytest.raises(DeviceError, match=rf"{device} was asked for, but onnxruntime would run some\.onnx on CPU"):
        open_session(tiny_model, device)
