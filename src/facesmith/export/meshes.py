"""The second file of a detector with a mesh branch: parameters of the faces that are kept -> their meshes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facesmith.detectors.retinaface.mesh.outputs import DenseOutput
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.errors import ModelError
from facesmith.export import graphs
from facesmith.runtime.meshes import MESH_INPUTS, MESH_OUTPUTS

TOLERANCE = 1e-3
"""Greatest difference to torch, in shares of the anchor for places, as it is for colours, in tenths of a degree."""

_SIZES = (1, 2, 7)


class _Meshes(nn.Module):
    topology: Tensor

    def __init__(self, dense: DenseOutput) -> None:
        super().__init__()
        self.dense = dense
        level = dense.decoder.config.topology.finest
        self.register_buffer("topology", torch.from_numpy(level.triangles), persistent=False)

    def forward(self, mesh: Tensor, anchors: Tensor) -> tuple[Tensor, ...]:
        return *self.dense(mesh, anchors), self.topology.clone()


def mesh_file(model: RetinaFace, name: str) -> bytes:
    """The ONNX file, after checking that onnxruntime agrees with torch.

    It takes ``mesh`` (n, 144) and ``anchors`` (n, 4) of any n above 0, rows of what the detector's file gives, and
    gives the fields of :class:`DenseFaces` in the pixels of ``anchors``, and ``triangles`` (f, 3) int64.

    Raises:
        ModelError: the two differ by more than :data:`TOLERANCE`.
    """
    assert model.mesh is not None
    module = _Meshes(model.mesh.dense).eval()
    latent = model.mesh.config.decoder.latent
    examples = _example(latent, 3)
    graph = graphs.trace(module, examples, dict.fromkeys(MESH_INPUTS, ("faces",)), MESH_OUTPUTS)
    data = graphs.finished(graph, {"name": name})
    if (difference := _difference(module, latent, data)) > TOLERANCE:
        raise ModelError(f"{name}: meshes of onnxruntime and torch differ by {difference}; more than {TOLERANCE}")
    return data


def _example(latent: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    corner = 500 * torch.rand(count, 2, generator=generator)
    side = 16 + 500 * torch.rand(count, 1, generator=generator)
    parameters = torch.randn(count, latent + 16, generator=generator) * 0.3
    return parameters, torch.cat([corner, corner + side], dim=1)


def _difference(module: nn.Module, latent: int, data: bytes) -> float:
    import onnxruntime as ort

    session: Any = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in _SIZES:
        inputs = _example(latent, count)
        with torch.inference_mode():
            ours = [tensor.numpy() for tensor in module(*inputs)]
        theirs = session.run(list(MESH_OUTPUTS), dict(zip(MESH_INPUTS, (t.numpy() for t in inputs), strict=True)))
        side = (inputs[1][:, 2] - inputs[1][:, 0]).numpy()
        units = dict.fromkeys(("vertices", "landmarks68", "landmarks"), side) | {"pose": 10.0}
        for output, mine, their in zip(MESH_OUTPUTS[:-1], ours[:-1], theirs[:-1], strict=True):
            gap = np.abs(mine - their).reshape(count, -1).max(axis=1)
            worst = max(worst, float((gap / units.get(output, 1.0)).max()))
        if not np.array_equal(ours[-1], theirs[-1]):
            return float("inf")
    return worst
