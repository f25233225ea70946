"""The best candidates of every image, as plain tensor code that exports."""

import torch
from torch import Tensor


def top_candidates(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` greatest of (B, A) logits, falling, and their indices, both (B, count).

    Where there are fewer than ``count`` candidates, the rest has logit −100 (score 0) and the last index; the
    number of rows is the same for every image size, which runtimes without dynamic shapes need.
    """
    padding = logits.new_full((1, count), -100.0).expand(logits.shape[0], count)
    best, index = torch.cat((logits, padding), dim=1).topk(count, dim=1)
    return best, index.clamp(max=logits.shape[1] - 1)
