from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.detectors.kpnet.config import KPNetLossConfig, RPNConfig
from facesmith.detectors.kpnet.losses import Faces
from facesmith.detectors.kpnet.rpn import BACKGROUND, BETA, FORCED, NEGATIVES, RPN
from facesmith.detectors.parts.anchors import anchor_boxes, decode_boxes, encode_boxes, make_anchors
from facesmith.detectors.parts.assigners import overlaps

SIZE = (36, 44)
"""Of the features."""


@pytest.fixture
def rpn() -> RPN:
    return RPN(RPNConfig(), KPNetLossConfig(), 8, 12)


def random_map(rpn: RPN, seed: int = 0) -> Tensor:
    """A map with scores of all sizes and boxes that lie on one another."""
    torch.manual_seed(seed)
    maps = torch.randn(2, rpn.head.out_channels, 9, 11)
    maps[:, :11] -= 1
    maps[:, 7:9] += 2  # anchors of 90 and 128 pixels, 8 apart
    maps[:, 11:] *= 0.3
    return maps


def rows(rpn: RPN, maps: Tensor, image: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, codes and anchors of one image, an anchor at a time."""
    count = rpn.anchors.per_cell
    logits, codes = [], []
    for y in range(maps.shape[2]):
        for x in range(maps.shape[3]):
            for a in range(count):
                logits.append(maps[image, a, y, x])
                codes.append(maps[image, count + 4 * a : count + 4 * a + 4, y, x])
    anchors = make_anchors(rpn.anchors, [(maps.shape[2], maps.shape[3])], maps.device)
    return torch.stack(logits), torch.stack(codes), anchors


def faces_of(boxes: list[list[float]], ignored: list[bool]) -> Faces:
    """Two images, the second without faces."""
    padded = torch.zeros(2, len(boxes), 4)
    padded[0] = torch.tensor(boxes)
    left, there = torch.tensor([ignored, [False] * len(boxes)]), torch.tensor([[True], [False]])
    return Faces(padded, torch.zeros(2, len(boxes), 5, 2), there & ~left, left)


def test_the_map_has_the_anchors_stride(rpn: RPN) -> None:
    assert rpn(torch.zeros(1, 8, *SIZE)).shape == (1, 55, 9, 11)
    assert rpn(torch.zeros(1, 8, 1, 1)).shape == (1, 55, 1, 1)
    assert RPN(RPNConfig(stride=2), KPNetLossConfig(), 8, 12)(torch.zeros(1, 8, 5, 7)).shape == (1, 55, 5, 7)


def test_proposals_are_the_best_boxes_that_no_better_one_covers(rpn: RPN) -> None:
    maps = random_map(rpn)
    proposed = rpn.propose(maps, SIZE)
    for image in range(2):
        logits, codes, anchors = rows(rpn, maps, image)
        order = logits.argsort(descending=True)[: 3 * 12]
        boxes = decode_boxes(codes[order], anchors[order], rpn.anchors)
        iou = overlaps(boxes, boxes)[1]
        kept = [i for i in range(len(boxes)) if not (iou[i, :i] > 0.7).any()]
        assert len(kept) < len(boxes), "something is covered"
        for n, i in enumerate(kept[:12]):
            low, high = boxes[i, :2], boxes[i, 2:]
            half = (high - low).amax().clamp(max=256) / 2
            square = torch.cat(((low + high) / 2 - half, (low + high) / 2 + half))
            torch.testing.assert_close(proposed.squares[image, n], square)
            torch.testing.assert_close(proposed.scores[image, n], logits[order[i]].sigmoid())
    windows = proposed.windows
    assert (windows[..., :2] >= 0).all()
    assert (windows[..., 2:] <= torch.tensor([SIZE[1], SIZE[0]])).all()
    assert (windows[..., 2:] - windows[..., :2]).amax() <= rpn.longest
    assert (windows[..., 2:] - windows[..., :2]).amin() >= 1


def test_a_label_would_propose_its_own_square(rpn: RPN) -> None:
    given = rpn.labelled(torch.tensor([[[10.0, 20, 30, 60]]]), SIZE)
    assert given.squares.tolist() == [[[0, 20, 40, 60]]]
    assert given.windows.tolist() == [[[0, 10, 20, 30]]]


@pytest.mark.parametrize("ignored", [[False, False, False], [False, True, False]])
def test_the_loss_of_a_plain_loop(rpn: RPN, ignored: list[bool]) -> None:
    maps, faces = random_map(rpn), faces_of([[10, 12, 40, 44], [50, 20, 61, 32], [3, 50, 13, 60]], ignored)
    terms = rpn.loss(maps, faces, torch.tensor([True, True]))
    box, positive, negative = torch.zeros(()), [], []
    for image in range(2):
        logits, codes, anchors = rows(rpn, maps, image)
        squares = anchor_boxes(anchors)
        labels = [n for n in range(3) if bool(faces.wanted[image, n] | faces.ignored[image, n])]
        iou = overlaps(squares, faces.boxes[image])[1][:, labels] if labels else torch.zeros(len(anchors), 1)
        shared = overlaps(squares, faces.boxes[image])[0]
        forced = {int(iou[:, n].argmax()): n for n in labels if not ignored[n] and iou[:, n].amax() >= FORCED}
        for a in range(len(anchors)):
            best, n = iou[a].max(dim=0)
            if a in forced or (best >= 0.5 and not ignored[int(n)]):
                n = forced.get(a, int(n))
                positive.append(logits[a])
                error = codes[a] - encode_boxes(faces.boxes[image, n][None], anchors[a][None], rpn.anchors)[0]
                box = box + F.smooth_l1_loss(error, torch.zeros(4), beta=BETA, reduction="sum")
            elif best < 0.3:
                side = anchors[a, 2]
                areas = (faces.boxes[image, :, 2:] - faces.boxes[image, :, :2]).prod(dim=1)
                hidden = [n for n in labels if ignored[n] and shared[a, n] >= areas[n] / 2 and side**2 <= 16 * areas[n]]
                negative += [] if hidden else [logits[a]]
    assert len(positive) >= 2
    hard = F.softplus(torch.stack(negative)).sort(descending=True).values
    hard = hard[: NEGATIVES * len(positive) + 2 * BACKGROUND]
    total = hard.sum() + F.softplus(-torch.stack(positive)).sum()
    torch.testing.assert_close(terms["objectness"].total, total)
    assert terms["objectness"].number == len(positive) + len(hard)
    torch.testing.assert_close(terms["box"].total, box)
    assert terms["box"].number == len(positive)


def test_confident_anchors_count_only_where_labels_are_complete(rpn: RPN) -> None:
    maps, faces = random_map(rpn), faces_of([[10, 12, 40, 44]], [False])
    maps[1, 3, 5, 5] = 9.0
    complete = rpn.loss(maps, faces, torch.tensor([True, True]))["objectness"].total
    lacking = rpn.loss(maps, faces, torch.tensor([True, False]))["objectness"].total
    assert complete - lacking > 5


def test_smaller_thresholds_make_more_positives() -> None:
    faces = faces_of([[10, 12, 40, 44]], [False])
    numbers = []
    for positive in (0.7, 0.5, 0.35):
        rpn = RPN(replace(RPNConfig(), positive=positive), KPNetLossConfig(), 8, 12)
        numbers.append(float(rpn.loss(random_map(rpn), faces, torch.ones(2).bool())["box"].number))
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[2]
