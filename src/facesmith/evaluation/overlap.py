"""Overlap of boxes as the evaluation protocols count it, and the test for boxes given in a wrong form."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from facesmith.errors import LabelError
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]
BoxArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

_CELLS = 1 << 18
"""Most IoUs worked out at a time: 2 MB a matrix stays in the cache, whatever the number of boxes."""


def inclusive_iou(a: BoxArray, b: BoxArray) -> FloatArray:
    """IoU of every pair, counting both border pixels: a box is (x2 - x1 + 1) × (y2 - y1 + 1) large.

    Boxes (n, 4) and (m, 4), x1, y1, x2, y2 in pixels with x2 >= x1, y2 >= y1; result (n, m) float64. This is
    the rule of the official WIDER FACE code (``boxoverlap.m``) and of PASCAL VOC; elsewhere facesmith has no
    +1.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    area_a = (a[:, 2] - a[:, 0] + 1) * (a[:, 3] - a[:, 1] + 1)
    area_b = (b[:, 2] - b[:, 0] + 1) * (b[:, 3] - b[:, 1] + 1)
    overlap = np.minimum(a[:, None, 2], b[None, :, 2])
    overlap -= np.maximum(a[:, None, 0], b[None, :, 0])
    overlap += 1
    np.maximum(overlap, 0, out=overlap)
    height = np.minimum(a[:, None, 3], b[None, :, 3])
    height -= np.maximum(a[:, None, 1], b[None, :, 1])
    height += 1
    np.maximum(height, 0, out=height)
    overlap *= height
    np.add(area_a[:, None], area_b[None, :], out=height)
    height -= overlap
    overlap /= height
    return overlap


def best_overlap(boxes: BoxArray, others: BoxArray) -> tuple[IntArray, FloatArray]:
    """For each of (n, 4) ``boxes`` the first best of (m, 4) ``others``, m >= 1: indices (n,) int64, IoUs
    (n,).
    """
    parts = [_best(boxes[rows], others) for rows in _blocks(len(boxes), len(others))]
    return np.concatenate([best for best, _ in parts]), np.concatenate([iou for _, iou in parts])


def _best(boxes: BoxArray, others: BoxArray) -> tuple[IntArray, FloatArray]:
    iou = inclusive_iou(boxes, others)
    best = iou.argmax(axis=1)
    return best, iou[np.arange(len(iou)), best]


def _blocks(n: int, m: int) -> Iterator[slice]:
    step = max(1, _CELLS // m)
    return (slice(start, start + step) for start in range(0, max(n, 1), step))


def check_box_form(predictions: Sequence[Faces], truth: Sequence[BoxArray]) -> None:
    """Refuse predictions whose x1 y1 x2 y2 were read as x y w h.

    Both arguments hold one entry an image; ``truth`` has boxes (m, 4), x1, y1, x2, y2. Every true face is
    looked for among the image's best predictions twice: as they were read, and as if their width and height
    had been right and bottom edges. Only faces found in one reading alone tell the readings apart; if the
    edges win so many of them that a fair coin would do it once in 100,000 times (sign test, 17 wins of 17),
    the form is wrong.

    Raises:
        LabelError: the boxes are x1 y1 x2 y2 where x y w h was expected.
    """
    edges_only = given_only = 0
    for faces, boxes in zip(predictions, truth, strict=True):
        if not len(faces) or not len(boxes):
            continue
        order = np.argsort(-faces.scores, kind="stable")[: 2 * len(boxes)]
        read = faces.boxes[order]
        meant = np.concatenate((read[:, :2], read[:, 2:] - read[:, :2]), axis=1)
        given = _is_found(boxes, read)
        edges = _is_found(boxes, meant[(meant[:, 2:] > meant[:, :2]).all(axis=1)])
        edges_only += int((edges & ~given).sum())
        given_only += int((given & ~edges).sum())
    if edges_only > given_only and bdtrc(edges_only - 1, edges_only + given_only, 0.5) < 1e-5:
        raise LabelError(
            "the predicted boxes look like x1 y1 x2 y2, but were read as x y width height: taken as edges "
            f"they find {edges_only} faces that they miss as read, the other way round {given_only}; "
            "write x2 - x1 and y2 - y1"
        )


def _is_found(truth: BoxArray, boxes: BoxArray) -> npt.NDArray[np.bool_]:
    if not len(boxes):
        return np.zeros(len(truth), bool)
    return best_overlap(truth, boxes)[1] >= 0.5
