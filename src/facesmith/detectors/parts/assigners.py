"""Which anchor learns which face."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

POSITIVE, NEGATIVE, NEITHER = 1, 0, -1


@dataclass(frozen=True)
class MatchConfig:
    """Matching by IoU over all levels together (facts/retinaface).

    Attributes:
        positive: an anchor with at least this IoU learns its best face (common port .35, paper .5).
        negative: an anchor below this IoU with every face is background (.35; paper .3).
        forced: a face whose best anchor has at least this IoU gets that anchor in any case (.2; paper: never,
            write 1).
    """

    positive: float = 0.35
    negative: float = 0.35
    forced: float = 0.2


class Match(NamedTuple):
    """Per anchor: ``label`` (A,) int8 of POSITIVE, NEGATIVE, NEITHER; ``face`` (A,) int64 its best face."""

    label: Tensor
    face: Tensor


def match(anchors: Tensor, faces: Tensor, ignored: Tensor, config: MatchConfig) -> Match:
    """Match the anchors of one image with its faces.

    Args:
        anchors: (A, 4) boxes.
        faces: (n, 4) boxes; n may be 0.
        ignored: (n,) bool; an ignored face makes no anchor positive, and anchors on it are not background.
        config: thresholds.
    """
    count = len(anchors)
    label = anchors.new_full((count,), NEGATIVE, dtype=torch.int8)
    face = anchors.new_zeros(count, dtype=torch.int64)
    if len(faces) == 0:
        return Match(label, face)
    shared, iou = _overlaps(anchors, faces)
    best, face = iou.max(dim=1)
    label[best >= config.negative] = NEITHER
    label[best >= config.positive] = POSITIVE
    best_of_face, anchor_of_face = iou.max(dim=0)
    # Faces compete for an anchor in the order of their IoU: the last write of an ascending order wins.
    order = best_of_face.argsort()
    order = order[best_of_face[order] >= config.forced]
    face[anchor_of_face[order]] = order
    label[anchor_of_face[order]] = POSITIVE
    if ignored.any():
        label[(label == POSITIVE) & ignored[face]] = NEITHER
        label[(label == NEGATIVE) & _covers_ignored(anchors, faces, shared, ignored)] = NEITHER
    return Match(label, face)


def _covers_ignored(anchors: Tensor, faces: Tensor, shared: Tensor, ignored: Tensor) -> Tensor:
    """(A,) bool: holds half of an ignored face and is at most four times its side."""
    face_area = _area(faces)
    covers = (shared >= 0.5 * face_area) & (_area(anchors)[:, None] <= 16 * face_area)
    return covers[:, ignored].any(dim=1)


def _overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersections and IoUs, both (len(a), len(b))."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    side = (high - low).clamp_(min=0)
    shared = side[..., 0] * side[..., 1]
    union = _area(a)[:, None] + _area(b)[None, :] - shared
    return shared, shared / union.clamp_(min=1e-9)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
