"""Where a proposal's landmarks are: the part of KPNet that its ablations exchange (Tables 2 and 3)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from facesmith.detectors.kpnet.boxes import TEMPLATE
from facesmith.detectors.kpnet.config import (
    STRIDE,
    ArgmaxConfig,
    KPNetLossConfig,
    RegressionConfig,
    SoftArgmaxConfig,
    TemplateConfig,
)
from facesmith.detectors.kpnet.losses import Faces, Term, keypoint_cross_entropy
from facesmith.detectors.kpnet.proposals import Proposals
from facesmith.detectors.kpnet.windows import relative_heat, soft_argmax, window_argmax, window_maxima, window_means
from facesmith.faces import FIVE_OF

PRIOR_LOGIT = -9.0
"""Bias of heat maps that are probabilities before training: one cell in 10,000 holds a certain landmark of a face."""


class LandmarkHead(nn.Module, ABC):
    """Features -> a map; a map and proposals -> landmarks in pixels of the network's input."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the map that the other two take, (B, any number of channels, H, W)."""

    @abstractmethod
    def extract(self, maps: Tensor, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """Landmarks (B, N, K, 2) in pixels, and (B, N) what they add to the score of their proposal (Eq. 8)."""

    @abstractmethod
    def loss(self, maps: Tensor, faces: Faces, proposals: Proposals, complete: Tensor) -> Term:
        """What is to be learnt.

        Args:
            maps: of :meth:`forward`.
            faces: the labels.
            proposals: what the labels' boxes would propose, as many.
            complete: (B,) bool, False where faces lack labels.
        """


class _PositionHead(LandmarkHead):
    """A head that learns its positions themselves (Eq. 7)."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    @abstractmethod
    def positions(self, maps: Tensor, windows: Tensor) -> Tensor:
        """(B, N, K, 2) in cells, for (B, N, 4) windows."""

    def reachable(self, labels: Tensor, windows: Tensor) -> Tensor:
        """The labels (B, N, K, 2), in cells, as they can be learnt."""
        return labels

    def loss(self, maps: Tensor, faces: Faces, proposals: Proposals, complete: Tensor) -> Term:
        """Eq. 7 in shares of the window's longer side, summed over the faces with landmarks."""
        known = faces.known
        # They come first, so that positions are found for few others.
        order = known.int().argsort(dim=1, descending=True, stable=True)[:, : max(int(known.sum(dim=1).max()), 1)]
        image = torch.arange(len(order), device=order.device)[:, None]
        windows, known, landmarks = (each[image, order] for each in (proposals.windows, known, faces.landmarks))
        wanted = self.reachable((landmarks / STRIDE).nan_to_num(), windows)
        side = (windows[..., 2:] - windows[..., :2]).amax(dim=2)
        error = (self.positions(maps, windows) - wanted) / side[..., None, None]
        each = (error.square().sum(dim=(2, 3)) / (2 * landmarks.shape[2]))[known]
        return Term(self.weight * each.sum(), each.new_tensor(float(len(each))))


class SoftArgmax(_PositionHead):
    """One 3×3 convolution to K heat maps, and the scale adaptive soft-argmax of them (Eq. 5-7).

    Args:
        config: see there.
        loss: its weight of Eq. 7.
        channels: of the features.
        points: number of landmarks K.
        longest: cells in a row of the largest window.
    """

    def __init__(
        self, config: SoftArgmaxConfig, loss: KPNetLossConfig, channels: int, points: int, longest: int
    ) -> None:
        super().__init__(loss.keypoint)
        self.longest = longest
        self.heat = nn.Conv2d(channels, points, 3, padding=1)
        self.scored: Tensor
        self.register_buffer("scored", _scored(config.scored, points), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> heat h (B, K, H, W)."""
        heat: Tensor = self.heat(features)
        return heat

    def extract(self, maps: Tensor, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """Ψ in pixels, and the sum of max Φ over the scored landmarks: 0 up to their number."""
        warmth = relative_heat(maps)
        cells, totals = soft_argmax(warmth, proposals.windows)
        if not len(self.scored):
            return cells * STRIDE, torch.zeros_like(proposals.scores)
        maxima = window_maxima(warmth.index_select(1, self.scored), proposals.windows, self.longest)
        return cells * STRIDE, (maxima / totals.index_select(2, self.scored)).sum(dim=2)

    def positions(self, maps: Tensor, windows: Tensor) -> Tensor:
        """Ψ in cells of the map."""
        return soft_argmax(relative_heat(maps), windows)[0]

    def reachable(self, labels: Tensor, windows: Tensor) -> Tensor:
        """A label outside its window, which no mean of positions reaches, is learnt as the nearest cell inside (faces
        that the picture's border cuts, noses in profile)."""
        low, high = windows[..., None, :2], windows[..., None, 2:]
        return labels.maximum(low + 0.5).minimum(high - 0.5)


class Argmax(LandmarkHead):
    """One 3×3 convolution to K heat maps, each 1 in the cells that hold its landmark of some face and else 0.

    Learnt by Eq. 4; of a window the hottest cell is the landmark, at its centre (Table 2's *argmax*).

    Args:
        config, channels, points, longest: as for :class:`SoftArgmax`.
        loss: the score of cells that may be unlabelled landmarks.
    """

    def __init__(self, config: ArgmaxConfig, loss: KPNetLossConfig, channels: int, points: int, longest: int) -> None:
        super().__init__()
        self.config, self.unlabelled_score, self.longest = config, loss.unlabelled_score, longest
        self.heat = rare_heat(channels, points)
        self.scored: Tensor
        self.register_buffer("scored", _scored(config.scored, points), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K, H, W)."""
        heat: Tensor = self.heat(features)
        return heat

    def extract(self, maps: Tensor, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """Centres of the hottest cells in pixels, and the sum of the scored ones' probabilities."""
        cells, logits = window_argmax(maps, proposals.windows, self.longest)
        return (cells + 0.5) * STRIDE, logits.index_select(2, self.scored).sigmoid().sum(dim=2)

    def loss(self, maps: Tensor, faces: Faces, proposals: Proposals, complete: Tensor) -> Term:
        """Eq. 4 over the whole map, see :func:`keypoint_cross_entropy`."""
        total, count = keypoint_cross_entropy(maps, faces, complete, self.unlabelled_score)
        return Term(self.config.weight * total, count)


class Regression(_PositionHead):
    """Global average pooling over the window and a fully connected layer to 2K coordinates, in 0…1 of the window.

    Both are linear, so the layer comes first here, as a 1×1 convolution: the same numbers from 2K maps instead of C
    (Table 2's *regression*; L2 loss).

    Args:
        config, loss, channels, points, longest: as for :class:`SoftArgmax`.
    """

    def __init__(
        self, config: RegressionConfig, loss: KPNetLossConfig, channels: int, points: int, longest: int
    ) -> None:
        super().__init__(loss.keypoint)
        self.coordinates = nn.Conv2d(channels, 2 * points, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2K, H, W) whose means are x, y of the first landmark, of the second …"""
        coordinates: Tensor = self.coordinates(features)
        return coordinates

    def extract(self, maps: Tensor, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """The positions in pixels; they say nothing of the score."""
        return self.positions(maps, proposals.windows) * STRIDE, torch.zeros_like(proposals.scores)

    def positions(self, maps: Tensor, windows: Tensor) -> Tensor:
        """In cells of the map; they may lie outside the window."""
        means = window_means(maps, windows)
        shares: Tensor = means.unflatten(2, (-1, 2))  # type: ignore[no-untyped-call]
        corner, side = windows[..., None, :2], (windows[..., 2:] - windows[..., :2])[..., None, :]
        return corner + shares * side


class Template(LandmarkHead):
    """Landmarks where the unit square's template has them in the proposal's square; without parameters.

    Args:
        config, loss, channels, points, longest: as for :class:`SoftArgmax`; nothing depends on them.
    """

    def __init__(self, config: TemplateConfig, loss: KPNetLossConfig, channels: int, points: int, longest: int) -> None:
        super().__init__()
        self.template: Tensor
        self.register_buffer("template", torch.tensor(TEMPLATE), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 0, H, W)."""
        return features[:, :0]

    def extract(self, maps: Tensor, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """The template in the squares, which the box of these landmarks is again; nothing for the score."""
        corner, other = proposals.squares[..., None, :2], proposals.squares[..., None, 2:]
        return corner + self.template * (other - corner), torch.zeros_like(proposals.scores)

    def loss(self, maps: Tensor, faces: Faces, proposals: Proposals, complete: Tensor) -> Term:
        """Nothing is learnt."""
        return Term(maps.sum(), maps.new_zeros(()))


def rare_heat(channels: int, points: int) -> nn.Conv2d:
    """A 3×3 convolution to K heat maps of probabilities, all of them small before training."""
    heat = nn.Conv2d(channels, points, 3, padding=1)
    nn.init.normal_(heat.weight, std=0.001)
    assert heat.bias is not None
    nn.init.constant_(heat.bias, PRIOR_LOGIT)
    return heat


def _scored(count: int, points: int) -> Tensor:
    return torch.tensor(FIVE_OF[points][:count], dtype=torch.int64)


HEADS: dict[type[Any], Callable[[Any, KPNetLossConfig, int, int, int], LandmarkHead]] = {
    SoftArgmaxConfig: SoftArgmax,
    ArgmaxConfig: Argmax,
    RegressionConfig: Regression,
    TemplateConfig: Template,
}
"""Configuration -> its class. That takes it, the loss's, the features' channels, K, and the greatest number of cells in
a row of a window."""
