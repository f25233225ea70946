"""Where a proposal's landmarks are: the part of KPNet that its ablations exchange."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from facesmith.detectors.kpnet.config import FIVE_OF, STRIDE, SoftArgmaxConfig
from facesmith.detectors.kpnet.windows import relative_heat, soft_argmax, window_maxima


class LandmarkHead(nn.Module, ABC):
    """Features -> a map; a map and windows -> landmarks.

    Windows are (B, N, 4) int64 x1, y1, x2, y2 in cells of the map (see ``windows.py``), landmarks in pixels of the
    network's input.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the map that the other two take, (B, any number of channels, H, W)."""

    @abstractmethod
    def extract(self, maps: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (B, N, K, 2) in pixels, and (B, N) what they add to the score of their proposal (Eq. 8)."""

    @abstractmethod
    def errors(self, maps: Tensor, windows: Tensor, landmarks: Tensor, known: Tensor) -> Tensor:
        """What is to be learnt, as (m,) terms whose mean is the loss.

        Args:
            maps: of :meth:`forward`.
            windows: of the labelled faces.
            landmarks: (B, N, K, 2) labels in pixels; finite where ``known``.
            known: (B, N) bool, which faces have landmarks.
        """


class SoftArgmax(LandmarkHead):
    """One 3×3 convolution to K heat maps, and the scale adaptive soft-argmax of them (Eq. 5-7).

    Args:
        config: see there.
        channels: of the features.
        points: number of landmarks K.
        longest: cells in a row of the largest window.
    """

    def __init__(self, config: SoftArgmaxConfig, channels: int, points: int, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.heat = nn.Conv2d(channels, points, 3, padding=1)
        self.scored: Tensor
        scored = torch.tensor(FIVE_OF[points][: config.scored], dtype=torch.int64)
        self.register_buffer("scored", scored, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> heat h (B, K, H, W)."""
        heat: Tensor = self.heat(features)
        return heat

    def extract(self, maps: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Ψ in pixels, and the sum of max Φ over the scored landmarks: 0 up to their number."""
        warmth = relative_heat(maps)
        cells, totals = soft_argmax(warmth, windows)
        maxima = window_maxima(warmth.index_select(1, self.scored), windows, self.longest)
        return cells * STRIDE, (maxima / totals.index_select(2, self.scored)).sum(dim=2)

    def errors(self, maps: Tensor, windows: Tensor, landmarks: Tensor, known: Tensor) -> Tensor:
        """Eq. 7 a face, in shares of the window's longer side.

        A label outside its window, which no mean of positions reaches, is learnt as the nearest cell inside (faces
        that the picture's border cuts, noses in profile).
        """
        cells, _ = soft_argmax(relative_heat(maps), windows)
        low, high = windows[..., None, :2], windows[..., None, 2:]
        wanted = (landmarks / STRIDE).nan_to_num().maximum(low + 0.5).minimum(high - 0.5)
        side = (windows[..., 2:] - windows[..., :2]).amax(dim=2)
        error = ((cells - wanted) / side[..., None, None]).square().sum(dim=(2, 3)) / (2 * landmarks.shape[2])
        return error[known]


HEADS: dict[type[Any], Callable[[Any, int, int, int], LandmarkHead]] = {SoftArgmaxConfig: SoftArgmax}
"""Configuration -> its class. That takes it, the features' channels, K, and the greatest number of cells in a row of a
window."""
