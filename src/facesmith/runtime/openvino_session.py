"""An exported model in OpenVINO: ``facesmith export --format openvino`` makes the files."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np

from facesmith.errors import DeviceError, MissingExtraError, ModelError
from facesmith.runtime.session import Candidates, FloatArray, ImageBatch

METADATA_KEY = "facesmith"
"""Under which the model's facts lie in the run-time information of the .xml file, as JSON."""

OUTPUTS = ("boxes", "scores", "landmarks")


class OpenVINOSession:
    """A model in OpenVINO, in the precision of its file: float32 stays float32.

    (Left alone, OpenVINO computes float32 models in bfloat16 where the CPU can.) ``threads`` share one picture's work;
    pictures that several threads ask for at once run one after the other.

    Args:
        path: the .xml file; the .bin lies beside it.
        device: ``"cpu"``; or ``"gpu"``, ``"gpu.N"`` or ``"npu"`` where OpenVINO has them.
        threads: CPU threads.

    Attributes:
        checksum: sha256 of .xml and .bin, one after the other.
        meshes: sha256 of the file that makes meshes (:mod:`facesmith.runtime.meshes`); ``None``: there is none.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ModelError: not a model of facesmith, or its .bin is missing.
        DeviceError: the device is unknown to OpenVINO.
    """

    def __init__(self, path: Path, *, device: str, threads: int) -> None:
        try:
            import openvino  # 0.2 s
        except ImportError as error:
            raise MissingExtraError(f"{path} needs OpenVINO: pip install 'facesmith[openvino]'") from error
        core = openvino.Core()
        where = _device(core, device)
        description, weights = _read(path)
        self.checksum = hashlib.sha256(description + weights).hexdigest()
        try:
            model = core.read_model(description, weights)
        except Exception as error:  # OpenVINO has classes of its own for this
            raise ModelError(f"{path}: OpenVINO cannot read it: {_first_line(error)}") from error
        facts = _facts(model, path)
        _check_signature(model, path)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if where == "CPU":
            settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            self._model: Any = core.compile_model(model, where, settings)
        except Exception as error:
            raise DeviceError(f"{path} cannot run on {device}: {_first_line(error)}") from error
        self.name, self.usual_size = str(facts["name"]), str(facts.get("size", "auto"))
        self.meshes: str | None = facts.get("meshes")
        self.device, self.threads = device, threads
        self._request = self._model.create_infer_request()
        self._one_at_a_time = threading.Lock()

    def run(self, images: ImageBatch) -> Candidates:
        boxes, scores, landmarks = self.outputs(images)
        return Candidates(boxes, scores, landmarks)

    def outputs(self, images: ImageBatch, more: tuple[str, ...] = ()) -> list[FloatArray]:
        """The three tensors of :class:`Candidates`, and those that are called ``more``.

        Raises:
            ModelError: OpenVINO fails.
        """
        with self._one_at_a_time:
            try:
                self._request.infer({"images": np.ascontiguousarray(images)}, share_inputs=True)
                return [self._request.get_tensor(name).data.copy() for name in (*OUTPUTS, *more)]
            except Exception as error:  # usually: out of memory
                raise ModelError(f"{self.name} failed on input {images.shape}: {_first_line(error)}") from error


def _device(core: Any, device: str) -> str:
    name, known = device.upper(), list(core.available_devices)
    if name not in known:
        raise DeviceError(
            f"{device} was asked for, but OpenVINO has {', '.join(known).lower() or 'no device'} here; "
            "CUDA runs .onnx files"
        )
    return name


def _read(path: Path) -> tuple[bytes, bytes]:
    for part in (path, path.with_suffix(".bin")):
        if not part.is_file():
            raise ModelError(f"{path.name} needs {part.name} beside it; there is no {part}")
    try:
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model file {path}: {error.strerror}") from error


def _facts(model: Any, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(model.get_rt_info([METADATA_KEY]).astype(str))
        facts["name"]
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} is not a facesmith model: it has no {METADATA_KEY!r} entry with a name; "
            "make one with `facesmith export --format openvino`"
        ) from error
    return dict(facts)


def _check_signature(model: Any, path: Path) -> None:
    inputs = [(port.any_name, port.element_type.get_type_name()) for port in model.inputs]
    if inputs != [("images", "u8")]:
        raise ModelError(f"{path}: its inputs are {inputs}, not images of u8")
    outputs = {name for port in model.outputs for name in port.names}
    if missing := [name for name in OUTPUTS if name not in outputs]:
        raise ModelError(f"{path}: it has no output {missing[0]!r}, only {sorted(outputs)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
