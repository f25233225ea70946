"""KPNet (Song et al., AAAI 2020): faces from their keypoints.

Backbone -> a scale map (is a face of this size centred here?) and heat maps of landmarks, both at stride 2.
A proposal is a cell and a size; the soft-argmax of the heat in its window gives the landmarks, and these the box.
The configuration exchanges either part for what the paper's ablations compare it with.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.kpnet.backbones import BACKBONES
from facesmith.detectors.kpnet.boxes import LandmarkBoxes
from facesmith.detectors.kpnet.config import KPNetConfig, KPNetLossConfig, RPNConfig, ScaleConfig
from facesmith.detectors.kpnet.landmarks import HEADS
from facesmith.detectors.kpnet.losses import labelled_faces, means
from facesmith.detectors.kpnet.proposals import Proposals, Proposer
from facesmith.detectors.kpnet.rpn import RPN
from facesmith.detectors.kpnet.scale_map import ScaleMap
from facesmith.detectors.types import Targets
from facesmith.faces import FIVE_OF

PROPOSERS: dict[type[Any], Callable[[Any, KPNetLossConfig, int, int], Proposer]] = {
    ScaleConfig: ScaleMap,
    RPNConfig: RPN,
}
"""Configuration -> its class. That takes it, the loss's, the features' channels, and the number of proposals."""


class KPNetMaps(NamedTuple):
    """Raw maps: what the proposer made, for the scale map logits (B, 60, H, W); what the landmark head made
    (B, C, H, W), at stride 2."""

    proposals: Tensor
    landmarks: Tensor


class KPNet(DetectorNetwork):
    """Images to faces; see the module's docstring."""

    def __init__(self, config: KPNetConfig) -> None:
        super().__init__()
        self.config = config
        self.usual_size = str(config.proposals.side)
        self.backbone = BACKBONES[type(config.backbone)](config.backbone)
        channels = self.backbone.channels
        proposer = PROPOSERS[type(config.proposals)]
        self.proposals = proposer(config.proposals, config.loss, channels, config.candidates)
        head = HEADS[type(config.landmarks)]
        self.landmarks = head(config.landmarks, config.loss, channels, config.points, self.proposals.longest)
        self.boxes = LandmarkBoxes(config.box_style)
        self.five: Tensor
        self.register_buffer("five", torch.tensor(FIVE_OF[config.points]), persistent=False)

    def forward(self, images: Tensor) -> KPNetMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps; those at stride 2 are ceil(H / 2) × ceil(W / 2)."""
        x = ((images.float() - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        features = self.backbone(x)
        return KPNetMaps(self.proposals(features).float(), self.landmarks(features).float())

    def loss(self, maps: KPNetMaps, targets: Targets) -> dict[str, Tensor]:
        """The proposer's terms (``scale``: Eq. 4) and ``keypoint`` (Eq. 7, the mean over faces with landmarks).

        All are weighted. Windows of keypoints are what the faces' own boxes would propose. Ignored faces and faces
        below 1/64 of the training side teach nothing. In a distributed run terms are divided by the mean count of a
        process.

        Raises:
            ConfigError: the labels' number of landmarks is not the network's.
        """
        faces = labelled_faces(targets, self.config.points, self.config.proposals.side)
        terms = self.proposals.loss(maps.proposals, faces, targets.complete)
        own = self.labelled(maps, faces.boxes)
        return means(terms | {"keypoint": self.landmarks.loss(maps.landmarks, faces, own, targets.complete)})

    def decode(self, maps: KPNetMaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps -> boxes (B, K, 4), scores (B, K) falling, landmarks (B, K, 5, 2), in pixels of the input.

        A score is P / (P + ``even``), which falls and rises with the P of Eq. 8.
        """
        return self.locate(maps, self.propose(maps))

    def propose(self, maps: KPNetMaps) -> Proposals:
        """The best ``candidates`` of the proposer."""
        return self.proposals.propose(maps.proposals, _size(maps))

    def labelled(self, maps: KPNetMaps, boxes: Tensor) -> Proposals:
        """What faces' own boxes (B, N, 4), in pixels, would propose at best (Table 3's ground-truth boxes): score 1.

        A box without area, as padding is, has score 0.
        """
        return self.proposals.labelled(boxes, _size(maps))

    def locate(self, maps: KPNetMaps, proposals: Proposals) -> tuple[Tensor, Tensor, Tensor]:
        """Landmarks of N proposals, and what follows from them: what ``decode`` gives, N rows an image."""
        landmarks, gain = self.landmarks.extract(maps.landmarks, proposals)
        p = proposals.scores + gain * (proposals.scores > self.config.proposal_score)
        scores, order = (p / (p + self.config.even)).topk(p.shape[1], dim=1)
        landmarks = landmarks.index_select(2, self.five)
        landmarks = landmarks.gather(1, order[..., None, None].expand(-1, -1, 5, 2))
        return self.boxes(landmarks), scores, landmarks


def _size(maps: KPNetMaps) -> tuple[int, int]:
    """Height and width of the features."""
    return maps.landmarks.shape[2], maps.landmarks.shape[3]
