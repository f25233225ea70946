"""Landmark accuracy: normalised mean error (NME), its cumulative distribution (CED), failure rate and AUC.

One measure for AFLW (19 and 5 points), AFLW2000-3D, 300W, WIDER FACE's five points and our development
frames; :mod:`facesmith.evaluation.landmark_truth` says what differs. The error of a face is the mean
distance of its points from the labels, divided by the protocol's length. A face that was not found has no
error and counts as a failure: ``nme`` is over the faces found, everything else over all faces.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from facesmith import geometry
from facesmith.errors import LabelError
from facesmith.evaluation.head_pose import in_labels_convention, pose_figures
from facesmith.evaluation.landmark_truth import (
    AFLW,
    AFLW2000_3D,
    AFLW_FIVE,
    FRAMES,
    FRAMES_68,
    W300,
    WIDER_FACE,
    Protocol,
    Truth,
    load_truth,
)
from facesmith.evaluation.predictions import align
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.faces import Faces, Landmark

__all__ = [
    "AFLW",
    "AFLW2000_3D",
    "AFLW_FIVE",
    "FRAMES",
    "FRAMES_68",
    "W300",
    "WIDER_FACE",
    "Protocol",
    "Truth",
    "assign",
    "auc",
    "ced",
    "evaluate",
    "failure_rate",
    "load_truth",
    "nme",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

VERSION = "1"
MESH_LANDMARKS, NOSE_OF_68 = 68, 30
_STEPS = np.linspace(0.0, 0.1, 201)


def nme(
    points: npt.ArrayLike,
    truth: npt.ArrayLike,
    normaliser: npt.ArrayLike,
    visible: npt.ArrayLike | None = None,
) -> FloatArray:
    """Normalised mean error of every face.

    Args:
        points: (n, k, d) predicted; a face with NaN at a point that counts was not found.
        truth: (n, k, d) labels, in the same unit.
        normaliser: (n,) lengths.
        visible: (n, k) bool, which points count; all where not given.

    Returns:
        (n,) float64; infinite for a face that was not found, NaN for one of which no point counts.
    """
    distance = np.linalg.norm(np.asarray(points, np.float64) - np.asarray(truth, np.float64), axis=-1)
    counted = np.ones(distance.shape, bool) if visible is None else np.asarray(visible, bool)
    number = counted.sum(axis=-1)
    total = np.where(counted, distance, 0.0).sum(axis=-1)
    mean = np.divide(total, number * normaliser, out=np.full(len(total), np.nan), where=number > 0)
    return np.where(np.isnan(total), np.inf, mean)


def ced(errors: FloatArray, thresholds: npt.ArrayLike) -> FloatArray:
    """Share of the (n,) ``errors`` at or below each of the (t,) ``thresholds``."""
    return np.searchsorted(np.sort(errors), np.asarray(thresholds), side="right") / len(errors)


def failure_rate(errors: FloatArray, threshold: float) -> float:
    """Share of (n,) ``errors`` strictly above ``threshold``; a face that was not found is above any."""
    return float((errors > threshold).mean())


def auc(errors: FloatArray, threshold: float) -> float:
    """Area under the cumulative distribution from 0 to ``threshold``, divided by ``threshold``.

    Exact: each of the (n,) errors e contributes max(0, threshold - e). (300W's code sums 0.0001 steps.)
    """
    return float(np.maximum(0.0, threshold - errors).mean() / threshold)


def evaluate(predictions: Mapping[str, Faces | FloatArray], truth: Truth, *, provenance: Provenance) -> Result:
    """``nme``, ``failure@t`` and ``auc@t``, with a suffix where a protocol measures in several ways.

    AFLW2000-3D and 300W also give ``nme`` of each group, AFLW2000-3D the mean of its three yaw ranges,
    protocols of five points that of each landmark (all in the protocol's main way). Where the labels have head
    poses and the predictions are ``Faces`` with meshes, ``pose_*`` are mean errors in degrees (``head_pose``).
    ``counts``: faces that have landmarks, and those of them that were found. A figure over no face is left out,
    with a note.

    Args:
        predictions: image name -> points, (k, 2) or (m, k, 2) in the order of the image's m labelled faces;
            or, for protocols of five points and of 68 (those of meshes), ``Faces``, of which :func:`assign` says which
            belongs to which label. One entry for every image of ``truth``.

    Raises:
        LabelError: image names do not match, a number of points or faces is wrong, a point is not finite, or
            ``Faces`` have no landmarks.
    """
    aligned = align(predictions, truth.images)
    points = placed(aligned, truth)
    protocol, labelled = truth.protocol, np.any(truth.visible, axis=1)
    if not labelled.any():
        raise LabelError("none of the labelled faces has landmarks; there is nothing to measure")
    metrics: dict[str, float] = {}
    curves = []
    for view in protocol.views:
        counted = truth.visible if view.visible_only else np.repeat(labelled[:, None], points.shape[1], axis=1)
        errors = nme(points, truth.points, truth.scales[view.name], counted)
        suffix = f"_{view.name}" if view.name else ""
        metrics |= _figures(errors[labelled], protocol, suffix)
        curves.append(Curve("CED" + suffix, _STEPS, ced(errors[labelled], _STEPS), "NME", "share of faces"))
        if view == protocol.views[0]:
            metrics |= _parts(errors, points, truth)
    if truth.poses is not None:
        metrics |= pose_figures(_poses(aligned, truth), truth.poses)
    faces, found = int(labelled.sum()), int(np.isfinite(points[labelled]).all(axis=(1, 2)).sum())
    return Result(
        protocol=protocol.name,
        version=VERSION,
        metrics=metrics,
        images=len(points) if protocol.faces_are_images else len(truth.images),
        official_images=protocol.images,
        provenance=provenance,
        curves=tuple(curves),
        counts={"faces": faces, "found": found},
        notes=() if found else ("no labelled face was found: there is no nme",),
    )


def assign(faces: Faces, boxes: npt.ArrayLike, noses: npt.ArrayLike) -> IntArray:
    """Which detection belongs to which labelled face of one image.

    Candidates are the pairs in which the detection's box holds the labelled nose tip and overlaps the
    labelled box. They are taken by descending IoU (equal ones: the higher score, then the first), each face
    and each detection once. So the rule asks nothing of how boxes are drawn, and a neighbour's detection
    does not serve a face that was missed if the neighbour claims it.

    Args:
        faces: d detections.
        boxes: (m, 4) labelled boxes.
        noses: (m, 2) points.

    Returns:
        (m,) int64 index of the detection, -1 for a face that was not found.
    """
    corners, nose = faces.boxes[None], np.asarray(noses, np.float64).reshape(-1, 1, 2)
    holds: BoolArray = np.all((corners[..., :2] <= nose) & (nose <= corners[..., 2:]), axis=2)
    overlap = geometry.iou(boxes, faces.boxes)
    rows, columns = np.nonzero(holds & (overlap > 0))
    order = np.lexsort((columns, -faces.scores[columns], -overlap[rows, columns]))
    owner, taken = np.full(len(holds), -1), np.zeros(len(faces), bool)
    for row, column in zip(rows[order], columns[order], strict=True):
        if owner[row] < 0 and not taken[column]:
            owner[row], taken[column] = column, True
    return owner


def _figures(errors: FloatArray, protocol: Protocol, suffix: str) -> dict[str, float]:
    finite = errors[np.isfinite(errors)]
    figures = {f"nme{suffix}": float(finite.mean())} if len(finite) else {}
    figures |= {f"failure{suffix}@{t:.2f}": failure_rate(errors, t) for t in protocol.failures}
    return figures | {f"auc{suffix}@{t:.2f}": auc(errors, t) for t in protocol.areas}


def _parts(errors: FloatArray, points: FloatArray, truth: Truth) -> dict[str, float]:
    """NME over the faces found of each group, the yaw ranges' mean, and NME of each of five landmarks."""
    found = np.isfinite(errors)
    parts = {f"nme_{name}": errors[members & found] for name, members in truth.groups.items()}
    figures = {name: float(part.mean()) for name, part in parts.items() if len(part)}
    ranges = [value for name, value in figures.items() if name.startswith("nme_yaw")]
    if len(ranges) == 3:
        figures["nme_mean"] = float(np.mean(ranges))
    if points.shape[1] == len(Landmark) and found.any():
        distance = np.linalg.norm(points - truth.points, axis=2)[found]
        means = (distance / truth.scales[truth.protocol.views[0].name][found, None]).mean(axis=0)
        figures |= {f"nme_{mark.name.lower()}": float(means[mark]) for mark in Landmark}
    return figures


def placed(predictions: Sequence[Faces | FloatArray], truth: Truth) -> FloatArray:
    """(n, k, 2) predicted points of the labelled faces, NaN where a face was not found."""
    points = np.full(truth.points.shape, np.nan)
    for name, prediction, rows in zip(truth.images, predictions, _rows(truth), strict=True):
        if isinstance(prediction, Faces):
            points[rows] = _from_faces(prediction, truth, rows, name)
        else:
            points[rows] = _from_points(prediction, points[rows].shape, name)
    return points


def _poses(predictions: Sequence[Faces | FloatArray], truth: Truth) -> FloatArray:
    """(n, 3) pitch, yaw, roll of the labelled faces in the labels' convention, NaN where no mesh tells."""
    poses = np.full((len(truth.points), 3), np.nan)
    for prediction, rows in zip(predictions, _rows(truth), strict=True):
        if isinstance(prediction, Faces) and prediction.meshes is not None and len(prediction):
            owner = _owners(prediction, truth, rows)
            poses[rows[owner >= 0]] = in_labels_convention(prediction.meshes.pose[owner[owner >= 0]])
    return poses


def _rows(truth: Truth) -> list[IntArray]:
    """The faces of each image."""
    order = np.argsort(truth.image, kind="stable")
    return np.split(order, np.searchsorted(truth.image[order], np.arange(1, len(truth.images))))


def _from_faces(faces: Faces, truth: Truth, rows: IntArray, name: str) -> FloatArray:
    count = truth.points.shape[1]
    if count not in (len(Landmark), MESH_LANDMARKS):
        raise LabelError(f"image {name!r}: {truth.protocol.name} needs {count} points a face, Faces have five or 68")
    points = np.full((len(rows), count, 2), np.nan)
    if not len(faces):
        return points
    of_meshes = count == MESH_LANDMARKS
    found = (None if faces.meshes is None else faces.meshes.landmarks68[..., :2]) if of_meshes else faces.landmarks
    if found is None:
        what = "meshes, whose 68 points are judged" if of_meshes else "landmarks"
        raise LabelError(f"image {name!r}: the predicted faces have no {what}")
    owner = _owners(faces, truth, rows)
    points[owner >= 0] = found[owner[owner >= 0]]
    return points


def _owners(faces: Faces, truth: Truth, rows: IntArray) -> IntArray:
    """Which detection belongs to which labelled face of an image; -1 for a face that was not found."""
    centres = truth.boxes[rows].reshape(-1, 2, 2).mean(axis=1)
    labelled: BoolArray = np.any(truth.visible[rows], axis=1)
    nose = NOSE_OF_68 if truth.points.shape[1] == MESH_LANDMARKS else Landmark.NOSE
    return assign(faces, truth.boxes[rows], np.where(labelled[:, None], truth.points[rows, nose], centres))


def _from_points(points: FloatArray, shape: tuple[int, ...], name: str) -> FloatArray:
    array = np.asarray(points, np.float64)
    if array.ndim == 2 and shape[0] == 1:
        array = array[None]
    if array.shape != shape:
        raise LabelError(f"image {name!r}: points of shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise LabelError(f"image {name!r}: a predicted point is not finite")
    return array
