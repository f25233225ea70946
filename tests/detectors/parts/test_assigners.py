"""The matching against a loop that follows its definition anchor by anchor and face by face."""

import numpy as np
import pytest
import torch
from torch import Tensor

from facesmith.detectors.parts.assigners import NEGATIVE, NEITHER, POSITIVE, MatchConfig, match
from facesmith.errors import ConfigError

PORT = MatchConfig()
PAPER = MatchConfig(positive=0.5, negative=0.3, forced=1.0)
GREEDY = MatchConfig(positive=0.6, negative=0.4, forced=0.0)

Box = tuple[float, float, float, float]


def shared_area(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    shared = shared_area(a, b)
    return shared / max(area(a) + area(b) - shared, 1e-9)


def slow_match(
    anchors: list[Box], faces: list[Box], ignored: list[bool], config: MatchConfig
) -> tuple[list[int], list[int | None]]:
    """Label, and for positives the face, of each anchor."""
    labels, owners = [NEGATIVE] * len(anchors), [None] * len(anchors)
    reach = min(config.forced, config.positive)
    silent = [
        passed_over or max(iou(anchor, face) for anchor in anchors) < reach
        for face, passed_over in zip(faces, ignored, strict=True)
    ]
    for i, anchor in enumerate(anchors):
        overlaps = [iou(anchor, face) for face in faces]
        best = max(range(len(faces)), key=lambda j: overlaps[j], default=None)
        if best is None:
            continue
        if overlaps[best] >= config.positive:
            labels[i] = NEITHER if ignored[best] else POSITIVE
            owners[i] = None if ignored[best] else best
        elif overlaps[best] >= config.negative:
            labels[i] = NEITHER
        for face, passed_over in zip(faces, silent, strict=True):
            large = shared_area(anchor, face) >= 0.5 * area(face) and area(anchor) <= 16 * area(face)
            if passed_over and large and labels[i] == NEGATIVE:
                labels[i] = NEITHER
    forced: dict[int, tuple[float, int]] = {}
    for j, face in enumerate(faces):
        overlaps = [iou(anchor, face) for anchor in anchors]
        i = max(range(len(anchors)), key=lambda k: overlaps[k])
        if not ignored[j] and overlaps[i] >= config.forced and overlaps[i] > forced.get(i, (-1.0, 0))[0]:
            forced[i] = (overlaps[i], j)
    for i, (_, j) in forced.items():
        labels[i], owners[i] = POSITIVE, j
    return labels, owners


def fast(
    anchors: list[Box], faces: list[Box], ignored: list[bool], config: MatchConfig
) -> tuple[list[int], list[int | None]]:
    label, face = match(
        torch.tensor(anchors, dtype=torch.float64),
        torch.tensor(faces, dtype=torch.float64).reshape(-1, 4),
        torch.tensor(ignored, dtype=torch.bool),
        config,
    )
    assert label.dtype == torch.int8
    assert face.dtype == torch.int64
    owners = [int(f) if v == POSITIVE else None for v, f in zip(label, face, strict=True)]
    return label.tolist(), owners


def random_case(rng: np.random.Generator) -> tuple[list[Box], list[Box], list[bool]]:
    """Boxes on a coarse grid, so that ties are frequent; faces near anchors; sometimes none."""

    def boxes(count: int) -> list[Box]:
        corners = rng.integers(0, 9, (count, 2)) * 4.0
        sides = rng.integers(1, 7, (count, 2)) * 4.0
        return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]

    anchors = boxes(int(rng.integers(1, 25)))
    faces = boxes(int(rng.integers(0, 8)))
    if faces and rng.random() < 0.3:
        faces += [faces[0], anchors[0]]
    return anchors, faces, [bool(v) for v in rng.random(len(faces)) < 0.3]


@pytest.mark.parametrize("config", [PORT, PAPER, GREEDY])
def test_equals_the_slow_loop(config: MatchConfig) -> None:
    rng = np.random.default_rng(7)
    seen = {POSITIVE: 0, NEGATIVE: 0, NEITHER: 0}
    for case in range(150):
        anchors, faces, ignored = random_case(rng)
        expected = slow_match(anchors, faces, ignored, config)
        assert fast(anchors, faces, ignored, config) == expected, (case, anchors, faces, ignored)
        for label in expected[0]:
            seen[label] += 1
    assert min(seen.values()) > 50


class TestForcedMatches:
    anchors = torch.tensor([[0.0, 0, 16, 16], [16, 0, 32, 16]])

    def labels(self, faces: Tensor, ignored: tuple[bool, ...], config: MatchConfig = PORT) -> list[int]:
        return match(self.anchors, faces, torch.tensor(ignored), config).label.tolist()

    def test_a_small_face_gets_its_best_anchor(self) -> None:
        small = torch.tensor([[2.0, 2, 10, 10]])  # IoU 64 / 256 = .25
        assert self.labels(small, (False,)) == [POSITIVE, NEGATIVE]
        assert self.labels(small, (False,), MatchConfig(forced=0.3)) == [NEITHER, NEGATIVE]  # nor is it background

    def test_the_better_of_two_faces_gets_the_anchor(self) -> None:
        faces = torch.tensor([[2.0, 2, 10, 10], [2, 2, 11, 11]])
        for order in ([0, 1], [1, 0]):
            result = match(self.anchors, faces[order], torch.zeros(2, dtype=torch.bool), PORT)
            assert result.label.tolist() == [POSITIVE, NEGATIVE]
            assert order[int(result.face[0])] == 1

    def test_an_ignored_face_takes_no_anchor_from_a_labelled_one(self) -> None:
        learnt, ignored = [0.0, 0, 16, 8], [2.0, 2, 12, 12]  # IoU .5 and .39 with the first anchor
        result = match(self.anchors, torch.tensor([learnt, ignored]), torch.tensor([False, True]), PORT)
        assert result.label.tolist() == [POSITIVE, NEGATIVE]
        assert int(result.face[0]) == 0


class TestIgnoredFaces:
    def test_anchors_on_it_are_neither(self) -> None:
        anchors = torch.tensor([[0.0, 0, 16, 16], [0, 0, 32, 32], [0, 0, 128, 128], [64, 64, 80, 80]])
        result = match(anchors, torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([True]), PORT)
        # the third is more than four times as wide: what fills it must be learnt as background
        assert result.label.tolist() == [NEITHER, NEITHER, NEGATIVE, NEGATIVE]


def test_an_image_without_faces_is_all_background() -> None:
    result = match(torch.rand(5, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool), PORT)
    assert result.label.tolist() == [NEGATIVE] * 5
    assert result.face.tolist() == [0] * 5


@pytest.mark.parametrize("values", [{"negative": 0.6}, {"positive": 1.5}, {"forced": -0.1}])
def test_contradictory_thresholds_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="matching"):
        MatchConfig(**values)
