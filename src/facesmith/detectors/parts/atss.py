"""Adaptive training sample selection (Zhang et al. 2020, arXiv 1912.02424) with SCRFD's settings (facts/damofd)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from facesmith.detectors.parts.assigners import NEGATIVE, NEITHER, POSITIVE, Match, covers_ignored, overlaps


def match_atss(anchors: Tensor, counts: Sequence[int], faces: Tensor, ignored: Tensor, *, nearest: int = 9) -> Match:
    """Match the anchors of one image with its faces.

    A face's candidates are the ``nearest`` anchors by centre distance on each level. Those whose IoU reaches the
    mean plus the standard deviation of its candidates' IoUs, and whose centre lies inside the face, learn it; an
    anchor that two faces want goes to the one with the greater IoU.

    Args:
        anchors: (A, 4) boxes, level after level.
        counts: anchors of each level; their sum is A.
        faces: (n, 4) boxes; n may be 0.
        ignored: (n,) bool; as in :func:`facesmith.detectors.parts.assigners.match`.
        nearest: candidates a level.
    """
    label = anchors.new_full((len(anchors),), NEGATIVE, dtype=torch.int8)
    face = anchors.new_zeros(len(anchors), dtype=torch.int64)
    if len(faces) == 0:
        return Match(label, face)
    shared, iou = overlaps(anchors, faces)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    distance = torch.cdist(centres, (faces[:, :2] + faces[:, 2:]) / 2)
    picked = []
    start = 0
    for count in counts:
        order = distance[start : start + count].topk(min(nearest, count), dim=0, largest=False).indices
        picked.append(order + start)
        start += count
    candidates = torch.cat(picked)  # (levels * nearest, n)
    values = iou.gather(0, candidates)
    # One candidate has no standard deviation; the mean alone decides there.
    spread = values.std(dim=0) if len(values) > 1 else torch.zeros_like(values[0])
    reached = values >= values.mean(dim=0) + spread
    edges = torch.cat((centres[:, None] - faces[None, :, :2], faces[None, :, 2:] - centres[:, None]), dim=2)
    side = (faces[:, 2:] - faces[:, :2]).clamp(min=0).prod(dim=1).sqrt()
    inside = edges.amin(dim=2) > 0.001 * side
    wanted = torch.zeros_like(iou, dtype=torch.bool).scatter_(0, candidates, reached) & inside
    best, face = torch.where(wanted, iou, -1.0).max(dim=1)
    label[best >= 0] = POSITIVE
    if ignored.any():
        label[(label == POSITIVE) & ignored[face]] = NEITHER
        label[(label == NEGATIVE) & covers_ignored(anchors, faces, shared, ignored)] = NEITHER
    return Match(label, face)
