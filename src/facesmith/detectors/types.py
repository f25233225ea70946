"""What goes into a loss: the faces of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Targets:
    """Labelled faces of B images, in pixels of the network's input.

    Attributes:
        boxes: B tensors (n, 4) float32 x1, y1, x2, y2.
        landmarks: B tensors (n, K, 2) float32, K 5 or 19; NaN for a face without landmarks.
        ignored: B tensors (n,) bool; faces that are neither to be learnt nor to be punished.
        complete: (B,) bool; False where faces may lack labels, so that confident detections off the labels
            must not be punished.
    """

    boxes: Sequence[Tensor]
    landmarks: Sequence[Tensor]
    ignored: Sequence[Tensor]
    complete: Tensor

    def to(self, device: torch.device | str) -> Self:
        """The same targets on ``device``."""
        return type(self)(
            [b.to(device, non_blocking=True) for b in self.boxes],
            [p.to(device, non_blocking=True) for p in self.landmarks],
            [i.to(device, non_blocking=True) for i in self.ignored],
            self.complete.to(device, non_blocking=True),
        )

    def part(self, first: int, end: int) -> Self:
        """Those of the images ``first`` … ``end`` − 1."""
        rows = slice(first, end)
        return type(self)(self.boxes[rows], self.landmarks[rows], self.ignored[rows], self.complete[rows])
