"""ONNX export: normalisation, network, decoding and top-K in one graph for every image size."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facesmith import configs, files
from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import kind_of
from facesmith.errors import MissingExtraError, ModelError
from facesmith.export import graphs
from facesmith.export.fusion import fuse
from facesmith.export.meshes import mesh_file
from facesmith.runtime.meshes import MESHES_KEY, mesh_path

INPUT = "images"
MESH = 3
"""Place of the mesh parameters among a network's outputs."""
PARITY_SHAPES = tuple((batch, *size) for size in ((480, 640), (224, 320), (97, 131)) for batch in (1, 2))
PARITY_TOLERANCE = 1e-4
SWAPPED = 16
"""Rows of nearly equal scores are looked for this many places off; 2,000 rows of a hardly trained network lie closer to
each other than rounding moves them."""


class Parity(NamedTuple):
    """Greatest relative differences between torch and onnxruntime, over :data:`PARITY_SHAPES`."""

    boxes: float
    scores: float
    landmarks: float


class MeshParity(NamedTuple):
    """The same of a network with a mesh branch."""

    boxes: float
    scores: float
    landmarks: float
    mesh: float
    anchors: float


class _Exported(nn.Module):
    def __init__(self, model: DetectorNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.model.export_forward(images)


def export_onnx(model: DetectorNetwork, path: Path, *, name: str, **facts: Any) -> Parity | MeshParity:
    """Write ``model`` to ``path`` after checking that onnxruntime agrees with torch.

    The file takes ``images`` uint8 (B, H, W, 3) RGB of any B, H, W and gives ``boxes`` (B, K, 4), ``scores``
    (B, K) and ``landmarks`` (B, K, 5, 2) in pixels of the input. ``name``, the configuration and ``facts`` go
    into its metadata under ``facesmith``.

    Of a RetinaFace with a mesh branch it also gives ``mesh`` (B, K, 144) and ``anchors`` (B, K, 4), which the file
    beside it (:func:`facesmith.export.meshes.mesh_file`) makes meshes of; its checksum is in the metadata.

    Raises:
        ModelError: the two differ by more than :data:`PARITY_TOLERANCE`; nothing is written then.
        MissingExtraError: onnx, onnxscript or onnxslim is not installed.
    """
    try:
        import onnx  # noqa: F401 - :mod:`graphs` needs it
        import onnxscript  # noqa: F401 - torch's exporter needs it
        import onnxslim
    except ImportError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'facesmith[export]'") from error

    model = model.eval().cpu()
    graph = onnxslim.slim(_trace(model))
    fuse(graph)
    meshes = mesh_file(model, name) if isinstance(model, RetinaFace) and model.mesh else None
    metadata = {
        "name": name,
        "detector": kind_of(model),
        "config": configs.to_json(model.config),
        "size": model.usual_size,
        **facts,
    }
    if meshes is not None:
        metadata[MESHES_KEY] = hashlib.sha256(meshes).hexdigest()
    data = graphs.finished(graph, metadata)
    parity = check_parity(model, data)
    if max(parity) > PARITY_TOLERANCE:
        raise ModelError(f"{name}: onnxruntime and torch differ: {parity}; more than {PARITY_TOLERANCE}")
    files.write_bytes(path, data)
    if meshes is not None:
        files.write_bytes(mesh_path(path), meshes)
    return parity


def _trace(model: DetectorNetwork) -> Any:
    """The ONNX model with batch, height and width as named dynamic dimensions."""
    example = torch.zeros(2, 192, 224, 3, dtype=torch.uint8)
    dimensions = {INPUT: ("batch", "height", "width")}
    return graphs.trace(_Exported(model), (example,), dimensions, model.export_outputs)


def check_parity(model: DetectorNetwork, data: bytes) -> Parity | MeshParity:
    """Run ``model`` and the ONNX bytes on the same pictures of noise and compare.

    Scores are compared row by row, boxes, landmarks and anchors relative to the picture's longer side (or the box's
    greatest coordinate, if that is more), parameters of meshes as they are. Rows of nearly equal scores may come in
    either order.
    """
    import onnxruntime as ort

    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = np.zeros(len(model.export_outputs))
    for shape in PARITY_SHAPES:
        images = smooth_noise(rng, shape)
        with torch.inference_mode():
            ours = [t.numpy() for t in model.export_forward(torch.from_numpy(images))]
        theirs = session.run(list(model.export_outputs), {INPUT: images})
        worst = np.maximum(worst, _differences(ours, theirs, max(shape[1:])))
    return (Parity if len(worst) == 3 else MeshParity)(*(float(v) for v in worst))


def _differences(ours: list[Any], theirs: list[Any], side: int) -> npt.NDArray[np.float64]:
    """Of boxes, scores, landmarks and the rest; each row of ours against the row of theirs that is most like it, at
    most :data:`SWAPPED` places off."""
    shape = ours[1].shape
    scale = np.maximum(np.abs(ours[0]).max(axis=2), side)
    rows = [k for k in range(len(ours)) if k != 1]
    units = [1.0 if k == MESH else scale for k in rows]
    nearest = np.full((*shape, len(rows)), np.inf)
    for shift in range(-SWAPPED, SWAPPED + 1):
        errors = [
            _greatest(ours[k], np.roll(theirs[k], shift, axis=1)) / unit for k, unit in zip(rows, units, strict=True)
        ]
        found = np.stack(errors, axis=2)
        nearer = found.max(axis=2) < nearest.max(axis=2)
        nearest[nearer] = found[nearer]
    rounding = np.abs(ours[1] - theirs[1]).max()
    # A twin is further off where more rows than that have one score, or cut off at the end.
    compared = ours[1] > 0
    steps = ours[1][:, :-SWAPPED] - ours[1][:, SWAPPED:] > 2 * rounding
    compared[:, :-SWAPPED] &= steps
    compared[:, SWAPPED:] &= steps
    compared[:, max(shape[1] - SWAPPED, 1) :] = False
    worst = nearest[compared].max(axis=0, initial=0.0)
    return np.insert(worst, 1, rounding)


def _greatest(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(B, K, …) -> (B, K) greatest difference; none where both are NaN, as landmarks of networks without them."""
    gap = np.where(np.isnan(a) & np.isnan(b), 0, np.abs(a - b))
    greatest: npt.NDArray[np.float32] = gap.reshape(*a.shape[:2], -1).max(axis=2)
    return greatest


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """(B, H, W, 3) uint8 pictures of coloured blobs: more like photographs than white noise."""
    import cv2

    batch, height, width = shape
    coarse = rng.integers(0, 256, (batch, 12, 12, 3), np.uint8)
    return np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse])
