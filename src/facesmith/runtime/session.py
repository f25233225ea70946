"""What runs a network: the signature that every exported model has, and onnxruntime behind it."""

import json
import re
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from facesmith.errors import DeviceError, ModelError

FloatArray = npt.NDArray[np.float32]
ImageBatch = npt.NDArray[np.uint8]

METADATA_KEY = "facesmith"
_OUTPUT_RANKS = {"boxes": 3, "scores": 2, "landmarks": 4}
_PROVIDER_NAMES = {"CUDAExecutionProvider": "CUDA", "TensorrtExecutionProvider": "TensorRT"}

_DISABLED = ["WeightBiasQuantization"]
"""Optimisers of onnxruntime that are not to run: this one makes integers of convolutions that
:func:`facesmith.export.precision.integer_nodes` leaves in float32, because they are faster so."""


class Candidates(NamedTuple):
    """The model's own three tensors, before NMS.

    Attributes:
        boxes: (B, K, 4) float32 x1, y1, x2, y2 in pixels of the input.
        scores: (B, K) float32 in [0, 1], falling; 0 in unused rows.
        landmarks: (B, K, 5, 2) float32 in pixels of the input.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray


class Session(Protocol):
    """A loaded network.

    Attributes:
        name: the model's name.
        device: where it really runs, e.g. ``"cpu"`` or ``"cuda:0"``.
        threads: CPU threads that it may use.
        usual_size: the size rule that ``auto`` means for this model.
    """

    name: str
    device: str
    threads: int
    usual_size: str

    def run(self, images: ImageBatch) -> Candidates:
        """Candidates of (B, H, W, 3) uint8 RGB; may be called from several threads at once."""
        ...


class OnnxSession:
    """An exported model in onnxruntime.

    Worker threads of onnxruntime sleep between operators instead of spinning: with 4 threads at 640×480 a
    picture takes about a quarter longer on its own, but half the CPU time, and several pictures at once
    (lists, folders) are faster.

    Args:
        model: the bytes of the ONNX file.
        source: what error messages call it.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, ``"tensorrt"`` or ``"tensorrt:N"``.
        threads: threads that share one picture's work.

    Attributes:
        meshes: sha256 of the file that makes meshes (:mod:`facesmith.runtime.meshes`); ``None``: there is none.

    Raises:
        ModelError: not a model with facesmith's signature and metadata.
        DeviceError: the device is unknown or cannot be used.
    """

    def __init__(self, model: bytes, *, source: str, device: str, threads: int) -> None:
        self._session, self.device = inference_session(model, source=source, device=device, threads=threads)
        self.threads = threads
        metadata = _metadata(self._session, source)
        self.name = str(metadata["name"])
        self.usual_size = str(metadata.get("size", "auto"))  # files of the first release do not say
        self.meshes: str | None = metadata.get("meshes")
        _check_signature(self._session, source)

    def run(self, images: ImageBatch) -> Candidates:
        boxes, scores, landmarks = self.outputs(images)
        return Candidates(boxes, scores, landmarks)

    def outputs(self, images: ImageBatch, more: tuple[str, ...] = ()) -> list[FloatArray]:
        """The three tensors of :class:`Candidates`, and those that are called ``more``.

        Raises:
            ModelError: onnxruntime fails.
        """
        try:
            found: list[FloatArray] = self._session.run([*_OUTPUT_RANKS, *more], {"images": images})
        except Exception as error:  # usually: out of memory
            raise ModelError(f"{self.name} failed on input {images.shape}: {_first_line(error)}") from error
        return found


def inference_session(model: bytes, *, source: str, device: str, threads: int) -> tuple[Any, str]:
    """onnxruntime's session of a file, and the device's full name; arguments and errors as of :class:`OnnxSession`."""
    import onnxruntime as ort  # 0.1 s

    providers, name = _providers(device, ort.get_available_providers())
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.enable_mem_pattern = False  # it keeps a plan for every picture size ever seen
    settings.log_severity_level = 4  # what goes wrong is raised, not logged
    try:
        session = ort.InferenceSession(model, settings, providers=providers, disabled_optimizers=_DISABLED)
    except Exception as error:  # onnxruntime has a dozen classes for this, all private
        if device != "cpu":
            raise DeviceError(f"{source} cannot run on {device}: {_first_line(error)}") from error
        raise ModelError(f"{source}: onnxruntime cannot load it: {_first_line(error)}") from error
    active = session.get_providers()
    if active[0] != providers[0][0]:
        raise DeviceError(f"{device} was asked for, but onnxruntime would run {source} on {active[0]}")
    return session, name


def cuda_index(device: str) -> int | None:
    """``"cuda:N"`` -> N, ``"cuda"`` -> 0, ``"cpu"`` -> ``None``.

    Raises:
        DeviceError: ``device`` is none of these.
    """
    if device == "cpu":
        return None
    if match := re.fullmatch(r"cuda(?::(\d+))?", device):
        return int(match[1] or 0)
    raise DeviceError(f"no such device: {device!r}; write cpu, cuda or cuda:N")


def _providers(device: str, available: list[str]) -> tuple[list[tuple[str, dict[str, str]]], str]:
    """onnxruntime's providers with their options, the wanted one first, and the device's full name.

    Operators that TensorRT does not know run in CUDA, those that CUDA does not know (shapes, mostly) on the CPU.
    """
    if match := re.fullmatch(r"tensorrt(?::(\d+))?", device):
        index = match[1] or "0"
        kinds = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
        name = f"tensorrt:{index}"
    else:
        found = cuda_index(device)
        if found is None:
            return [("CPUExecutionProvider", {})], "cpu"
        index, kinds, name = str(found), ["CUDAExecutionProvider"], f"cuda:{found}"
    if missing := [kind for kind in kinds if kind not in available]:
        raise DeviceError(
            f"{device} was asked for, but this onnxruntime has no {_PROVIDER_NAMES[missing[0]]} provider "
            f"(it has {', '.join(available)}); install onnxruntime-gpu, or use device cpu"
        )
    return [(kind, {"device_id": index}) for kind in kinds], name


def _metadata(session: Any, source: str) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{source} is not a facesmith model: its metadata has no {METADATA_KEY!r} entry; "
            "make one with `facesmith export`"
        )
    try:
        metadata = json.loads(text)
        metadata["name"]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{source}: its {METADATA_KEY!r} metadata is not a JSON object with a name") from error
    return dict(metadata)


def _check_signature(session: Any, source: str) -> None:
    """``images`` uint8 (B, H, W, 3) with B, H, W free in; boxes, scores, landmarks float32 out."""
    inputs, outputs = session.get_inputs(), {o.name: o for o in session.get_outputs()}
    if [i.name for i in inputs] != ["images"]:
        raise ModelError(f"{source}: its inputs are {[i.name for i in inputs]}, not ['images']")
    shape, kind = inputs[0].shape, inputs[0].type
    if kind != "tensor(uint8)" or len(shape) != 4 or shape[3] != 3:
        raise ModelError(f"{source}: its input images is {kind} {shape}, not tensor(uint8) (B, H, W, 3)")
    if fixed := [size for size in shape[:3] if isinstance(size, int)]:
        raise ModelError(f"{source}: its input images {shape} is frozen to {fixed}; B, H and W must be dynamic")
    for name, rank in _OUTPUT_RANKS.items():
        if name not in outputs:
            raise ModelError(f"{source}: it has no output {name!r}, only {sorted(outputs)}")
        if outputs[name].type != "tensor(float)" or len(outputs[name].shape) != rank:
            found = f"{outputs[name].type} {outputs[name].shape}"
            raise ModelError(f"{source}: its output {name} is {found}, not float with {rank} dimensions")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
