"""A checkpoint run by PyTorch; the only module of the runtime that imports torch, and only on use."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesmith.errors import DeviceError, MissingExtraError
from facesmith.meshes import Meshes
from facesmith.runtime.meshes import MESH_ROWS, MeshRows, at_least_one
from facesmith.runtime.session import Candidates, FloatArray, ImageBatch, cuda_index

if TYPE_CHECKING:
    import torch


class TorchSession:
    """A ``.safetensors`` checkpoint in PyTorch, in float32.

    ``threads`` becomes PyTorch's own thread count, which is one for the whole process. Pictures run one after
    the other, since each thread that calls PyTorch would otherwise get that many threads of its own.

    Raises:
        MissingExtraError: PyTorch is not installed.
        ModelError: the file is not a checkpoint of facesmith.
        DeviceError: the device is unknown to PyTorch or cannot be used.
    """

    def __init__(self, path: Path, *, device: str, threads: int) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(
                f"{path} needs PyTorch: pip install 'facesmith[train]', or export it to ONNX and load that"
            ) from error
        from facesmith.detectors.weights import load_model, read_metadata

        self.name = str(read_metadata(path)["name"])
        self.threads = threads
        self._torch: Any = torch
        self._where = torch_device(device)
        self.device = str(self._where)
        torch.set_num_threads(threads)
        self._model: Any = load_model(path).eval().to(self._where)
        self.usual_size = str(self._model.usual_size)
        self._one_at_a_time = threading.Lock()
        self.meshes = TorchMeshes(self) if MESH_ROWS[0] in self._model.export_outputs else None

    def run(self, images: ImageBatch) -> Candidates:
        return Candidates(*self.outputs(images)[:3])

    def outputs(self, images: ImageBatch) -> list[FloatArray]:
        """Everything that the network gives, in the order of its ``export_outputs``."""
        with self._one_at_a_time, self._torch.inference_mode():
            tensors = self._model.export_forward(self._torch.from_numpy(images).to(self._where))
            return [tensor.float().cpu().numpy() for tensor in tensors]

    def dense(self, parameters: FloatArray, anchors: FloatArray) -> Meshes:
        """As :meth:`MeshSession.decode`, of a network with a mesh branch."""
        branch = self._model.mesh
        with self._one_at_a_time, self._torch.inference_mode():
            rows = (self._torch.from_numpy(array).to(self._where) for array in at_least_one(parameters, anchors))
            faces = branch.dense(*rows)
        fields = ("vertices", "colours", "landmarks68", "pose")
        triangles = branch.config.decoder.topology.finest.triangles
        columns = {name: getattr(faces, name)[: len(parameters)].cpu().numpy() for name in fields}
        return Meshes(triangles=triangles, **columns)


class TorchMeshes:
    """The mesh branch of a checkpoint."""

    def __init__(self, session: TorchSession) -> None:
        self._session = session

    def run(self, images: ImageBatch) -> tuple[Candidates, MeshRows]:
        boxes, scores, landmarks, parameters, anchors = self._session.outputs(images)
        return Candidates(boxes, scores, landmarks), MeshRows(parameters, anchors)

    def decode(self, parameters: FloatArray, anchors: FloatArray) -> Meshes:
        return self._session.dense(parameters, anchors)


def torch_device(name: str) -> "torch.device":
    """``cpu``, ``cuda`` or ``cuda:N`` as a device that is really there, with its index.

    Raises:
        DeviceError: the name is unknown, or PyTorch does not see that device.
    """
    import torch

    index = cuda_index(name)
    if index is None:
        return torch.device("cpu")
    if index >= torch.cuda.device_count():
        raise DeviceError(f"{name} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return torch.device("cuda", index)
