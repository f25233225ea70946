"""RetinaFace (Deng et al. 2019, arXiv 1905.00641): single-stage face detection with five landmarks.

Backbone -> FPN -> SSH context a level -> heads shared by all levels (class, box, landmarks).
The configuration says which backbone, which levels and whether the 3×3 layers of FPN and context are deformable.
The two-class softmax of the paper is one logit here (the same function with half the weights).
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.parts.anchors import (
    anchor_boxes,
    decode_boxes,
    decode_landmarks,
    encode_boxes,
    encode_landmarks,
    make_anchors,
)
from facesmith.detectors.parts.assigners import NEGATIVE, POSITIVE, match
from facesmith.detectors.parts.backbone import Backbone
from facesmith.detectors.parts.context import SSHContext
from facesmith.detectors.parts.convolution import ConvUnit
from facesmith.detectors.parts.deformable import DeformableConv2d, DeformableUnit
from facesmith.detectors.parts.fpn import FPN
from facesmith.detectors.parts.losses import hard_negatives, process_count, smooth_l1, total_over_processes
from facesmith.detectors.parts.mobilenet import MobileNet
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.parts.resnet import ResNet
from facesmith.detectors.parts.topk import top_candidates
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.mesh.branch import MeshBranch, MeshMaps, Positives
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError


class RetinaFaceMaps(NamedTuple):
    """Raw outputs for all A anchors of all levels: logits (B, A), codes of boxes (B, A, 4) and landmarks
    (B, A, 10); ``sizes`` holds (height, width) of each level's map; ``mesh`` is what the mesh branch needs, if there
    is one.
    """

    logits: Tensor
    boxes: Tensor
    landmarks: Tensor
    sizes: tuple[tuple[int, int], ...]
    mesh: MeshMaps | None = None


class RetinaFace(DetectorNetwork):
    """Images to faces; see the module's docstring.

    Raises:
        ConfigError: anchors and pyramid differ in their strides.
    """

    backbone: Backbone
    mean: Tensor
    scale: Tensor

    def __init__(self, config: RetinaFaceConfig) -> None:
        super().__init__()
        self.config = config
        parts = config.backbone
        self.backbone = MobileNet(parts) if isinstance(parts, MobileNetConfig) else ResNet(parts)
        taps, extra = self.backbone.taps, config.extra_levels
        strides = (*(tap.stride for tap in taps), *(taps[-1].stride * 2 ** (i + 1) for i in range(extra)))
        if strides != config.anchors.strides:
            raise ConfigError(f"anchors expect strides {config.anchors.strides}, the pyramid has {strides}")
        unit = DeformableUnit if config.deformable else ConvUnit
        self.neck = FPN([tap.channels for tap in taps], config.channels, extra=extra, unit=unit)
        self.context = nn.ModuleList(SSHContext(config.channels, config.channels, unit=unit) for _ in strides)
        self.head = nn.Conv2d(config.channels, config.anchors.per_cell * 15, 1)
        for name in ("mean", "scale"):
            per_channel = torch.tensor(getattr(config, name), dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, per_channel, persistent=False)
        self._initialise()
        self.mesh = MeshBranch(config.channels, config.anchors.per_cell, config.mesh) if config.mesh else None
        if config.mesh and config.mesh.alone:
            self.requires_grad_(False)
            assert self.mesh is not None
            self.mesh.head.requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """As of any module; but where the mesh branch is trained alone, batch-norm statistics stay as they are."""
        alone = self.config.mesh is not None and self.config.mesh.alone
        return super().train(mode and not alone)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | DeformableConv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, DeformableConv2d):
                module.reset_offsets()
        for module in self.neck.extra.modules():  # paper, section 4.2: P6 by the Xavier method
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():  # faces are rare: start at a score of 0.01 (Lin et al. 2017, focal loss)
            self.head.bias[: self.config.anchors.per_cell] = -4.6

    def forward(self, images: Tensor) -> RetinaFaceMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps."""
        x = (images.float() - self.mean) * self.scale
        levels = self.neck(self.backbone(x.contiguous(memory_format=torch.channels_last)))
        per_cell = self.config.anchors.per_cell
        rows, features = [], []
        for level, context in zip(levels, self.context, strict=True):
            seen = context(level)
            features.append(seen.flatten(2))
            out = self.head(seen).permute(0, 2, 3, 1)  # (B, h, w, per_cell * 15)
            logits, codes = out[..., :per_cell], out[..., per_cell:]
            rows.append(
                torch.cat((logits.unflatten(-1, (per_cell, 1)), codes.unflatten(-1, (per_cell, 14))), -1).flatten(1, 3)
            )
        maps = torch.cat(rows, dim=1).float()
        sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
        mesh = MeshMaps(images, torch.cat(features, dim=2).transpose(1, 2)) if self.mesh else None
        return RetinaFaceMaps(maps[..., 0], maps[..., 1:5], maps[..., 5:], sizes, mesh)

    def loss(self, maps: RetinaFaceMaps, targets: Targets) -> dict[str, Tensor]:
        """The weighted terms ``class``, ``box``, ``landmark`` (Eq. 1), divided by their numbers of positives, and those
        of the mesh branch (:meth:`MeshBranch.loss`), which are all where it is trained alone.

        Faces without landmarks train class and box only. Hard negatives are mined over the whole batch, so
        that pictures without faces teach as well. In a distributed run positives are counted and negatives
        mined over all processes; the mean of their losses (and so DistributedDataParallel's mean gradient) is
        then that of one process with the whole batch.
        """
        config = self.config.loss
        anchors = make_anchors(self.config.anchors, maps.sizes, maps.logits.device)
        boxes = anchor_boxes(anchors)
        matches = [
            match(boxes, faces, ignored, self.config.match)
            for faces, ignored in zip(targets.boxes, targets.ignored, strict=True)
        ]
        label = torch.stack([m.label for m in matches])  # (B, A)
        image, anchor = (label == POSITIVE).nonzero(as_tuple=True)
        starts = torch.tensor([0, *(len(b) for b in targets.boxes)], device=label.device).cumsum(0)
        face = torch.stack([m.face for m in matches])[image, anchor] + starts[image]
        box, points = torch.cat(list(targets.boxes))[face], torch.cat(list(targets.landmarks))[face]
        known = points.isfinite().all(dim=2).all(dim=1)

        mesh: dict[str, Tensor] = {}
        if self.mesh is not None:
            assert maps.mesh is not None
            mesh = self.mesh.loss(maps.mesh, Positives(image, anchor, boxes[anchor], box, points))
            if self.mesh.config.alone:
                return mesh

        counts = torch.tensor([len(image), int(known.sum()), len(label)], device=label.device)
        positives, with_points, images = total_over_processes(counts).tolist()
        mean_positives, mean_with_points = (max(total, 1) / process_count() for total in (positives, with_points))

        background = F.softplus(maps.logits)
        unlabelled = ~targets.complete[:, None] & (maps.logits.detach().sigmoid() > config.unlabelled_score)
        wanted = int(config.negatives_per_positive * positives) + config.background * images
        hard = hard_negatives(background.flatten(), ((label == NEGATIVE) & ~unlabelled).flatten(), wanted)
        class_loss = F.softplus(-maps.logits[image, anchor]).sum() + background.flatten()[hard].sum()

        at = anchors[anchor]
        box_error = maps.boxes[image, anchor] - encode_boxes(box, at, self.config.anchors)
        box_loss = smooth_l1(box_error, config.beta).sum()

        codes = encode_landmarks(points[known], at[known], self.config.anchors)
        point_loss = smooth_l1(maps.landmarks[image, anchor][known] - codes, config.beta).sum()
        return {
            "class": class_loss / mean_positives,
            "box": config.box * box_loss / mean_positives,
            "landmark": config.landmark * point_loss / mean_with_points,
            **mesh,
        }

    def decode(self, maps: RetinaFaceMaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps -> boxes (B, K, 4), scores (B, K) falling, landmarks (B, K, 5, 2), in pixels of the input."""
        return self._decode(maps, *top_candidates(maps.logits, self.config.candidates))

    def _decode(self, maps: RetinaFaceMaps, scores: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at = make_anchors(self.config.anchors, maps.sizes, maps.logits.device)[index]
        boxes = maps.boxes.gather(1, index[..., None].expand(-1, -1, 4))
        points = maps.landmarks.gather(1, index[..., None].expand(-1, -1, 10))
        config = self.config.anchors
        return decode_boxes(boxes, at, config), scores, decode_landmarks(points, at, config)

    @property
    def export_outputs(self) -> tuple[str, ...]:
        """With a mesh branch also ``mesh`` (B, K, 144), its parameters, and ``anchors`` (B, K, 4), their squares."""
        return (*super().export_outputs, *(("mesh", "anchors") if self.mesh is not None else ()))

    def export_forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """As every detector's; with a mesh branch five tensors, see :attr:`export_outputs`."""
        if self.mesh is None:
            return super().export_forward(images)
        maps: RetinaFaceMaps = self(images.permute(0, 3, 1, 2))
        assert maps.mesh is not None
        scores, index = top_candidates(maps.logits, self.config.candidates)
        anchors = anchor_boxes(make_anchors(self.config.anchors, maps.sizes, maps.logits.device))[index]
        return *self._decode(maps, scores, index), self.mesh(maps.mesh.features, index), anchors

    def start_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Also those of a network without the mesh branch, which then stays as it is."""
        if not any(name.startswith("mesh.") for name in tensors):
            tensors = {**{k: v for k, v in self.state_dict().items() if k.startswith("mesh.")}, **tensors}
        super().start_from(tensors)
