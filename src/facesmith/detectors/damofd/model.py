"""DamoFD (Liu et al., ICLR 2023): searched backbone, PAFPN, one head that all levels share.

The framework is SCRFD's (facts/damofd): two anchors a position, ATSS matching, quality focal loss, DIoU, landmarks.
Layers are built from the same description (``layers.py``) that counters and search read.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.damofd import layers
from facesmith.detectors.damofd.config import Backbone, DamoFDConfig, Stage
from facesmith.detectors.parts.anchors import AnchorConfig, anchor_boxes, make_anchors
from facesmith.detectors.parts.assigners import NEITHER, POSITIVE
from facesmith.detectors.parts.atss import match_atss
from facesmith.detectors.parts.backbone import Tap
from facesmith.detectors.parts.losses import (
    distance_iou,
    paired_iou,
    process_count,
    quality_focal,
    smooth_l1,
    total_over_processes,
)
from facesmith.detectors.parts.mobilenet import MobileNet
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.parts.pafpn import PAFPN
from facesmith.detectors.parts.topk import top_candidates
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError

ANCHORS = AnchorConfig(offset=0.0)
"""Two anchors a position, 16 and 32 pixels at stride 8 up to 512 at 32, centred at k · stride."""

XAVIER_GAIN = 3.26033
BATCH_NORM_EPS = 1e-3


class DamoFDMaps(NamedTuple):
    """Raw outputs for all A anchors: logits (B, A), boxes (B, A, 4) as l, t, r, b in strides, landmarks (B, A, 10)."""

    logits: Tensor
    boxes: Tensor
    landmarks: Tensor
    sizes: tuple[tuple[int, int], ...]


class DamoFD(DetectorNetwork):
    """Images to faces; see the module's docstring."""

    def __init__(self, config: DamoFDConfig) -> None:
        super().__init__()
        self.config = config
        if isinstance(config.backbone, MobileNetConfig):
            self.backbone: MobileNet | Stages = MobileNet(config.backbone)
        else:
            self.backbone = Stages(config.net)
        strides = tuple(tap.stride for tap in self.backbone.taps)
        if strides != ANCHORS.strides:
            raise ConfigError(f"anchors expect strides {ANCHORS.strides}, the backbone taps {strides}")
        self.neck = PAFPN([tap.channels for tap in self.backbone.taps], config.neck_channels)
        self.tower = nn.Sequential(*(_head_unit(conv, config.head_groups) for conv in layers.tower(config)))
        self.predictions = nn.ModuleList(_convolution(conv) for conv in layers.predictions(config))
        self.box_scales = nn.Parameter(torch.ones(len(ANCHORS.strides)))
        self._initialise()

    def _initialise(self) -> None:
        for part in (self.tower, self.predictions):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=0.01)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        nn.init.constant_(self.predictions[0].bias, -4.595)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> DamoFDMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps."""
        x = ((images.float() - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        levels = self.neck(self.backbone(x))
        rows: list[list[Tensor]] = []
        for level, scale in zip(levels, self.box_scales, strict=True):
            features = self.tower(level)
            logits, boxes, *points = (predict(features) for predict in self.predictions)
            rows.append([_per_anchor(m, ANCHORS.per_cell) for m in (logits, boxes * scale, *points)])
        logits, boxes, *points = (torch.cat(parts, dim=1).float() for parts in zip(*rows, strict=True))
        landmarks = points[0] if points else boxes.new_full((*boxes.shape[:2], 10), torch.nan)
        sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
        return DamoFDMaps(logits[..., 0], boxes, landmarks, sizes)

    def loss(self, maps: DamoFDMaps, targets: Targets) -> dict[str, Tensor]:
        """The weighted terms ``class`` (quality focal), ``box`` (DIoU) and ``landmark`` (smooth-L1).

        ``class`` is divided by the number of positives (in a distributed run by their mean a process). ``box``
        and ``landmark`` (the sum over ten coordinates) weigh each positive with its detached score and are divided
        by the sum of these weights.
        """
        config = self.config.loss
        anchors = make_anchors(ANCHORS, maps.sizes, maps.logits.device)
        strides = _strides(maps.sizes, maps.logits.device)
        counts = [h * w * ANCHORS.per_cell for h, w in maps.sizes]
        boxes = anchor_boxes(anchors)
        matches = [
            match_atss(boxes, counts, faces, ignored)
            for faces, ignored in zip(targets.boxes, targets.ignored, strict=True)
        ]
        label = torch.stack([m.label for m in matches])
        image, anchor = (label == POSITIVE).nonzero(as_tuple=True)
        starts = torch.tensor([0, *(len(b) for b in targets.boxes)], device=label.device).cumsum(0)
        face = torch.stack([m.face for m in matches])[image, anchor] + starts[image]
        wanted = torch.cat(list(targets.boxes))[face]
        at, stride = anchors[anchor], strides[anchor, None]
        predicted = _boxes_of(maps.boxes[image, anchor], at, stride)

        quality = torch.zeros_like(maps.logits)
        quality[image, anchor] = paired_iou(predicted.detach(), wanted)
        scores = maps.logits.detach().sigmoid()
        unlabelled = ~targets.complete[:, None] & (label != POSITIVE) & (scores > config.unlabelled_score)
        counted = (label != NEITHER) & ~unlabelled
        positives = float(total_over_processes(torch.tensor(float(len(image)), device=label.device)))
        focal = quality_focal(maps.logits, quality)[counted].sum() / (max(positives, 1.0) / process_count())

        weight = scores[image, anchor]
        box = (distance_iou(predicted, wanted) * weight).sum() / weight.sum().clamp(min=1e-6)
        terms = {"class": config.score * focal, "box": config.box * box}
        if self.config.landmarks:
            points = torch.cat(list(targets.landmarks))[face]
            known = points.isfinite().all(dim=2).all(dim=1)
            codes = ((points[known] - at[known, None, :2]) / stride[known, None]).flatten(1)
            error = smooth_l1(maps.landmarks[image, anchor][known] - codes, beta=1 / 9).sum(dim=1)
            terms["landmark"] = config.landmark * (error * weight[known]).sum() / weight[known].sum().clamp(min=1e-6)
        return terms

    def decode(self, maps: DamoFDMaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps -> boxes (B, K, 4), scores (B, K) falling, landmarks (B, K, 5, 2; NaN without landmark branch)."""
        scores, index = top_candidates(maps.logits, self.config.candidates)
        device = maps.logits.device
        at = make_anchors(ANCHORS, maps.sizes, device)[index]
        stride = _strides(maps.sizes, device)[index][..., None]
        boxes = _boxes_of(maps.boxes.gather(1, index[..., None].expand(-1, -1, 4)), at, stride)
        points = maps.landmarks.gather(1, index[..., None].expand(-1, -1, 10))
        points = points.reshape(*index.shape, 5, 2)
        return boxes, scores, at[..., None, :2] + points * stride[..., None]


class Stages(nn.Module):
    """The searched backbone: images to the maps at strides 8, 16, 32. ``taps`` gives their channels and strides."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stage(stage) for stage in net.stages)
        self.taps = tuple(Tap(*tap) for tap in zip(net.taps[1:], (8, 16, 32), strict=True))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight, gain=XAVIER_GAIN)
            elif isinstance(module, Residual):
                module.start_as_shortcut()

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float -> [(B, C, ceil(H / s), ceil(W / s)) for (C, s) in taps]."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[2:]


class Residual(nn.Module):
    """Convolutions with a shortcut around them, then ReLU."""

    def __init__(self, unit: layers.Unit) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(_backbone_unit(conv) for conv in unit.convs))
        self.shortcut = nn.Identity() if unit.projection is None else _backbone_unit(unit.projection)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return torch.relu(self.shortcut(x) + self.convolutions(x))

    def start_as_shortcut(self) -> None:
        """The last normalisation starts with scale 0, so that the unit starts as its shortcut."""
        last = self.convolutions[-1][1]  # type: ignore[index]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)


def _stage(stage: Stage) -> nn.Sequential:
    units = [*layers.first_units(stage)]
    for _ in range(stage.layers - 1):
        units += layers.later_units(stage)
    return nn.Sequential(
        *(Residual(unit) if unit.residual else nn.Sequential(*map(_backbone_unit, unit.convs)) for unit in units)
    )


def _convolution(conv: layers.Conv) -> nn.Conv2d:
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel,
        conv.stride,
        padding=conv.kernel // 2,
        groups=conv.groups,
        bias=conv.bias,
    )


def _backbone_unit(conv: layers.Conv) -> nn.Sequential:
    norm = [nn.BatchNorm2d(conv.out_channels, eps=BATCH_NORM_EPS)] if conv.norm else []
    return nn.Sequential(_convolution(conv), *norm, *([nn.ReLU(inplace=True)] if conv.relu else []))


def _head_unit(conv: layers.Conv, groups: int) -> nn.Sequential:
    return nn.Sequential(_convolution(conv), nn.GroupNorm(groups, conv.out_channels), nn.ReLU(inplace=True))


def _per_anchor(out: Tensor, per_cell: int) -> Tensor:
    """(B, per_cell · n, h, w) -> (B, h · w · per_cell, n)."""
    batch, channels, height, width = out.shape
    return out.permute(0, 2, 3, 1).reshape(batch, height * width * per_cell, channels // per_cell)


def _strides(sizes: Iterable[tuple[int, int]], device: torch.device) -> Tensor:
    """(A,) float32 stride of each anchor."""
    return torch.cat(
        [
            torch.full((h * w * ANCHORS.per_cell,), float(stride), device=device)
            for stride, (h, w) in zip(ANCHORS.strides, sizes, strict=True)
        ]
    )


def _boxes_of(distances: Tensor, anchors: Tensor, stride: Tensor) -> Tensor:
    """l, t, r, b in strides -> x1, y1, x2, y2 in pixels."""
    centres = anchors[..., :2]
    edges = distances * stride
    return torch.cat((centres - edges[..., :2], centres + edges[..., 2:]), dim=-1)
