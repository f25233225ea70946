"""RetinaNet's loss on square anchors, with landmarks: focal loss, smooth-L1."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.detectors.bfbox.config import BFBoxLossConfig
from facesmith.detectors.parts.anchors import (
    AnchorConfig,
    anchor_boxes,
    encode_boxes,
    encode_landmarks,
    make_anchors,
)
from facesmith.detectors.parts.assigners import NEITHER, POSITIVE, MatchConfig, match
from facesmith.detectors.parts.losses import process_count, smooth_l1, total_over_processes
from facesmith.detectors.types import Targets


class BFBoxMaps(NamedTuple):
    """Raw outputs for all A anchors of all levels: logits (B, A), codes of boxes (B, A, 4) and landmarks
    (B, A, 10); ``sizes`` holds (height, width) of each level's map.
    """

    logits: Tensor
    boxes: Tensor
    landmarks: Tensor
    sizes: tuple[tuple[int, int], ...]


def retinanet_loss(
    maps: BFBoxMaps,
    targets: Targets,
    *,
    anchors: AnchorConfig,
    matching: MatchConfig,
    config: BFBoxLossConfig,
) -> dict[str, Tensor]:
    """The weighted terms ``class``, ``box`` and ``landmark``, divided by their numbers of positives.

    Positives are counted over all processes of a distributed run.
    """
    at_all = make_anchors(anchors, maps.sizes, maps.logits.device)
    boxes = anchor_boxes(at_all)
    matches = [
        match(boxes, faces, ignored, matching) for faces, ignored in zip(targets.boxes, targets.ignored, strict=True)
    ]
    label = torch.stack([m.label for m in matches])  # (B, A)
    image, anchor = (label == POSITIVE).nonzero(as_tuple=True)
    starts = torch.tensor([0, *(len(b) for b in targets.boxes)], device=label.device).cumsum(0)
    face = torch.stack([m.face for m in matches])[image, anchor] + starts[image]
    box, points = torch.cat(list(targets.boxes))[face], torch.cat(list(targets.landmarks))[face]
    known = points.isfinite().all(dim=2).all(dim=1)
    counts = total_over_processes(torch.tensor([len(image), int(known.sum())], device=label.device)).tolist()
    positives, with_points = (max(total, 1) / process_count() for total in counts)

    unlabelled = ~targets.complete[:, None] & (maps.logits.detach().sigmoid() > config.unlabelled_score)
    counted = (label == POSITIVE) | ((label != NEITHER) & ~unlabelled)
    class_loss = focal(maps.logits, label == POSITIVE, config)[counted].sum()

    at = at_all[anchor]
    box_loss = smooth_l1(maps.boxes[image, anchor] - encode_boxes(box, at, anchors), config.beta).sum()
    codes = encode_landmarks(points[known], at[known], anchors)
    point_loss = smooth_l1(maps.landmarks[image, anchor][known] - codes, config.beta).sum()
    return {
        "class": class_loss / positives,
        "box": config.box * box_loss / positives,
        "landmark": config.landmark * point_loss / with_points,
    }


def focal(logits: Tensor, positive: Tensor, config: BFBoxLossConfig) -> Tensor:
    """Focal loss (Lin et al. 2017, Eq. 5), elementwise; ``positive`` is a mask of the shape of ``logits``."""
    right = torch.where(positive, logits, -logits)  # the logit of the right answer
    weight = torch.where(positive, config.alpha, 1 - config.alpha)
    return weight * (1 - right.sigmoid()) ** config.gamma * F.softplus(-right)
