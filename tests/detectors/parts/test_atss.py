import numpy as np
import pytest
import torch

from facesmith.detectors.parts.anchors import AnchorConfig, anchor_boxes, make_anchors
from facesmith.detectors.parts.assigners import NEGATIVE, NEITHER, POSITIVE
from facesmith.detectors.parts.atss import match_atss

CONFIG = AnchorConfig(strides=(8, 16), sides=((16.0, 32.0), (64.0, 128.0)), offset=0.0)
SIZES = ((12, 12), (6, 6))
ANCHORS = anchor_boxes(make_anchors(CONFIG, SIZES, torch.device("cpu")))
COUNTS = (288, 72)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(width * height / area)


def reference(anchors: np.ndarray, faces: np.ndarray, nearest: int) -> dict[int, int]:
    """Anchor -> face, face by face, straight from the rule."""
    best: dict[int, tuple[float, int]] = {}
    for number, face in enumerate(faces):
        candidates: list[int] = []
        start = 0
        for count in COUNTS:
            centre = (face[:2] + face[2:]) / 2
            apart = [
                (float(np.hypot(*((anchors[i, :2] + anchors[i, 2:]) / 2 - centre))), i)
                for i in range(start, start + count)
            ]
            candidates += [i for _, i in sorted(apart)[:nearest]]
            start += count
        values = np.array([iou(anchors[i], face) for i in candidates])
        threshold = values.mean() + values.std(ddof=1)
        side = np.sqrt((face[2] - face[0]) * (face[3] - face[1]))
        for i, value in zip(candidates, values, strict=True):
            x, y = (anchors[i, :2] + anchors[i, 2:]) / 2
            inside = min(x - face[0], y - face[1], face[2] - x, face[3] - y) > 0.001 * side
            if value >= threshold and inside and value > best.get(i, (-1.0, 0))[0]:
                best[i] = (float(value), number)
    return {i: number for i, (_, number) in best.items()}


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_slow_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 70, (rng.integers(1, 6), 2))
    faces = np.concatenate((corner, corner + rng.uniform(6, 60, corner.shape)), axis=1).astype(np.float32)
    # Both anchors of a cell lie equally far; an odd number of candidates would leave the choice to the sort.
    found = match_atss(
        ANCHORS.double(),
        COUNTS,
        torch.from_numpy(faces).double(),
        torch.zeros(len(faces), dtype=torch.bool),
        nearest=8,
    )
    wanted = reference(ANCHORS.double().numpy(), faces.astype(np.float64), 8)
    positive = (found.label == POSITIVE).nonzero().flatten().tolist()
    assert {i: int(found.face[i]) for i in positive} == wanted


def test_no_faces() -> None:
    found = match_atss(ANCHORS, COUNTS, torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool))
    assert (found.label == NEGATIVE).all()


def test_ignored_faces_teach_nothing() -> None:
    faces = torch.tensor([[20.0, 20.0, 50.0, 52.0]])
    known = match_atss(ANCHORS, COUNTS, faces, torch.tensor([False])).label
    ignored = match_atss(ANCHORS, COUNTS, faces, torch.tensor([True])).label
    assert (known == POSITIVE).any()
    assert not (ignored == POSITIVE).any()
    assert (ignored[known == POSITIVE] == NEITHER).all()
    assert (ignored == NEGATIVE).any()
