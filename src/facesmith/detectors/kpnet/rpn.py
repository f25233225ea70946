"""Proposals by an anchor-based region proposal network (Ren et al. 2015), Table 6's top-down baseline."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.kpnet.config import STRIDE, KPNetLossConfig, RPNConfig
from facesmith.detectors.kpnet.losses import Faces, Term
from facesmith.detectors.kpnet.proposals import Proposals, Proposer, has_area
from facesmith.detectors.kpnet.scales import longest_window
from facesmith.detectors.kpnet.windows import square_windows
from facesmith.detectors.parts.anchors import AnchorConfig, anchor_boxes, decode_boxes, encode_boxes, make_anchors
from facesmith.detectors.parts.assigners import NEGATIVE, POSITIVE, MatchConfig, match
from facesmith.detectors.parts.losses import hard_negatives, smooth_l1, total_over_processes
from facesmith.detectors.parts.topk import top_candidates

PRIOR_LOGIT = -4.6
"""Bias of the objectness before training: one anchor in a hundred."""

FORCED = 0.2
"""A face whose best anchor has at least this IoU gets that anchor: small faces lie between anchors."""

NEGATIVES = 3
"""Hard negatives a positive."""

BACKGROUND = 16
"""Hard negatives an image beside these, so that images without faces teach too."""

BETA = 1 / 9
"""Where smooth-L1 turns linear, as in Faster R-CNN's RPN."""

BEFORE = 3
"""Anchors that meet for every proposal that leaves, the best first."""


class RPN(Proposer):
    """Features pooled to the anchors' stride, and one 3×3 convolution to an objectness and a box code an anchor.

    It has as many layers as the scale map, and about as many parameters.

    Args:
        config: see there.
        loss: the score of anchors that may be unlabelled faces.
        channels: of the features.
        candidates: proposals an image.
    """

    def __init__(self, config: RPNConfig, loss: KPNetLossConfig, channels: int, candidates: int) -> None:
        super().__init__()
        self.config, self.loss_config, self.candidates = config, loss, candidates
        self.longest = longest_window(config.side)
        self.anchors = AnchorConfig(strides=(config.stride,), sides=(config.sides,))
        self.match = MatchConfig(config.positive, config.negative, FORCED)
        self.head = nn.Conv2d(channels, self.anchors.per_cell * 5, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        nn.init.constant_(self.head.bias[: self.anchors.per_cell], PRIOR_LOGIT)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 5 · anchors a cell, h, w) at the anchors' stride: all logits, then codes."""
        factor = self.config.stride // STRIDE
        pooled = F.max_pool2d(features, factor, ceil_mode=True) if factor > 1 else features
        out: Tensor = self.head(pooled)
        return out

    def propose(self, maps: Tensor, size: tuple[int, int]) -> Proposals:
        """The best anchors' boxes, made square around their centres.

        A box goes if it overlaps a better one. (Greedy suppression would let it stay where that one went itself; this
        needs no loop and so is exported.)
        """
        logits, codes, anchors = self._rows(maps)
        scores, index = top_candidates(logits, BEFORE * self.candidates)
        boxes = decode_boxes(codes.gather(1, index[..., None].expand(-1, -1, 4)), anchors[index], self.anchors)
        worse = torch.ones(scores.shape[1], scores.shape[1], dtype=torch.bool, device=maps.device).tril(-1)
        goes = ((_overlaps(boxes) > self.config.overlap) & worse).any(dim=2)
        scores, rank = scores.masked_fill(goes, 0).topk(self.candidates, dim=1)
        boxes = boxes.gather(1, rank[..., None].expand(-1, -1, 4))
        return self._proposals(boxes, scores, size)

    def labelled(self, boxes: Tensor, size: tuple[int, int]) -> Proposals:
        """The boxes themselves, made square."""
        return self._proposals(boxes, has_area(boxes), size)

    def loss(self, maps: Tensor, faces: Faces, complete: Tensor) -> dict[str, Term]:
        """``objectness`` over positive anchors and hard negatives, ``box`` (smooth-L1 of codes) over positives."""
        logits, codes, anchors = self._rows(maps)
        there, squares = faces.wanted | faces.ignored, anchor_boxes(anchors)
        matches = [
            match(squares, boxes[rows], ignored[rows], self.match)
            for boxes, ignored, rows in zip(faces.boxes, faces.ignored, there, strict=True)
        ]
        label = torch.stack([m.label for m in matches])  # (B, A)
        image, anchor = (label == POSITIVE).nonzero(as_tuple=True)
        face = torch.stack([m.face for m in matches])[image, anchor]  # padding comes last, so that rows are the same
        wanted = encode_boxes(faces.boxes[image, face], anchors[anchor], self.anchors)
        box = smooth_l1(codes[image, anchor] - wanted, BETA).sum()

        counts = torch.tensor([len(image), len(label)], device=maps.device)
        positives, images = total_over_processes(counts).tolist()
        unlabelled = ~complete[:, None] & (logits.detach().sigmoid() > self.loss_config.unlabelled_score)
        cost = F.softplus(logits)
        candidates = (label == NEGATIVE) & ~unlabelled
        hard = hard_negatives(cost.flatten(), candidates.flatten(), NEGATIVES * positives + BACKGROUND * images)
        objectness = F.softplus(-logits[image, anchor]).sum() + cost.flatten()[hard].sum()
        number = maps.new_tensor(float(len(image)), dtype=torch.float32)
        return {"objectness": Term(objectness, number + hard.sum()), "box": Term(box, number)}

    def _rows(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, A) and codes (B, A, 4) of all anchors, and these (A, 3)."""
        count = self.anchors.per_cell
        rows = maps.permute(0, 2, 3, 1)
        codes = rows[..., count:].unflatten(-1, (count, 4)).flatten(1, 3)  # type: ignore[no-untyped-call]
        anchors = make_anchors(self.anchors, [(maps.shape[2], maps.shape[3])], maps.device)
        return rows[..., :count].flatten(1), codes, anchors

    def _proposals(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Proposals:
        low, high = boxes[..., :2], boxes[..., 2:]
        centre, half = (low + high) / 2, (high - low).amax(dim=-1, keepdim=True).clamp(max=self.config.side) / 2
        squares = torch.cat((centre - half, centre + half), dim=-1)
        return Proposals(square_windows(squares, size), scores, squares)


def _overlaps(boxes: Tensor) -> Tensor:
    """(B, N, 4) -> (B, N, N) IoUs of an image's boxes with each other."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=3)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=2)
    return shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1e-9)
