"""A checkpoint run by PyTorch; the only module of the runtime that imports torch, and only on use."""

from pathlib import Path
from typing import Any

from facesmith.errors import DeviceError, MissingExtraError
from facesmith.runtime.session import Candidates, ImageBatch


class TorchSession:
    """A ``.safetensors`` checkpoint in PyTorch, in float32.

    ``threads`` becomes PyTorch's own thread count, which is one for the whole process.

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
                f"{path} needs PyTorch: pip install facesmith[train], or export it to ONNX and load that"
            ) from error
        from facesmith.detectors.weights import load_model

        try:
            where = torch.device(device)
        except RuntimeError as error:
            raise DeviceError(f"no such device: {device!r}; write cpu, cuda or cuda:N") from error
        if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"{device} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA devices"
            )
        torch.set_num_threads(threads)
        self._torch: Any = torch
        self._where = where
        self._model: Any = load_model(path).eval().to(where)
        self.name = path.stem
        self.device = f"cuda:{where.index or 0}" if where.type == "cuda" else where.type
        self.threads = threads

    def run(self, images: ImageBatch) -> Candidates:
        with self._torch.inference_mode():
            tensors = self._model.export_forward(self._torch.from_numpy(images).to(self._where))
        return Candidates(*(tensor.float().cpu().numpy() for tensor in tensors))
