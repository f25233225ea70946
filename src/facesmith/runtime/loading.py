"""``load``: a name or a file -> a ``Detector``."""

import hashlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from facesmith import weights
from facesmith.errors import ModelError
from facesmith.runtime.cpus import chosen_threads
from facesmith.runtime.detector import Detector
from facesmith.runtime.meshes import OnnxMeshes, mesh_path
from facesmith.runtime.session import OnnxSession

if TYPE_CHECKING:
    from facesmith.runtime.openvino_session import OpenVINOSession


def load(model: str | PathLike[str] | None = None, *, device: str = "cpu", threads: int | None = None) -> Detector:
    """A detector that is ready to run.

    Args:
        model: a name in the table of weights (``facesmith models``), or the path of an ``.onnx`` file, of an ``.xml``
            file (OpenVINO's) or of a ``.safetensors`` checkpoint (PyTorch's); ``None`` is ``weights.DEFAULT``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; for ``.onnx`` files also ``"tensorrt"`` and ``"tensorrt:N"``, for
            ``.xml`` what OpenVINO has. Nothing falls back: see :attr:`Detector.device`.
        threads: CPU threads; ``None`` is all that the affinity mask and the container grant.

    Raises:
        ModelError: no such name or file, a damaged file, or not a model of facesmith.
        DeviceError: the device cannot be used.
        MissingExtraError: a checkpoint without PyTorch, or an ``.xml`` file without OpenVINO installed.
        ConfigError: ``threads`` is below 1.
    """
    model = weights.DEFAULT if model is None else model
    count = chosen_threads(threads)
    path = Path(model)
    if isinstance(model, str) and (record := weights.records().get(model)) is not None:
        data = weights.read(record)
        session = OnnxSession(data, source=f"model {record.name}", device=device, threads=count)
        return _detector(session, Path(weights.__file__).with_name(record.file), record.sha256)
    if path.suffix not in (".onnx", ".xml", ".safetensors"):
        raise ModelError(weights.unknown(str(model)))
    if path.suffix == ".xml":
        from facesmith.runtime.openvino_session import OpenVINOSession

        openvino_session = OpenVINOSession(path, device=device, threads=count)
        return _detector(openvino_session, path, openvino_session.checksum)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model file {path}: {error.strerror}") from error
    checksum = hashlib.sha256(data).hexdigest()
    if path.suffix == ".onnx":
        return _detector(OnnxSession(data, source=str(path), device=device, threads=count), path, checksum)
    from facesmith.runtime.torch_session import TorchSession  # imports torch, 2 s

    torch_session = TorchSession(path, device=device, threads=count)
    return Detector(torch_session, checksum=checksum, meshes=torch_session.meshes)


def _detector(session: "OnnxSession | OpenVINOSession", path: Path, checksum: str) -> Detector:
    """``session`` of the file at ``path``, with its mesh file if it has one."""
    if session.meshes is None:
        return Detector(session, checksum=checksum)
    beside = mesh_path(path)

    def read() -> bytes:
        try:
            return beside.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{session.name} needs {beside.name} beside {path.name} for meshes; cannot read it: {error.strerror}"
            ) from error

    return Detector(session, checksum=checksum, meshes=OnnxMeshes(session, read, source=beside.name))
