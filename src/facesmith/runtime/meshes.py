"""Meshes of faces at run time: the rows that a detector gives for them, and the file that makes meshes of rows."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from facesmith.errors import ModelError
from facesmith.meshes import Meshes
from facesmith.runtime.session import Candidates, FloatArray, ImageBatch, OnnxSession, inference_session

if TYPE_CHECKING:
    from facesmith.runtime.openvino_session import OpenVINOSession

MESHES_KEY = "meshes"
"""Metadata of a detector's file: sha256 of its mesh file."""

MESH_ROWS = ("mesh", "anchors")
MESH_INPUTS = MESH_ROWS
MESH_OUTPUTS = ("vertices", "colours", "landmarks68", "landmarks", "pose", "triangles")

AT_A_TIME = 64
"""Faces that are decoded at a time, for about 100 MB."""


class MeshRows(NamedTuple):
    """What belongs to the rows of :class:`Candidates`.

    Attributes:
        parameters: (B, K, 144) float32.
        anchors: (B, K, 4) float32 squares that they refer to, in pixels of the input.
    """

    parameters: FloatArray
    anchors: FloatArray


class MeshSession(Protocol):
    """A loaded network with a mesh branch."""

    def run(self, images: ImageBatch) -> tuple[Candidates, MeshRows]:
        """As :meth:`Session.run`, with the rows of the meshes."""
        ...

    def decode(self, parameters: FloatArray, anchors: FloatArray) -> Meshes:
        """(n, 144) and (n, 4) rows, n may be 0, to meshes in pixels of the input."""
        ...


class OnnxMeshes:
    """The mesh branch of an exported detector; its file is read when it is first needed.

    Args:
        detector: with a mesh branch.
        read: gives the bytes of the mesh file.
        source: what error messages call that.
    """

    def __init__(self, detector: "OnnxSession | OpenVINOSession", read: Callable[[], bytes], *, source: str) -> None:
        self._detector, self._read, self._source = detector, read, source
        self._session: Any = None
        self._loading = threading.Lock()

    def run(self, images: ImageBatch) -> tuple[Candidates, MeshRows]:
        boxes, scores, landmarks, parameters, anchors = self._detector.outputs(images, MESH_ROWS)
        return Candidates(boxes, scores, landmarks), MeshRows(parameters, anchors)

    def decode(self, parameters: FloatArray, anchors: FloatArray) -> Meshes:
        with self._loading:
            if self._session is None:
                self._session = self._load()
        starts = range(0, max(len(parameters), 1), AT_A_TIME)
        parts = [self._some(parameters[at : at + AT_A_TIME], anchors[at : at + AT_A_TIME]) for at in starts]
        return Meshes.concatenate(parts)

    def _some(self, parameters: FloatArray, anchors: FloatArray) -> Meshes:
        inputs = dict(zip(MESH_INPUTS, at_least_one(parameters, anchors), strict=True))
        found = dict(zip(MESH_OUTPUTS, self._session.run(list(MESH_OUTPUTS), inputs), strict=True))
        del found["landmarks"]  # the detector's own are better
        return Meshes(**found)[: len(parameters)]

    def _load(self) -> Any:
        data = self._read()
        checksum = hashlib.sha256(data).hexdigest()
        if checksum != self._detector.meshes:
            raise ModelError(
                f"{self._source} does not belong to {self._detector.name}: its sha256 is {checksum}, "
                f"not {self._detector.meshes}; export the two again"
            )
        session, _ = inference_session(
            data, source=self._source, device=self._detector.device, threads=self._detector.threads
        )
        return session


def at_least_one(parameters: FloatArray, anchors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same rows, or one of zeros where there are none: decoders need a face."""
    if len(parameters):
        return parameters, anchors
    return np.zeros((1, parameters.shape[1]), np.float32), np.zeros((1, 4), np.float32)


def mesh_path(detector: Path) -> Path:
    """Where the mesh file of a detector's ONNX file lies: beside it."""
    return detector.with_name(f"{detector.stem}.mesh.onnx")
