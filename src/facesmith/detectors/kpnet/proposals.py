"""Where faces may be, and how large they are: a part of KPNet that its ablations exchange."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from facesmith.detectors.kpnet.losses import Faces, Term


class Proposals(NamedTuple):
    """N squares an image.

    Attributes:
        windows: (B, N, 4) int64 x1, y1, x2, y2 in cells, clipped to the map (``windows.py``).
        scores: (B, N) P_s in [0, 1], falling where a network proposed them.
        squares: (B, N, 4) float32 in pixels of the input, neither rounded nor clipped.
    """

    windows: Tensor
    scores: Tensor
    squares: Tensor


class Proposer(nn.Module, ABC):
    """Features -> a map; a map -> proposals. ``size`` is height and width of the features.

    Attributes:
        longest: no window has more cells than this in a row or column.
    """

    longest: int

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the map that ``propose`` and ``loss`` take."""

    @abstractmethod
    def propose(self, maps: Tensor, size: tuple[int, int]) -> Proposals:
        """The best candidates, their number the same for every image; those beyond what there is have score 0."""

    @abstractmethod
    def labelled(self, boxes: Tensor, size: tuple[int, int]) -> Proposals:
        """What faces' own boxes (B, N, 4), in pixels, would propose at best: score 1, and 0 for a box without area."""

    @abstractmethod
    def loss(self, maps: Tensor, faces: Faces, complete: Tensor) -> dict[str, Term]:
        """What is to be learnt; (B,) bool ``complete`` is False where faces lack labels."""


def has_area(boxes: Tensor) -> Tensor:
    """(..., 4) boxes -> (...) 1 where both sides are above 0, else 0."""
    return (boxes[..., 2:] > boxes[..., :2]).all(dim=-1).to(boxes.dtype)
