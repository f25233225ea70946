"""The best candidates of every image, as plain tensor code that exports."""

import torch
from torch import Tensor


def top_candidates(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` greatest scores of (B, A) logits, falling, and their indices, both (B, count).

    Where there are fewer than ``count`` candidates, the rest has score 0 and the last index; the number of rows
    is the same for every image size, which runtimes without dynamic shapes need. Scores are sorted, not logits:
    some runtimes' sigmoid is not monotonic in its last bit.
    """
    padding = logits.new_zeros((1, count)).expand(logits.shape[0], count)
    best, index = torch.cat((logits.sigmoid(), padding), dim=1).topk(count, dim=1)
    return best, index.clamp(max=logits.shape[1] - 1)
