"""Detectors behind one face: ours, OpenCV's YuNet, SCRFD, and whatever else is an ONNX file."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

import facesmith
from facesmith import geometry, weights
from facesmith.errors import ModelError
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD

Picture = npt.NDArray[np.uint8]
Maps = list[npt.NDArray[np.float32]]
STRIDES = (8, 16, 32)
NMS = 0.4


class Peer(NamedTuple):
    """One detector in one engine.

    Attributes:
        name: with its engine.
        ours: whether it is facesmith's.
        trained: whether its faces mean anything.
        network: input to raw tensors, timed alone; made for one picture.
        detect: RGB picture to faces; ``None`` where the file's outputs are not known.
    """

    name: str
    ours: bool
    trained: bool
    network: Callable[[Picture], Callable[[], object]]
    detect: Callable[[Picture, float], Faces] | None


def ours(model: str | None, threads: int) -> Peer:
    """A model of facesmith."""
    detector = facesmith.load(model, threads=threads)
    name = detector.name if model is None or model in weights.records() else Path(model).name

    def detect(picture: Picture, threshold: float) -> Faces:
        return detector.detect(picture, size="original", threshold=threshold, nms=NMS)

    return Peer(name, True, True, lambda picture: lambda: detector.raw(picture[None]), detect)


def peers(folder: Path | None, threads: int, width: int, height: int) -> Iterator[Peer]:
    """Those of the ONNX files in ``folder``, and replicas in the place of YuNet and SCRFD where they are not there."""
    kinds = set[str]()
    for file in sorted(folder.glob("*.onnx")) if folder is not None else ():
        for kind, peer in _of_file(file, file.stem, threads, trained=True):
            kinds.add(kind)
            yield peer
    with tempfile.TemporaryDirectory() as temporary:
        if "yunet" not in kinds:
            import yunet_replica

            yunet_replica.export_replica(file := Path(temporary) / "yunet.onnx", width, height)
            yield from (peer for _, peer in _of_file(file, "YuNet's structure, random weights", threads, trained=False))
        if "scrfd" not in kinds:
            import scrfd_replica

            scrfd_replica.export_replica(file := Path(temporary) / "scrfd.onnx", width, height)
            name = "SCRFD-500M's structure, random weights"
            yield from (peer for _, peer in _of_file(file, name, threads, trained=False))


def _of_file(file: Path, name: str, threads: int, *, trained: bool) -> Iterator[tuple[str, Peer]]:
    """(kind, peer) for each engine that runs it."""
    session = _session(file, threads)
    outputs = [output.name for output in session.get_outputs()]
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= set(outputs):
        yield "yunet", _opencv_yunet(file, name, outputs, trained)
        names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
        yield "yunet", _onnxruntime(session, name, trained, _bgr, names, yunet_faces)
        return
    try:
        yield "ours", ours(str(file), threads)
    except ModelError:
        scrfd = len(outputs) == 9
        yield (
            "scrfd" if scrfd else "other",
            _onnxruntime(session, name, trained, _normalised, outputs, scrfd_faces if scrfd else None),
        )


def _session(file: Path, threads: int) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def _opencv_yunet(file: Path, name: str, outputs: list[str], trained: bool) -> Peer:
    detector = cv2.FaceDetectorYN.create(str(file), "", (320, 320), EVALUATION_THRESHOLD, NMS)
    net = cv2.dnn.readNetFromONNX(str(file))

    def network(picture: Picture) -> Callable[[], object]:
        blob = _bgr(picture)

        def call() -> object:
            net.setInput(blob)
            return net.forward(outputs)

        return call

    def detect(picture: Picture, threshold: float) -> Faces:
        detector.setInputSize((picture.shape[1], picture.shape[0]))
        detector.setScoreThreshold(threshold)
        _, found = detector.detect(np.ascontiguousarray(picture[:, :, ::-1]))
        rows = np.zeros((0, 15), np.float32) if found is None else found
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Faces(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))

    return Peer(f"{name} (OpenCV)", False, trained, network, detect)


def _onnxruntime(
    session: Any,
    name: str,
    trained: bool,
    blob_of: Callable[[Picture], npt.NDArray[np.float32]],
    outputs: list[str],
    decode: Callable[[Maps, tuple[int, int], float], Faces] | None,
) -> Peer:
    source = session.get_inputs()[0].name

    def network(picture: Picture) -> Callable[[], object]:
        blob = blob_of(picture)
        return lambda: session.run(outputs, {source: blob})

    def detect(picture: Picture, threshold: float) -> Faces:
        blob = blob_of(picture)
        assert decode is not None
        found = decode(session.run(outputs, {source: blob}), (blob.shape[2], blob.shape[3]), threshold)
        return geometry.nms_faces(found, NMS)

    return Peer(f"{name} (onnxruntime)", False, trained, network, None if decode is None else detect)


def _padded(picture: Picture) -> Picture:
    return cv2.copyMakeBorder(picture, 0, -picture.shape[0] % 32, 0, -picture.shape[1] % 32, cv2.BORDER_CONSTANT)


def _bgr(picture: Picture) -> npt.NDArray[np.float32]:
    """As YuNet takes it: 0…255."""
    return cv2.dnn.blobFromImage(_padded(picture), swapRB=True)


def _normalised(picture: Picture) -> npt.NDArray[np.float32]:
    """As SCRFD takes it."""
    return cv2.dnn.blobFromImage(_padded(picture), 1 / 128, mean=(127.5, 127.5, 127.5))


def yunet_faces(maps: Maps, size: tuple[int, int], threshold: float) -> Faces:
    """cls, obj, bbox, kps at the three strides, one anchor a cell -> faces before suppression."""
    parts = []
    for level, stride in enumerate(STRIDES):
        cls, obj, box, points = (maps[3 * kind + level].reshape(-1, n) for kind, n in enumerate((1, 1, 4, 10)))
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        kept = np.flatnonzero(scores >= threshold)
        cells = _cells(size, stride, 1)[kept]
        centres, half = (cells + box[kept, :2]) * stride, np.exp(box[kept, 2:]) * stride / 2
        landmarks = (points[kept].reshape(-1, 5, 2) + cells[:, None]) * stride
        parts.append(Faces(np.concatenate([centres - half, centres + half], axis=1), scores[kept], landmarks))
    return Faces.concatenate(parts)


def scrfd_faces(maps: Maps, size: tuple[int, int], threshold: float) -> Faces:
    """score, bbox, kps at the three strides, two anchors a cell -> faces before suppression."""
    parts = []
    for level, stride in enumerate(STRIDES):
        score, box, points = (maps[3 * kind + level].reshape(-1, n) for kind, n in enumerate((1, 4, 10)))
        kept = np.flatnonzero(score[:, 0] >= threshold)
        cells = _cells(size, stride, 2)[kept]
        edges = np.concatenate([cells - box[kept, :2], cells + box[kept, 2:]], axis=1) * stride
        landmarks = (points[kept].reshape(-1, 5, 2) + cells[:, None]) * stride
        parts.append(Faces(edges, score[kept, 0], landmarks))
    return Faces.concatenate(parts)


def _cells(size: tuple[int, int], stride: int, anchors: int) -> npt.NDArray[np.float32]:
    """(n, 2) column and row of each anchor."""
    rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride].astype(np.float32)
    return np.repeat(np.stack([columns, rows], axis=-1).reshape(-1, 2), anchors, axis=0)
