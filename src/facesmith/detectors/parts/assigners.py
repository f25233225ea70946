"""Which anchor learns which face."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from facesmith.errors import ConfigError

POSITIVE, NEGATIVE, NEITHER = 1, 0, -1


@dataclass(frozen=True)
class MatchConfig:
    """Matching by IoU over all levels together (facts/retinaface).

    Attributes:
        positive: an anchor with at least this IoU learns its best face (common port .35, paper .5).
        negative: an anchor below this IoU with every face is background (.35; paper .3).
        forced: a face whose best anchor has at least this IoU gets that anchor in any case (.2; paper: never,
            write 1).

    Raises:
        ConfigError: ``negative`` is above ``positive``, or a threshold is not in 0…1.
    """

    positive: float = 0.35
    negative: float = 0.35
    forced: float = 0.2

    def __post_init__(self) -> None:
        if not (0 <= self.negative <= self.positive <= 1 and 0 <= self.forced <= 1):
            raise ConfigError(f"matching needs 0 <= negative <= positive <= 1 and 0 <= forced <= 1: {self}")


class Match(NamedTuple):
    """Per anchor: ``label`` (A,) int8 of POSITIVE, NEGATIVE, NEITHER; ``face`` (A,) int64 its best face."""

    label: Tensor
    face: Tensor


def match(anchors: Tensor, faces: Tensor, ignored: Tensor, config: MatchConfig) -> Match:
    """Match the anchors of one image with its faces.

    Args:
        anchors: (A, 4) boxes.
        faces: (n, 4) boxes; n may be 0.
        ignored: (n,) bool; an ignored face makes no anchor positive, takes none from another face, and
            anchors on it are not background. The last holds too for a face that gets no anchor.
        config: thresholds.
    """
    count = len(anchors)
    label = anchors.new_full((count,), NEGATIVE, dtype=torch.int8)
    face = anchors.new_zeros(count, dtype=torch.int64)
    if len(faces) == 0:
        return Match(label, face)
    shared, iou = overlaps(anchors, faces)
    best, face = iou.max(dim=1)
    label[best >= config.negative] = NEITHER
    label[best >= config.positive] = POSITIVE
    # A face too small for any anchor is not learnt; it must not be taught as background either.
    silent = ignored | (iou.amax(dim=0) < min(config.forced, config.positive))
    if silent.any():
        label[(label == POSITIVE) & ignored[face]] = NEITHER
        label[(label == NEGATIVE) & covers_ignored(anchors, faces, shared, silent)] = NEITHER
    _force(label, face, iou, ~ignored, config.forced)
    return Match(label, face)


def _force(label: Tensor, face: Tensor, iou: Tensor, wanting: Tensor, threshold: float) -> None:
    """Give every face of the mask ``wanting`` its best anchor, in place.

    Of faces that want the same anchor the one with the greatest IoU gets it; of equals the first. (Plain
    indexed assignment with repeated indices would leave that to chance on a GPU.)
    """
    best, anchor = iou.max(dim=0)
    faces = (wanting & (best >= threshold)).nonzero().squeeze(1)
    best, anchor = best[faces], anchor[faces]
    greatest = best.new_zeros(len(label)).scatter_reduce(0, anchor, best, "amax")
    wins = best == greatest[anchor]
    face.scatter_reduce_(0, anchor[wins], faces[wins], "amin", include_self=False)
    label[anchor] = POSITIVE


def covers_ignored(anchors: Tensor, faces: Tensor, shared: Tensor, ignored: Tensor) -> Tensor:
    """(A,) bool: holds half of an ignored face and is at most four times its side."""
    face_area = _area(faces)
    covers = (shared >= 0.5 * face_area) & (_area(anchors)[:, None] <= 16 * face_area)
    return covers[:, ignored].any(dim=1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersections and IoUs, both (len(a), len(b))."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    side = (high - low).clamp_(min=0)
    shared = side[..., 0] * side[..., 1]
    union = _area(a)[:, None] + _area(b)[None, :] - shared
    return shared, shared / union.clamp_(min=1e-9)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
