from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.box_styles import WIDER
from facesmith.detectors.kpnet.associative import NOSE, Associative, AssociativeMaps
from facesmith.detectors.kpnet.boxes import LandmarkBoxes
from facesmith.detectors.kpnet.config import AssociativeConfig, AssociativeLossConfig, DRNetConfig
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import kind_of, load_model, save_weights
from facesmith.faces import FIVE_OF

SMALL = AssociativeConfig(backbone=DRNetConfig(4, 8), candidates=20)
SHAPE = (24, 30)


def random_maps(batch: int, points: int = 5) -> AssociativeMaps:
    torch.manual_seed(1)
    return AssociativeMaps(torch.randn(batch, points, *SHAPE) * 2 - 2, torch.randn(batch, points, *SHAPE) * 2)


def targets(landmarks: list[Tensor], ignored: list[list[bool]], boxes: list[Tensor] | None = None) -> Targets:
    boxes = boxes or [
        torch.cat((p.nan_to_num(9).amin(dim=1) - 4, p.nan_to_num(9).amax(dim=1) + 4), 1) for p in landmarks
    ]
    return Targets(boxes, landmarks, [torch.tensor(row).bool() for row in ignored], torch.ones(len(landmarks)).bool())


def peaks(maps: AssociativeMaps, channel: int, count: int) -> list[tuple[float, float, int, int]]:
    """Score, tag, column and row of the best local maxima of the first image, the best first."""
    heat, tags = maps.heat[0, channel], maps.tags[0, channel]
    found = [
        (float(heat[y, x].sigmoid()), float(tags[y, x]), x, y)
        for y in range(heat.shape[0])
        for x in range(heat.shape[1])
        if heat[y, x] == heat[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].amax()
    ]
    return sorted(found, reverse=True)[:count]


@pytest.mark.parametrize("points", [5, 19])
def test_decode_is_that_of_a_plain_loop(points: int) -> None:
    maps = random_maps(1, points)
    boxes, scores, landmarks = Associative(replace(SMALL, points=points)).decode(maps)
    channels = [peaks(maps, channel, 20) for channel in FIVE_OF[points]]
    faces, lonely = [], 0
    for nose in channels[NOSE]:
        taken, total = [], 0.0
        for channel in channels:
            near = [peak for peak in channel if abs(peak[1] - nose[1]) < 0.5]
            best = nose if channel is channels[NOSE] else max(near, default=None)
            total += best[0] if best else 0.0
            lonely += best is None
            taken.append(best or min(channel, key=lambda peak: abs(peak[1] - nose[1])))
        faces.append((total / 5, [(2 * x + 1.0, 2 * y + 1.0) for _, _, x, y in taken]))
    assert lonely, "some landmarks have no partner"
    faces.sort(reverse=True)
    expected = torch.tensor([row for _, row in faces])
    torch.testing.assert_close(scores[0], torch.tensor([score for score, _ in faces]))
    torch.testing.assert_close(landmarks[0], expected)
    torch.testing.assert_close(boxes[0], LandmarkBoxes(WIDER)(expected))


def test_planted_faces_are_told_apart_by_their_tags() -> None:
    heat, tags = torch.full((1, 5, *SHAPE), -9.0), torch.zeros(1, 5, *SHAPE)
    cells = torch.tensor([[[4, 4], [9, 4], [6, 7], [4, 10], [9, 10]], [[6, 13], [16, 13], [11, 17], [7, 21], [15, 21]]])
    for face, rows in enumerate(cells.tolist()):
        for channel, (x, y) in enumerate(rows):
            heat[0, channel, y, x], tags[0, channel, y, x] = 4.0 - face, 3.0 + 1.5 * face
    _, scores, landmarks = Associative(SMALL).decode(AssociativeMaps(heat, tags))
    torch.testing.assert_close(landmarks[0, :2], cells * 2.0 + 1)
    torch.testing.assert_close(scores[0, :2], torch.tensor([4.0, 3.0]).sigmoid())
    assert (scores[0, 2:] < 0.3).all()


def test_the_loss_of_a_plain_loop() -> None:
    maps = random_maps(2)
    maps = maps._replace(tags=maps.tags / 8)
    points = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(2)) * 20 + torch.tensor([20.0, 12.0])
    points[1, 0] = torch.tensor([-3.0, 20.0])  # outside the picture
    points[2, 3] = torch.nan
    wanted = targets([points, points[:0]], [[False, False, False, True], []])
    terms = Associative(replace(SMALL, loss=AssociativeLossConfig(heat=1.0, pull=2.0, push=3.0))).loss(maps, wanted)

    truth, counted = torch.zeros(2, 5, *SHAPE), torch.ones(2, *SHAPE, dtype=torch.bool)
    for face in (2, 3):  # without landmarks, and ignored
        x1, y1, x2, y2 = (wanted.boxes[0][face] / 2).tolist()
        counted[0, int(y1) : -int(-y2 // 1), int(x1) : -int(-x2 // 1)] = False
    variances, mean_tags = [], []
    for face in (0, 1):
        tags = []
        for k, (x, y) in enumerate(points[face].tolist()):
            if x >= 0:
                truth[0, k, int(y / 2), int(x / 2)] = 1
                tags.append(maps.tags[0, k, int(y / 2), int(x / 2)])
        variances.append(torch.stack(tags).var(correction=0))
        mean_tags.append(torch.stack(tags).mean())
    heat = F.binary_cross_entropy_with_logits(maps.heat, truth, reduction="none")[counted[:, None] | (truth > 0)]
    torch.testing.assert_close(terms["heat"], heat.mean())
    torch.testing.assert_close(terms["pull"], 2 * torch.stack(variances).mean())
    torch.testing.assert_close(terms["push"], 3 * F.relu(1 - (mean_tags[0] - mean_tags[1]).abs()))
    assert terms["push"] > 0


@pytest.mark.parametrize("size", [(1, 1), (33, 47)])
def test_any_size_gives_all_rows(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    boxes, scores, landmarks = Associative(SMALL).eval().export_forward(torch.zeros(2, *size, 3, dtype=torch.uint8))
    assert boxes.shape == (2, 20, 4)
    assert landmarks.shape == (2, 20, 5, 2)
    assert (scores.diff(dim=1) <= 0).all()
    if size == (1, 1):
        assert (scores > 0).sum() == 2, "padding is no face"


def test_weights_files_hold_it(tmp_path: Path) -> None:
    model = Associative(SMALL)
    assert kind_of(model) == "kpnet-associative"
    save_weights(tmp_path / "a.safetensors", model, name="a")
    assert load_model(tmp_path / "a.safetensors").config == SMALL
