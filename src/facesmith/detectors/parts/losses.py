"""Loss terms that several detectors share."""

import torch
from torch import Tensor, distributed
from torch.nn import functional as F


def total_over_processes(counts: Tensor) -> Tensor:
    """The sum of ``counts`` over the processes of a distributed run, else ``counts``.

    Every process must call it.
    """
    if not distributed.is_initialized():
        return counts
    total = counts.clone()
    distributed.all_reduce(total)
    return total


def process_count() -> int:
    """Processes of a distributed run, else 1."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def hard_negatives(loss: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Online hard example mining: a mask of the ``count`` candidates with the greatest loss.

    In a distributed run they are mined over all processes' anchors together, as if these were one batch.

    Args:
        loss: (n,) loss of each anchor if it were background.
        candidates: (n,) bool, anchors that may be chosen.
        count: how many, the same number in every process; fewer where there are fewer candidates.
    """
    ranked = loss.detach().masked_fill(~candidates, -torch.inf)
    greatest, index = ranked.topk(min(count, len(ranked)))
    mine = _share(greatest, count) if distributed.is_initialized() else count
    chosen = torch.zeros_like(candidates)
    chosen[index[: min(mine, int(candidates.sum()))]] = True
    return chosen


def _share(greatest: Tensor, count: int) -> int:
    """How many of the ``count`` greatest values of all processes are among this process's, given falling."""
    if count == 0:
        return 0
    mine = F.pad(greatest, (0, count - len(greatest)), value=-torch.inf)
    everyone = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(everyone, mine)
    winners = torch.cat(everyone).sort(descending=True, stable=True).indices[:count]
    return int((winners // count == distributed.get_rank()).sum())


def smooth_l1(error: Tensor, beta: float) -> Tensor:
    """Elementwise smooth-L1 of ``error``; quadratic below ``beta`` (beta = 1/σ² in Fast R-CNN's notation)."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")


def quality_focal(logits: Tensor, quality: Tensor, beta: float = 2.0) -> Tensor:
    """Quality focal loss (Li et al. 2020, arXiv 2006.04388, Eq. 3), elementwise.

    Args:
        logits: any shape.
        quality: same shape, the wanted score: IoU of the predicted box with its face, 0 for background.
        beta: how fast terms fade that are nearly right.
    """
    score = logits.detach().sigmoid()
    return F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * (quality - score).abs() ** beta


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of ``a`` with the same row of ``b``, both (n, 4) x1, y1, x2, y2 -> (n,)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    areas = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(dim=1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1)
    return shared / (areas - shared).clamp(min=1e-7)


def distance_iou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """DIoU loss (Zheng et al. 2020, arXiv 1911.08287).

    1 − IoU + squared distance of the centres / squared diagonal of the hull. Both (n, 4) x1, y1, x2, y2
    -> (n,).
    """
    hull = torch.maximum(predicted[:, 2:], wanted[:, 2:]) - torch.minimum(predicted[:, :2], wanted[:, :2])
    apart = (predicted[:, :2] + predicted[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2
    penalty = apart.square().sum(dim=1) / hull.square().sum(dim=1).clamp(min=1e-7)
    return 1 - paired_iou(predicted, wanted) + penalty
