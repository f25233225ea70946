"""KPNet (Song et al., AAAI 2020): faces from their keypoints.

Backbone -> a scale map (is a face of this size centred here?) and heat maps of landmarks, both at stride 2.
A proposal is a cell and a size; the soft-argmax of the heat in its window gives the landmarks, and these the box.
"""

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.kpnet.backbones import DRNet, Hourglass
from facesmith.detectors.kpnet.boxes import LandmarkBoxes
from facesmith.detectors.kpnet.config import BINS, FIVE_OF, STRIDE, DRNetConfig, KPNetConfig
from facesmith.detectors.kpnet.landmarks import HEADS
from facesmith.detectors.kpnet.scales import (
    Cells,
    bin_sides,
    centre_cells,
    covered,
    face_bins,
    longest_window,
    scale_targets,
)
from facesmith.detectors.kpnet.windows import cell_windows
from facesmith.detectors.parts.losses import process_count, total_over_processes
from facesmith.detectors.parts.topk import top_candidates
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError

PRIOR_LOGIT = -11.0
"""Bias of the scale map before training: about one element in 100,000 belongs to a face. A greater one makes the first
steps push all features down, until some are silent."""


class KPNetMaps(NamedTuple):
    """Raw maps at stride 2: logits of the scale map (B, 60, H, W); what the landmark head made (B, C, H, W)."""

    scales: Tensor
    landmarks: Tensor


class Proposals(NamedTuple):
    """N faces an image by centre and size: cells (B, N, 2) int64 x, y; bins (B, N) int64; scores P_s (B, N)."""

    cells: Tensor
    bins: Tensor
    scores: Tensor


class _Faces(NamedTuple):
    """The faces of a batch side by side, padded to N an image."""

    boxes: Tensor  # (B, N, 4)
    landmarks: Tensor  # (B, N, K, 2)
    cells: Tensor  # (B, N, 2)
    bins: Tensor  # (B, N)
    wanted: Tensor  # (B, N) bool: to be learnt
    ignored: Tensor  # (B, N) bool: to be left alone


class KPNet(DetectorNetwork):
    """Images to faces; see the module's docstring."""

    def __init__(self, config: KPNetConfig) -> None:
        super().__init__()
        self.config = config
        self.usual_size = str(config.scales.side)
        backbone = config.backbone
        self.backbone = DRNet(backbone) if isinstance(backbone, DRNetConfig) else Hourglass(backbone)
        channels = self.backbone.channels
        self.scales = nn.Conv2d(channels, BINS, 3, padding=1)
        head = HEADS[type(config.landmarks)]
        self.landmarks = head(config.landmarks, channels, config.points, longest_window(config.scales))
        self.boxes = LandmarkBoxes(config.box_style)
        self.five: Tensor
        self.register_buffer("five", torch.tensor(FIVE_OF[config.points]), persistent=False)
        nn.init.normal_(self.scales.weight, std=0.001)
        assert self.scales.bias is not None
        nn.init.constant_(self.scales.bias, PRIOR_LOGIT)

    def forward(self, images: Tensor) -> KPNetMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps of ceil(H / 2) × ceil(W / 2)."""
        x = ((images.float() - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        features = self.backbone(x)
        return KPNetMaps(self.scales(features).float(), self.landmarks(features).float())

    def loss(self, maps: KPNetMaps, targets: Targets) -> dict[str, Tensor]:
        """The weighted terms ``scale`` (Eq. 4) and ``keypoint`` (Eq. 7, the mean over faces with landmarks).

        Windows of keypoints are what the faces' own cells and bins would propose. Cells on ignored faces and on
        faces smaller than bin 0 do not count in Eq. 4, save targets of other faces; nor, where labels are
        incomplete, do confident cells off all labels. In a distributed run both terms are divided by the mean
        count of a process.

        Raises:
            ConfigError: the labels' number of landmarks is not the network's.
        """
        faces = self._faces(maps, targets)
        scale = self._scale_terms(maps.scales, faces, targets.complete)
        keypoint = self._keypoint_terms(maps, faces)
        counts = torch.stack((scale[1], keypoint.new_tensor(float(len(keypoint)))))
        elements, points = (total_over_processes(counts) / process_count()).clamp(min=1e-6)
        config = self.config.loss
        return {"scale": config.scale * scale[0] / elements, "keypoint": config.keypoint * keypoint.sum() / points}

    def decode(self, maps: KPNetMaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps -> boxes (B, K, 4), scores (B, K) falling, landmarks (B, K, 5, 2), in pixels of the input.

        A score is P / (1 + P), which falls and rises with the P of Eq. 8: .5 where P is 1.
        """
        return self.locate(maps, self.propose(maps))

    def propose(self, maps: KPNetMaps) -> Proposals:
        """The best 3×3 peaks of the best bin of each cell, ``candidates`` an image, falling; the rest has score 0."""
        best = _over_bins(maps.scales)  # (B, H, W)
        peaks = best == F.max_pool2d(best[:, None], 3, stride=1, padding=1)[:, 0]
        scores, index = top_candidates(best.masked_fill(~peaks, -torch.inf).flatten(1), self.config.candidates)
        every_bin = index[:, None].expand(-1, BINS, -1)
        bins = maps.scales.flatten(2).gather(2, every_bin).argmax(dim=1)
        width = maps.scales.shape[3]
        row = index // width
        return Proposals(torch.stack((index - row * width, row), dim=2), bins, scores)

    def locate(self, maps: KPNetMaps, proposals: Proposals) -> tuple[Tensor, Tensor, Tensor]:
        """Landmarks of N proposals, and what follows from them: what ``decode`` gives, N rows an image."""
        landmarks, gain = self.landmarks.extract(maps.landmarks, self._windows(proposals.cells, proposals.bins, maps))
        p = proposals.scores + gain * (proposals.scores > self.config.proposal_score)
        scores, order = (p / (1 + p)).topk(p.shape[1], dim=1)
        landmarks = landmarks.index_select(2, self.five)
        landmarks = landmarks.gather(1, order[..., None, None].expand(-1, -1, 5, 2))
        return self.boxes(landmarks), scores, landmarks

    def _windows(self, cells: Tensor, bins: Tensor, maps: KPNetMaps) -> Tensor:
        """(B, N, 4) windows of proposals at ``cells`` (B, N, 2) of ``bins`` (B, N)."""
        height, width = maps.scales.shape[2:]
        return cell_windows(cells, bin_sides(bins, self.config.scales) / STRIDE, (height, width))

    def _faces(self, maps: KPNetMaps, targets: Targets) -> _Faces:
        boxes = pad_sequence(list(targets.boxes), batch_first=True)
        landmarks = pad_sequence(list(targets.landmarks), batch_first=True, padding_value=torch.nan)
        if landmarks.shape[2] != self.config.points:
            raise ConfigError(f"labels have {landmarks.shape[2]} landmarks a face, the network {self.config.points}")
        there = pad_sequence([torch.ones_like(ignored) for ignored in targets.ignored], batch_first=True)
        ignored = pad_sequence(list(targets.ignored), batch_first=True)
        bins = face_bins((boxes[..., 2:] - boxes[..., :2]).amax(dim=2), self.config.scales)
        wanted = there & ~ignored & (bins >= 0)
        height, width = maps.scales.shape[2:]
        cells = centre_cells(boxes, (height, width))
        return _Faces(boxes, landmarks, cells, bins, wanted, there & ~wanted)

    def _scale_terms(self, logits: Tensor, faces: _Faces, complete: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 4 summed over the elements that count, and their number.

        Cross entropy is softplus(z) - p z, and p is 0 but in a few places.
        """
        batch, bins, height, width = logits.shape
        image, face = faces.wanted.nonzero(as_tuple=True)
        x, y = faces.cells[image, face].unbind(dim=1)
        cells = Cells(image, x, y, faces.bins[image, face])
        places, target = scale_targets(cells, (batch, height, width), self.config.scales)
        counted = self._counted(logits, faces, complete)  # (B, H, W)
        cell = places // (bins * height * width) * (height * width) + places % (height * width)
        extra = ~counted.flatten()[cell]  # targets in cells that do not count
        at = logits.flatten()[places]
        loss = (F.softplus(logits).sum(dim=1) * counted).sum() + (F.softplus(at) * extra - target * at).sum()
        return loss, (counted.sum() * bins + extra.sum()).float()

    def _counted(self, logits: Tensor, faces: _Faces, complete: Tensor) -> Tensor:
        """(B, H, W) bool: which cells teach background."""
        size = (logits.shape[2], logits.shape[3])
        left_out = covered(faces.boxes, faces.ignored, size)
        if not complete.all():
            sure = _over_bins(logits.detach()[~complete]).sigmoid() > self.config.loss.unlabelled_score
            left_out[~complete] |= sure & ~covered(faces.boxes, faces.wanted, size)[~complete]
        return ~left_out

    def _keypoint_terms(self, maps: KPNetMaps, faces: _Faces) -> Tensor:
        """The terms of Eq. 7, for the faces that have landmarks and are to be learnt."""
        known = faces.wanted & faces.landmarks.isfinite().all(dim=3).all(dim=2)
        # They come first, so that windows are made for few others.
        order = known.int().argsort(dim=1, descending=True, stable=True)[:, : max(int(known.sum(dim=1).max()), 1)]
        image = torch.arange(len(order), device=order.device)[:, None]
        windows = self._windows(faces.cells[image, order], faces.bins[image, order], maps)
        return self.landmarks.errors(maps.landmarks, windows, faces.landmarks[image, order], known[image, order])


def _over_bins(logits: Tensor) -> Tensor:
    """(B, BINS, H, W) -> (B, H, W) maxima; in quarters first, which onnxruntime does four times as fast."""
    return reduce(torch.maximum, logits.chunk(4, dim=1)).amax(dim=1)
