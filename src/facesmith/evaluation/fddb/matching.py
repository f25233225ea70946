"""FDDB's matching at every score threshold, without solving every one of them.

At each threshold the official code (``Matching.cpp``) matches the detections of an image above it with the
true faces so that the sum of their IoU is largest. Lowering the threshold past one detection can only change
the matching among the faces connected to it by overlaps. So an image falls into groups of faces that share
detections: a group of one face takes its best detection so far, which is a running maximum; in a larger one
the assignment is solved again for each detection of the group, and nothing else is.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def matching_steps(iou: FloatArray) -> tuple[FloatArray, IntArray]:
    """What each detection of an image changes as it joins those before it.

    Args:
        iou: (n, m) IoU of n detections in the order in which they join (descending score) and m faces.

    Returns:
        (n,) float64 change of the matching's summed IoU (continuous true positives), and (n,) int64 change of
        its matches with an IoU strictly above .5 (discrete true positives), which can be -1.
    """
    continuous, discrete = np.zeros(len(iou)), np.zeros(len(iou), np.int64)
    if not iou.size:
        return continuous, discrete
    overlapping = iou > 0
    groups = _groups(overlapping)
    for group in np.unique(groups):
        faces = np.flatnonzero(groups == group)
        joining = np.flatnonzero(overlapping[:, faces].any(axis=1))
        if len(faces) == 1:
            totals = np.maximum.accumulate(iou[joining, faces[0]])
            hits = (totals > 0.5).astype(np.int64)
        else:
            totals, hits = _prefix_matchings(iou[np.ix_(joining, faces)])
        continuous[joining] += np.diff(totals, prepend=0.0)
        discrete[joining] += np.diff(hits, prepend=0)
    return continuous, discrete


def _groups(overlapping: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Group number of each of m faces; faces with a common detection are in the same group."""
    shared = overlapping[overlapping.sum(axis=1) > 1].astype(np.int64)
    if not len(shared):
        return np.arange(overlapping.shape[1], dtype=np.int32)
    labels: npt.NDArray[np.int32] = connected_components(shared.T @ shared, directed=False)[1]
    return labels


def _prefix_matchings(iou: FloatArray) -> tuple[FloatArray, IntArray]:
    """Summed IoU and matches above .5 of the maximum-sum matchings of the first 1, 2, … n detections."""
    totals, hits = np.zeros(len(iou)), np.zeros(len(iou), np.int64)
    for last in range(len(iou)):
        matched = iou[linear_sum_assignment(iou[: last + 1], maximize=True)]
        totals[last], hits[last] = matched.sum(), (matched > 0.5).sum()
    return totals, hits
