"""The pyramid: merges, the FPN-attention tensor, the receptive-field module. What is decided here, and why.

The paper describes both modules by what they are for; figure and code are not available (facts/bfbox).

**FPN attention** is "a tensor that satisfies the weight sharing method", "helps layers merge more confidential
information" and "explicitly represents the compatibility between a backbone and any candidate FPN architectures"
(section 4.3). Here it is a tensor T of shape (choices of all blocks, levels, sources): what the choice of one block
says for the merge of one source into one level. A backbone's compatibility with a merge is the sum over its blocks,
L[l, s] = Σ_b T[choice of b, l, s], and the merge weighs its other input by g = 2 σ(L[l, s]), which starts at 1:

    sum:      fᵢ + g · fⱼ          product:   fᵢ · (1 + g · (fⱼ − 1))

that is, g moves fⱼ away from the operation's neutral element. Every path trains the entries that its own blocks and
merges have; all paths share them; after the search L has one number a merge, so the found network keeps five scalars.
Weights beyond those are in no path's way: two-step search is the same with g = 1, which is also the ablation.

**Receptive-field module**: after each merge, and on p7, SSH's context block (fields of 3, 5 and 7), one a level, shared
by all paths. What it gives joins the candidates of later merges and goes to the head. The ablation has a 3×3 unit.

Maps are brought to the output's size without weights: nearest neighbours up, 3×3 maximum pooling of stride 2 down.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.bfbox.architecture import LEVELS, Merge
from facesmith.detectors.parts.context import SSHContext
from facesmith.detectors.parts.convolution import ConvUnit


class Pyramid(nn.Module):
    """Laterals of conv2 … conv7, merges that each call names, a receptive-field module a level."""

    def __init__(self, channels_in: Sequence[int], channels: int, *, receptive_field: bool) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(ConvUnit(c, channels, kernel=1) for c in channels_in)
        make = SSHContext if receptive_field else ConvUnit
        self.fields = nn.ModuleList(make(channels, channels) for _ in channels_in)

    def forward(self, maps: Sequence[Tensor], merges: Sequence[Merge], gates: Tensor | None) -> list[Tensor]:
        """Maps of conv2 … conv7, merges in their order, (merges with another input,) gates -> p2 … p7."""
        laterals = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        candidates = {f"c{level}": x for level, x in zip(LEVELS, laterals, strict=False)}
        weights = iter(gates) if gates is not None else None
        for merge in merges:
            x = candidates[f"c{merge.level}"]
            if merge.other is not None:
                other = resample(candidates[merge.other], int(merge.other[1]), x, merge.level)
                x = combine(x, other, merge, None if weights is None else next(weights))
            candidates[f"p{merge.level}"] = self.fields[LEVELS.index(merge.level)](x)
        return [*(candidates[f"p{level}"] for level in LEVELS), self.fields[-1](laterals[-1])]


def combine(x: Tensor, other: Tensor, merge: Merge, gate: Tensor | None) -> Tensor:
    """Sum or product of two maps of one shape; ``gate`` moves ``other`` away from the neutral element."""
    if merge.operation == "+":
        return x + (other if gate is None else gate * other)
    return x * (other if gate is None else 1 + gate * (other - 1))


def gates_of(logits: Tensor) -> Tensor:
    """Gates in 0 … 2, 1 for a logit of 0."""
    return 2 * logits.sigmoid()


def resample(x: Tensor, level: int, like: Tensor, target: int) -> Tensor:
    """``x`` of ``level`` in the size of ``like``, a map of level ``target``.

    A side is ceil(image / 2^level), so multiplying and cutting is exact for every image size, and so is halving by a
    pooling that rounds up.
    """
    if level > target:
        x = F.interpolate(x, scale_factor=float(2 ** (level - target)), mode="nearest")
        return x[:, :, : like.shape[2], : like.shape[3]]
    for _ in range(target - level):
        x = F.max_pool2d(x, 3, 2, padding=1)
    return x


class Attention(nn.Module):
    """The shared tensor T of the module's docstring, for spaces with ``counts`` choices a block."""

    rows: Tensor

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        self.tensor = nn.Parameter(torch.zeros(sum(counts), len(LEVELS), 2 * len(LEVELS)))
        self.starts = [sum(counts[:i]) for i in range(len(counts))]

    def forward(self, choices: Sequence[int]) -> Tensor:
        """A choice a block -> (levels, sources) logits L."""
        rows = [start + choice for start, choice in zip(self.starts, choices, strict=True)]
        return self.tensor[rows].sum(dim=0)
