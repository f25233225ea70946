"""Proposals by fine-grained scale approximation: is a face of this size centred in this cell (Eq. 1-4)?"""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.kpnet.config import BINS, STRIDE, KPNetLossConfig, ScaleConfig
from facesmith.detectors.kpnet.losses import Faces, Term, background, sparse_cross_entropy
from facesmith.detectors.kpnet.proposals import Proposals, Proposer, has_area
from facesmith.detectors.kpnet.scales import Cells, bin_sides, centre_cells, face_bins, longest_window, scale_targets
from facesmith.detectors.kpnet.windows import cell_windows
from facesmith.detectors.parts.topk import top_candidates

PRIOR_LOGIT = -11.0
"""Bias of the scale map before training: about one element in 100,000 belongs to a face. A greater one makes the first
steps push all features down, until some are silent."""


class ScaleMap(Proposer):
    """One 3×3 convolution to 60 scale bins a cell.

    Args:
        config: see there.
        loss: its weight of Eq. 4, and the score of cells that may be unlabelled faces.
        channels: of the features.
        candidates: proposals an image.
    """

    def __init__(self, config: ScaleConfig, loss: KPNetLossConfig, channels: int, candidates: int) -> None:
        super().__init__()
        self.config, self.loss_config, self.candidates = config, loss, candidates
        self.longest = longest_window(float(bin_sides(torch.tensor(BINS - 1), config)))
        self.scales = nn.Conv2d(channels, BINS, 3, padding=1)
        nn.init.normal_(self.scales.weight, std=0.001)
        assert self.scales.bias is not None
        nn.init.constant_(self.scales.bias, PRIOR_LOGIT)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, 60, H, W)."""
        logits: Tensor = self.scales(features)
        return logits

    def propose(self, maps: Tensor, size: tuple[int, int]) -> Proposals:
        """The best 3×3 peaks of the best bin of each cell, ``candidates`` an image, falling; the rest has score 0."""
        best = _over_bins(maps)  # (B, H, W)
        peaks = best == F.max_pool2d(best[:, None], 3, stride=1, padding=1)[:, 0]
        scores, index = top_candidates(best.masked_fill(~peaks, -torch.inf).flatten(1), self.candidates)
        every_bin = index[:, None].expand(-1, BINS, -1)
        bins = maps.flatten(2).gather(2, every_bin).argmax(dim=1)
        row = index // size[1]
        return self._proposals(torch.stack((index - row * size[1], row), dim=2), bins, scores, size)

    def labelled(self, boxes: Tensor, size: tuple[int, int]) -> Proposals:
        """Of a box's own cell and bin; a box too small for bin 0 gets that."""
        return self._proposals(centre_cells(boxes, size), self._bins(boxes), has_area(boxes), size)

    def loss(self, maps: Tensor, faces: Faces, complete: Tensor) -> dict[str, Term]:
        """The term ``scale``: Eq. 4 over the elements that count.

        Cells on ignored faces do not, save targets of other faces; nor, where labels are incomplete, do confident
        cells off all labels.
        """
        batch, _, height, width = maps.shape
        image, face = faces.wanted.nonzero(as_tuple=True)
        x, y = centre_cells(faces.boxes, (height, width))[image, face].unbind(dim=1)
        cells = Cells(image, x, y, self._bins(faces.boxes)[image, face])
        places, target = scale_targets(cells, (batch, height, width), self.config)
        unlabelled = self.loss_config.unlabelled_score
        counted = background(_over_bins(maps), faces, faces.ignored, complete, unlabelled)
        total, count = sparse_cross_entropy(maps, places, target, counted)
        return {"scale": Term(self.loss_config.scale * total, count)}

    def _bins(self, boxes: Tensor) -> Tensor:
        return face_bins((boxes[..., 2:] - boxes[..., :2]).amax(dim=-1), self.config).clamp(min=0)

    def _proposals(self, cells: Tensor, bins: Tensor, scores: Tensor, size: tuple[int, int]) -> Proposals:
        """Of ``bins`` (B, N) at ``cells`` (B, N, 2)."""
        sides = bin_sides(bins, self.config)
        centre, half = (cells + 0.5) * STRIDE, sides[..., None] / 2
        return Proposals(
            cell_windows(cells, sides / STRIDE, size), scores, torch.cat((centre - half, centre + half), dim=-1)
        )


def _over_bins(logits: Tensor) -> Tensor:
    """(B, BINS, H, W) -> (B, H, W) maxima; in quarters first, which onnxruntime does four times as fast."""
    return reduce(torch.maximum, logits.chunk(4, dim=1)).amax(dim=1)
