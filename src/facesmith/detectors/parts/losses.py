"""Loss terms that several detectors share."""

import torch
from torch import Tensor
from torch.nn import functional as F


def hard_negatives(loss: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Online hard example mining: a mask of the ``count`` candidates with the greatest loss.

    Args:
        loss: (n,) loss of each anchor if it were background.
        candidates: (n,) bool, anchors that may be chosen.
        count: how many; fewer where there are fewer candidates.
    """
    chosen = torch.zeros_like(candidates)
    count = min(count, int(candidates.sum()))
    if count > 0:
        ranked = loss.detach().masked_fill(~candidates, -torch.inf)
        chosen[ranked.topk(count, sorted=False).indices] = True
    return chosen


def smooth_l1(error: Tensor, beta: float) -> Tensor:
    """Elementwise smooth-L1 of ``error``; quadratic below ``beta`` (beta = 1/σ² in Fast R-CNN's notation)."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")
