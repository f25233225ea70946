"""BFBox (Liu and Tang, CVPR 2020): a searched backbone, a searched pyramid, RetinaNet's loss.

Stem (stride 4) -> conv2 … conv7 (strides 4 … 128) -> pyramid p2 … p7 (merges, receptive-field modules) -> one head that
all levels share (class, box, five landmarks; one square anchor a cell). The paper has no landmarks; they cost next to
nothing and every detector here gives them.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.bfbox.architecture import STAGES, Merge
from facesmith.detectors.bfbox.blocks import make_block
from facesmith.detectors.bfbox.config import BFBoxConfig
from facesmith.detectors.bfbox.loss import BFBoxMaps, retinanet_loss
from facesmith.detectors.bfbox.pyramid import Pyramid, gates_of
from facesmith.detectors.parts.anchors import AnchorConfig, decode_boxes, decode_landmarks, make_anchors
from facesmith.detectors.parts.assigners import MatchConfig
from facesmith.detectors.parts.convolution import ConvUnit
from facesmith.detectors.parts.topk import top_candidates
from facesmith.detectors.types import Targets

OUTPUTS = 15
"""Of the head for an anchor: logit, four of the box, ten of the landmarks."""


class BFBoxBase(DetectorNetwork):
    """All that a single network and a supernet share: everything but the blocks and the choice of merges."""

    def __init__(self, config: BFBoxConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvUnit(3, config.stem, kernel=config.stem_kernel, stride=2), nn.MaxPool2d(3, 2, padding=1)
        )
        self.pyramid = Pyramid(config.widths, config.channels, receptive_field=config.receptive_field)
        self.head = nn.Conv2d(config.channels, OUTPUTS, 1)
        self.detector = config
        strides = tuple(2**stage for stage in STAGES)
        sides = tuple((config.anchor * stride,) for stride in strides)
        self.anchors = AnchorConfig(strides, sides, centre_variance=1.0, side_variance=1.0)
        self.matching = MatchConfig(positive=config.iou, negative=config.iou, forced=config.forced)

    @abstractmethod
    def forward(self, images: Tensor) -> BFBoxMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps."""

    def detect(
        self, images: Tensor, stages: Iterable[Iterable[nn.Module]], merges: Sequence[Merge], gates: Tensor | None
    ) -> BFBoxMaps:
        """:meth:`forward` by these blocks and merges."""
        x = self.stem(((images.float() - 127.5) / 64).contiguous(memory_format=torch.channels_last))
        maps = []
        for blocks in stages:
            for block in blocks:
                x = block(x)
            maps.append(x)
        levels = self.pyramid(maps, merges, gates)
        rows = torch.cat([self.head(level).flatten(2).transpose(1, 2) for level in levels], dim=1).float()
        sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
        return BFBoxMaps(rows[..., 0], rows[..., 1:5], rows[..., 5:], sizes)

    def loss(self, maps: BFBoxMaps, targets: Targets) -> dict[str, Tensor]:
        """See :func:`facesmith.detectors.bfbox.loss.retinanet_loss`."""
        return retinanet_loss(maps, targets, anchors=self.anchors, matching=self.matching, config=self.detector.loss)

    def decode(self, maps: BFBoxMaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps -> boxes (B, K, 4), scores (B, K) falling, landmarks (B, K, 5, 2), in pixels of the input."""
        scores, index = top_candidates(maps.logits, self.detector.candidates)
        at = make_anchors(self.anchors, maps.sizes, maps.logits.device)[index]
        boxes = maps.boxes.gather(1, index[..., None].expand(-1, -1, 4))
        points = maps.landmarks.gather(1, index[..., None].expand(-1, -1, 10))
        return decode_boxes(boxes, at, self.anchors), scores, decode_landmarks(points, at, self.anchors)

    def initialise(self) -> None:
        """Random weights; every score starts at 0.01 (Lin et al. 2017: faces are rare)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[0] = -4.6


class BFBox(BFBoxBase):
    """Images to faces by one architecture; see the module's docstring.

    Attributes:
        gates: (merges with another input,) logits of the attention, in the order of the merges; ``None`` without it.
    """

    def __init__(self, config: BFBoxConfig) -> None:
        super().__init__(config)
        self.config = config
        stages, channels = [], config.stem
        for stage, (blocks, width) in enumerate(zip(config.net.stages, config.widths, strict=True)):
            made: list[nn.Module] = []
            for block in blocks:
                stride = 2 if stage and not made else 1
                made.append(make_block(block, channels, width, squeeze=config.squeeze, stride=stride))
                channels = width
            stages.append(nn.ModuleList(made))
        self.stages = nn.ModuleList(stages)
        merged = sum(merge.other is not None for merge in config.net.merges)
        self.gates = nn.Parameter(torch.zeros(merged)) if config.attention and merged else None
        self.initialise()

    def forward(self, images: Tensor) -> BFBoxMaps:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps."""
        stages = (list(stage.children()) for stage in self.stages)
        gates = None if self.gates is None else gates_of(self.gates)
        return self.detect(images, stages, self.config.net.merges, gates)
