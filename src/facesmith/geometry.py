"""Boxes and landmarks: overlap, suppression, voting, mirroring, turning, alignment.

Everything is in pixels with the origin at the outer corner of the top-left pixel; boxes are x1, y1, x2, y2
with x2 = x1 + width.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces import LANDMARK_FLIP, Faces, FloatArray, IntArray

Float64Array: TypeAlias = npt.NDArray[np.float64]

ALIGNMENT_TEMPLATE: Float64Array = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""(5, 2): where the landmarks lie in a 112 x 112 crop for face recognition, ArcFace's figures.

As published, so unlike elsewhere in facesmith (0, 0) is the *centre* of the first pixel; :func:`align` knows.
"""
ALIGNMENT_TEMPLATE.flags.writeable = False

_BOX_TEMPLATE: Float64Array = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.5], [0.3, 0.75], [0.7, 0.75]])
_BLOCK = 64  # of 8 to 256, the fastest for 750 to 5,000 boxes


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Intersection over union of every box of ``a`` (n, 4) with every box of ``b`` (m, 4): (n, m) float32.

    A box without area (x2 <= x1 or y2 <= y1) overlaps nothing, not even itself.
    """
    rows, columns = _boxes(a), _boxes(b)
    shared = _intersections(rows, columns)
    union = _areas(rows)[:, None] + _areas(columns) - shared
    result: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def coverage(boxes: npt.ArrayLike, covers: npt.ArrayLike) -> FloatArray:
    """(n, m) float32: the share of the area of each of ``boxes`` (n, 4) that lies within each of ``covers`` (m, 4).

    0 for a box without area.
    """
    rows, columns = _boxes(boxes), _boxes(covers)
    shared, areas = _intersections(rows, columns), _areas(rows)[:, None]
    result: FloatArray = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
    return result


def nms(boxes: npt.ArrayLike, scores: npt.ArrayLike, threshold: float, *, min_area: bool = False) -> IntArray:
    """Greedy non-maximum suppression.

    Args:
        boxes: (n, 4).
        scores: (n,), finite. Equal scores keep their order.
        threshold: a box is dropped where its overlap with a better kept box is *above* this.
        min_area: measure overlap as the intersection over the smaller box's area, as RSA and KPNet do, not as
            intersection over union.

    Returns:
        (k,) int64 indices of the kept boxes, best score first.

    Raises:
        ValueError: ``boxes`` and ``scores`` do not fit together, or ``threshold`` is not in [0, 1].
    """
    boxes = _boxes(boxes)
    order, leaders = _clusters(boxes, _scores(scores, len(boxes)), _Overlap(threshold, min_area=min_area))
    kept: IntArray = order[leaders == np.arange(len(order))]
    return kept


def nms_faces(faces: Faces, threshold: float, keep: int | None = None, *, min_area: bool = False) -> Faces:
    """:func:`nms` on ``faces``: the kept ones, best first, at most ``keep``."""
    return faces[nms(faces.boxes, faces.scores, threshold, min_area=min_area)[:keep]]


def vote(faces: Faces, threshold: float = 0.4, keep: int = 750) -> Faces:
    """Box voting, as RetinaFace merges the detections of several scales and flips.

    The best face takes all faces left whose IoU with it is at least ``threshold``. Boxes and landmarks of
    such a cluster become their score-weighted average, and the best score stays; then the same with what is
    left. Unlike in the official code, a face that nothing overlaps stays, and there is no + 1 in the IoU.
    Landmarks are averaged over the faces that have them. A track id is that of the best face.

    Args:
        faces: scores must not be negative, since they are the weights.
        threshold: least IoU within a cluster.
        keep: how many faces to return at most, best first.

    Raises:
        ValueError: a score is negative, or ``threshold`` is not in [0, 1].
    """
    if (faces.scores < 0).any():
        raise ValueError(f"box voting weighs by score, which must be >= 0; the lowest is {faces.scores.min()}")
    order, leaders = _clusters(faces.boxes, faces.scores, _Overlap(threshold, inclusive=True))
    heads, cluster = np.unique(leaders, return_inverse=True)
    members = faces[order]
    boxes = _weighted_means(members.boxes, members.scores, cluster, len(heads))
    landmarks = members.landmarks
    if landmarks is not None:
        has = np.isfinite(landmarks).all(axis=(1, 2))
        flat = landmarks[has].reshape(-1, 10)
        means = _weighted_means(flat, members.scores[has], cluster[has], len(heads))
        landmarks = means.reshape(-1, 5, 2)
    return replace(members[heads], boxes=boxes, landmarks=landmarks)[:keep]


def flip(faces: Faces, width: float) -> Faces:
    """``faces`` after their picture, ``width`` pixels wide, was mirrored; landmarks change sides."""
    boxes = faces.boxes.copy()
    boxes[:, 0], boxes[:, 2] = width - faces.boxes[:, 2], width - faces.boxes[:, 0]
    landmarks = faces.landmarks
    if landmarks is not None:
        landmarks = landmarks[:, LANDMARK_FLIP]
        landmarks[:, :, 0] = width - landmarks[:, :, 0]
    return replace(faces, boxes=boxes, landmarks=landmarks)


def rotate90(faces: Faces, width: float, height: float, turns: int) -> Faces:
    """``faces`` after their picture was turned by quarters counter-clockwise, as ``np.rot90`` turns it.

    Each landmark stays with its point of the face: the left eye before the turn is the left eye after it,
    wherever it then lies. "Left in the image" means nothing for a face that lies on its side, and turning
    back has to give what there was. So the order is that of the picture in which the faces were upright,
    after half a turn as well.

    Args:
        faces: in the picture before the turn.
        width, height: size of that picture.
        turns: quarter turns; negative ones are clockwise.
    """
    turns %= 4
    boxes, landmarks = faces.boxes, faces.landmarks
    corners = _rotate_points(boxes.reshape(-1, 2, 2), width, height, turns)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    if landmarks is not None:
        landmarks = _rotate_points(landmarks, width, height, turns)
    meshes = None if faces.meshes is None else faces.meshes.rotated90(width, height, turns)
    return replace(faces, boxes=boxes, landmarks=landmarks, meshes=meshes)


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> Float64Array:
    """Least-squares similarities (scale, turn, shift; no reflection) that take ``source`` to ``target``.

    The optimum of Umeyama 1991, equations 40-43. In the plane it needs no matrix decomposition: with points
    as complex numbers, it is the linear regression target = a * source + b.

    Args:
        source: (n, k, 2).
        target: (k, 2), the same for all.

    Returns:
        (n, 2, 3) float64, so that ``target ~ matrix[:, :2] @ point + matrix[:, 2]``; NaN where a source holds
        NaN or all of its points coincide.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.ndim != 3 or source.shape[1:] != target.shape or target.shape[1:] != (2,):
        raise ValueError(f"expected source (n, k, 2) and target (k, 2), not {source.shape} and {target.shape}")
    source_mean, target_mean = source.mean(axis=1), target.mean(axis=0)
    p, q = source - source_mean[:, None], target - target_mean
    spread = (p**2).sum(axis=(1, 2))
    spread[spread <= 1e-24 * (source**2).sum(axis=(1, 2))] = np.nan  # nothing but rounding
    cosine = (p * q).sum(axis=(1, 2)) / spread
    sine = (p[..., 0] * q[:, 1] - p[..., 1] * q[:, 0]).sum(axis=1) / spread
    turn = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    shift = target_mean - np.einsum("nij,nj->ni", turn, source_mean)
    return np.concatenate([turn, shift[:, :, None]], axis=2)


def align(image: npt.NDArray[np.uint8], landmarks: npt.ArrayLike, size: int = 112) -> npt.NDArray[np.uint8]:
    """Face crops for recognition: the landmarks lie on :data:`ALIGNMENT_TEMPLATE`, scaled to ``size``.

    Bilinear, black outside the picture, as the recognition benchmarks prepare their faces.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (n, 5, 2).
        size: side of a crop.

    Returns:
        (n, size, size, 3) uint8.

    Raises:
        ValueError: a face has no landmarks (NaN), or all of its landmarks coincide.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
    template = (ALIGNMENT_TEMPLATE + 0.5) * (size / 112)
    matrices = similarity(points, template)
    bad = np.flatnonzero(~np.isfinite(matrices).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(f"face {bad[0]} has no landmarks to align by: {points[bad[0]].tolist()}")
    crops = np.zeros((len(points), size, size, 3), np.uint8)
    for crop, matrix in zip(crops, matrices, strict=True):
        _warp(image, matrix, crop)
    return crops


def box_from_landmarks(landmarks: npt.ArrayLike) -> FloatArray:
    """Square boxes around five landmarks (KPNet after RSA).

    A similarity takes the landmarks to (.2, .2), (.8, .2), (.5, .5), (.3, .75), (.7, .75) of the unit square.
    The box is centred on the inverse image of the square's centre, and as wide as the inverse image of its
    side.

    Args:
        landmarks: (n, 5, 2).

    Returns:
        (n, 4) float32, upright squares; NaN where landmarks are NaN or coincide.
    """
    matrices = similarity(np.asarray(landmarks, np.float64).reshape(-1, 5, 2), _BOX_TEMPLATE)
    centre = _inverse(matrices, np.array([[0.5, 0.5]]))[:, 0]
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    half = 0.5 / scale[:, None]
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _boxes(boxes: npt.ArrayLike) -> FloatArray:
    array = np.asarray(boxes, np.float32)
    if array.size == 0 and array.ndim <= 2:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (n, 4), not {array.shape}")
    return array


def _scores(scores: npt.ArrayLike, n: int) -> FloatArray:
    array = np.asarray(scores, np.float32)
    if array.shape != (n,):
        raise ValueError(f"{n} boxes need scores of the shape ({n},), not {array.shape}")
    return array


def _areas(boxes: FloatArray) -> FloatArray:
    sides: FloatArray = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def _intersections(a: FloatArray, b: FloatArray) -> FloatArray:
    """(n, m) areas shared by ``a`` (n, 4) and ``b`` (m, 4)."""
    x1, y1, x2, y2 = np.ascontiguousarray(b.T)
    area: FloatArray = np.minimum(a[:, 2:3], x2)
    area -= np.maximum(a[:, 0:1], x1)
    height = np.minimum(a[:, 3:4], y2)
    height -= np.maximum(a[:, 1:2], y1)
    np.maximum(area, 0, out=area)
    np.maximum(height, 0, out=height)
    area *= height
    return area


@dataclass(frozen=True)
class _Overlap:
    """Which boxes are taken for the same face."""

    threshold: float
    inclusive: bool = False
    min_area: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"an overlap threshold lies between 0 and 1, not at {self.threshold}")

    def __call__(self, a: FloatArray, b: FloatArray) -> npt.NDArray[np.bool_]:
        """(n, m): whether the overlap is above the threshold (or at it, where inclusive, unless it is 0)."""
        shared = _intersections(a, b)
        limit: FloatArray
        if self.min_area:
            limit = np.minimum(_areas(a)[:, None], _areas(b))
        else:
            limit = _areas(a)[:, None] + _areas(b)
            limit -= shared
        limit *= self.threshold
        return (shared >= limit) & (shared > 0) if self.inclusive else shared > limit


def _clusters(boxes: FloatArray, scores: FloatArray, overlap: _Overlap) -> tuple[IntArray, IntArray]:
    """The greedy grouping that suppression and voting share.

    The best box leads a cluster of all boxes left that overlap it, and so on. Worked off in blocks, best
    first: each block is settled in itself, then its leaders take what they overlap among all boxes after it.

    Returns:
        order: (n,) indices by falling score.
        leaders: (n,) for each place in ``order``, the place of its leader; a leader's is its own.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    leaders = np.full(len(order), -1, np.int64)
    left = np.arange(len(order))
    while len(left):
        block, left = left[:_BLOCK], left[_BLOCK:]
        overlaps = overlap(boxes[block], boxes[block])
        heads = []
        free = np.ones(len(block), bool)
        for i in range(len(block)):
            if free[i]:
                heads.append(block[i])
                taken = free & overlaps[i]
                taken[i] = True
                leaders[block[taken]] = block[i]
                free &= ~taken
        overlaps = overlap(boxes[heads], boxes[left])
        taken = overlaps.any(axis=0)
        leaders[left[taken]] = np.asarray(heads)[overlaps[:, taken].argmax(axis=0)]
        left = left[~taken]
    return order, leaders


def _weighted_means(values: FloatArray, weights: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """(groups, k) means of ``values`` (n, k) within each group; NaN for a group without members."""
    weight = np.maximum(weights.astype(np.float64), np.finfo(np.float32).tiny)  # equal weights if all are 0
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, group, values * weight[:, None])
    totals = np.bincount(group, weight, groups)[:, None]
    means = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
    return means.astype(np.float32)


def _rotate_points(points: FloatArray, width: float, height: float, turns: int) -> FloatArray:
    x, y = points[..., 0], points[..., 1]
    turned = [(x, y), (y, width - x), (width - x, height - y), (height - y, x)][turns]
    return np.stack(turned, axis=-1)


def _inverse(matrices: Float64Array, points: Float64Array) -> Float64Array:
    """(n, k, 2): where each of n similarities takes ``points`` (k, 2) from."""
    turn, shift = matrices[:, :, :2], matrices[:, :, 2]
    squared_scale = (turn[:, :, 0] ** 2).sum(axis=1)[:, None, None]
    inverse: Float64Array = np.einsum("nji,nkj->nki", turn, points - shift[:, None]) / squared_scale
    return inverse


def _warp(image: npt.NDArray[np.uint8], matrix: Float64Array, crop: npt.NDArray[np.uint8]) -> None:
    """Fill ``crop`` from the part of ``image`` that ``matrix`` takes there; black where there is none.

    Only that part goes to OpenCV, which before version 5 warps no picture wider or higher than 32,766 pixels.
    """
    size = len(crop)
    corners = _inverse(matrix[None], np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64))[0]
    limit = np.array(image.shape[1::-1])
    x1, y1 = np.clip(np.floor(corners.min(axis=0)) - 2, 0, limit).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, limit).astype(int)
    if x1 >= x2 or y1 >= y2:
        return
    turn, shift = matrix[:, :2], matrix[:, 2]
    # OpenCV counts from the centre of the first pixel.
    centred = np.column_stack([turn, shift + turn @ (x1 + 0.5, y1 + 0.5) - 0.5])
    cv2.warpAffine(image[y1:y2, x1:x2], centred, (size, size), dst=crop, flags=cv2.INTER_LINEAR)
