"""Associative embedding (Newell et al. 2017, Law & Deng 2018) on KPNet's backbones: Table 6's bottom-up baseline.

Backbone -> for each landmark a heat map, and a map of tags that are alike for the landmarks of one face and differ
between faces. There are no proposals: the peaks of the heat maps are grouped by their tags.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.kpnet.backbones import BACKBONES
from facesmith.detectors.kpnet.boxes import LandmarkBoxes
from facesmith.detectors.kpnet.config import STRIDE, AssociativeConfig
from facesmith.detectors.kpnet.landmarks import rare_heat
from facesmith.detectors.kpnet.losses import (
    Faces,
    Term,
    keypoint_cells,
    keypoint_cross_entropy,
    labelled_faces,
    means,
)
from facesmith.detectors.parts.topk import top_candidates
from facesmith.detectors.types import Targets
from facesmith.faces import FIVE_OF

NOSE = 2
"""Which of the five landmarks each face is grown from."""


class AssociativeMaps(NamedTuple):
    """Raw maps (B, K, H, W) at stride 2: logits of the heat maps, and tags."""

    heat: Tensor
    tags: Tensor


class Associative(DetectorNetwork):
    """Images to faces; see the module's docstring."""

    def __init__(self, config: AssociativeConfig) -> None:
        super().__init__()
        self.config = config
        self.usual_size = str(config.side)
        self.backbone = BACKBONES[type(config.backbone)](config.backbone)
        self.heat = rare_heat(self.backbone.channels, config.points)
        self.tags = nn.Conv2d(self.backbone.channels, config.points, 3, padding=1)
        self.boxes = LandmarkBoxes(config.box_style)
        self.five: Tensor
        self.register_buffer("five", torch.tensor(FIVE_OF[config.points]), persistent=False)

    def forward(self, images: Tensor) -> AssociativeMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps of ceil(H / 2) × ceil(W / 2)."""
        x = ((images.float() - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        features = self.backbone(x)
        return AssociativeMaps(self.heat(features).float(), self.tags(features).float())

    def loss(self, maps: AssociativeMaps, targets: Targets) -> dict[str, Tensor]:
        """The weighted terms ``heat`` (cross entropy), ``pull`` and ``push`` (Law & Deng's Eq. 4 and 5).

        ``pull`` is the variance of a face's tags, the mean over faces with landmarks; ``push`` is by how much the mean
        tags of two faces of an image differ by less than 1, the mean over pairs.

        Raises:
            ConfigError: the labels' number of landmarks is not the network's.
        """
        config = self.config.loss
        faces = labelled_faces(targets, self.config.points, self.config.side)
        heat, number = keypoint_cross_entropy(maps.heat, faces, targets.complete, config.unlabelled_score)
        pull, push = _tag_terms(maps.tags, faces)
        return means(
            {
                "heat": Term(config.heat * heat, number),
                "pull": Term(config.pull * pull.total, pull.number),
                "push": Term(config.push * push.total, push.number),
            }
        )

    def decode(self, maps: AssociativeMaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps -> boxes (B, N, 4), scores (B, N) falling, landmarks (B, N, 5, 2), in pixels of the input.

        Each of the N (``candidates``) best 3×3 peaks of the nose's heat is a face. From each other landmark's N best
        peaks it takes the one of greatest heat among those whose tags are nearer to the nose's than ``distance``, and
        if there is none the one with the nearest tag; that adds nothing to the score, the mean of the five peaks'.
        Two faces may share a peak: later suppression of boxes leaves the better.
        """
        scores, cells, tags = self._peaks(maps)
        apart = (tags[:, :, None] - tags[:, NOSE, :, None][:, None]).abs()  # (B, 5, noses, peaks)
        near = apart < self.config.distance
        choice = torch.where(near, scores[:, :, None].expand_as(apart), -apart).argmax(dim=3)  # (B, 5, noses)
        own = torch.arange(choice.shape[2], device=choice.device)
        choice = torch.cat((choice[:, :NOSE], own.expand_as(choice[:, :1]), choice[:, NOSE + 1 :]), dim=1)
        taken = scores.gather(2, choice) * near.gather(3, choice[..., None])[..., 0]
        scores, order = (taken.mean(dim=1) * (scores[:, NOSE] > 0)).topk(choice.shape[2], dim=1)
        landmarks = cells.gather(2, choice[..., None].expand(-1, -1, -1, 2)).transpose(1, 2)  # (B, noses, 5, 2)
        landmarks = (landmarks.gather(1, order[..., None, None].expand(-1, -1, 5, 2)) + 0.5) * STRIDE
        return self.boxes(landmarks), scores, landmarks

    def _peaks(self, maps: AssociativeMaps) -> tuple[Tensor, Tensor, Tensor]:
        """The best 3×3 peaks of the five heat maps, N each: scores (B, 5, N), cells (B, 5, N, 2), tags (B, 5, N)."""
        heat, tags = maps.heat.index_select(1, self.five), maps.tags.index_select(1, self.five)
        peaks = heat == F.max_pool2d(heat, 3, stride=1, padding=1)
        logits = heat.masked_fill(~peaks, -torch.inf).flatten(2).flatten(0, 1)
        scores, index = (rows.unflatten(0, (-1, 5)) for rows in top_candidates(logits, self.config.candidates))  # type: ignore[no-untyped-call]
        row = index // heat.shape[3]
        cells = torch.stack((index - row * heat.shape[3], row), dim=3)
        return scores, cells, tags.flatten(2).gather(2, index)


def _tag_terms(tags: Tensor, faces: Faces) -> tuple[Term, Term]:
    """Pull and push of the tags (B, K, H, W) at the faces' landmarks; those outside the map do not count."""
    height, width = tags.shape[2:]
    cells, inside = keypoint_cells(faces, (height, width))  # (B, N, K, 2), (B, N, K)
    index = (cells[..., 1] * width + cells[..., 0]) * inside
    at = tags.flatten(2).gather(2, index.transpose(1, 2)).transpose(1, 2)  # (B, N, K)
    count = inside.sum(dim=2)
    there, count = count > 0, count.clamp(min=1)
    mean = (at * inside).sum(dim=2) / count
    pull = (((at - mean[..., None]) * inside).square().sum(dim=2) / count).sum()
    pairs = there[:, :, None] & there[:, None] & ~torch.eye(there.shape[1], dtype=torch.bool, device=tags.device)
    push = (F.relu(1 - (mean[:, :, None] - mean[:, None]).abs()) * pairs).sum()
    return Term(pull, there.sum().float()), Term(push, pairs.sum().float())
