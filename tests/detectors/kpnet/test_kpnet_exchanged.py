"""The parts that KPNet's ablations exchange, each in a whole network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drawn_faces import draw_face
from facesmith.box_styles import SQUARE
from facesmith.detectors.kpnet.config import (
    ArgmaxConfig,
    AssociativeConfig,
    DRNetConfig,
    KPNetConfig,
    KPNetLossConfig,
    RegressionConfig,
    RPNConfig,
    ScaleConfig,
    SoftArgmaxConfig,
    TemplateConfig,
)
from facesmith.detectors.kpnet.model import KPNet
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import build

SMALL = KPNetConfig(
    backbone=DRNetConfig(stem=16, deep=16),
    proposals=ScaleConfig(sigma=0.3),
    loss=KPNetLossConfig(keypoint=100.0),
    candidates=20,
)
PROPOSERS = [SMALL.proposals, RPNConfig()]
HEADS = [SoftArgmaxConfig(), ArgmaxConfig(), RegressionConfig(), TemplateConfig()]
ASSOCIATIVE = AssociativeConfig(backbone=SMALL.backbone, candidates=20)


def drawn() -> tuple[Tensor, Targets]:
    """A picture of 64 pixels with faces of 30 and 16."""
    image = np.full((64, 64, 3), 90, np.uint8)
    boxes = [(4, 6, 30), (42, 40, 16)]
    landmarks = np.stack([draw_face(image, *box) for box in boxes])
    corners = torch.tensor([[x, y, x + side, y + side] for x, y, side in boxes], dtype=torch.float32)
    targets = Targets(
        [corners], [torch.from_numpy(landmarks).float()], [torch.zeros(2, dtype=torch.bool)], torch.ones(1).bool()
    )
    return torch.from_numpy(image).permute(2, 0, 1)[None], targets


LEARNERS = [
    pytest.param(replace(SMALL, landmarks=ArgmaxConfig()), 2.1, id="argmax"),
    pytest.param(replace(SMALL, landmarks=RegressionConfig()), 2.0, id="regression"),
    pytest.param(replace(SMALL, proposals=RPNConfig()), 2.0, id="rpn"),
    pytest.param(ASSOCIATIVE, 2.1, id="associative"),
]


@pytest.mark.parametrize(("config", "within"), LEARNERS)
def test_learns_a_picture_by_heart(config: KPNetConfig | AssociativeConfig, within: float) -> None:
    torch.manual_seed(0)
    model = build(config)
    picture, wanted = drawn()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(120):
        optimiser.zero_grad()
        torch.stack(list(model.loss(model(picture), wanted).values())).sum().backward()  # type: ignore[no-untyped-call]
        if step == 0:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
    _, scores, landmarks = model.decode(model(picture))
    apart = (landmarks[0][:, None] - wanted.landmarks[0][None]).norm(dim=3).amax(dim=2)  # (rows, faces)
    least, row = apart.min(dim=0)
    assert (least < within).all(), apart
    assert (scores[0][row] > 0.3).all(), scores


@pytest.mark.parametrize("proposals", PROPOSERS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("landmarks", HEADS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 96)])
def test_any_pair_takes_any_size(
    proposals: ScaleConfig | RPNConfig,
    landmarks: SoftArgmaxConfig | ArgmaxConfig | RegressionConfig | TemplateConfig,
    size: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    model = KPNet(replace(SMALL, proposals=proposals, landmarks=landmarks)).eval()
    boxes, scores, points = model.export_forward(torch.zeros(2, *size, 3, dtype=torch.uint8))
    assert boxes.shape == (2, 20, 4)
    assert points.shape == (2, 20, 5, 2)
    assert (scores.diff(dim=1) <= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert boxes.isfinite().all()


@pytest.mark.parametrize("config", [each.values[0] for each in LEARNERS])
def test_a_batch_without_faces_teaches_background(config: KPNetConfig | AssociativeConfig) -> None:
    torch.manual_seed(0)
    model = build(config)
    nothing = Targets(
        [torch.zeros(0, 4)] * 2, [torch.zeros(0, 5, 2)] * 2, [torch.zeros(0).bool()] * 2, torch.tensor([True, False])
    )
    terms = model.loss(model(torch.randint(0, 256, (2, 3, 64, 64))), nothing)
    first, *others = terms.values()
    assert first > 0
    assert not any(others) or isinstance(getattr(config, "landmarks", None), ArgmaxConfig)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("proposals", PROPOSERS, ids=lambda c: type(c).__name__)
def test_boxes_of_the_template_are_the_proposals_squares(proposals: ScaleConfig | RPNConfig) -> None:
    torch.manual_seed(0)
    model = KPNet(replace(SMALL, proposals=proposals, landmarks=TemplateConfig(), box_style=SQUARE)).eval()
    maps = model(torch.randint(0, 256, (2, 3, 64, 80)))
    maps = maps._replace(proposals=torch.randn(maps.proposals.shape))
    proposed = model.propose(maps)
    boxes, scores, _ = model.locate(maps, proposed)
    torch.testing.assert_close(boxes, proposed.squares, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(scores, proposed.scores / (1 + proposed.scores))
    assert not list(model.landmarks.parameters())


def test_the_template_takes_the_other_weights_of_a_trained_network() -> None:
    trained = KPNet(SMALL).state_dict()
    left = KPNet(replace(SMALL, landmarks=TemplateConfig())).load_state_dict(trained, strict=False)
    assert left.missing_keys == []
    assert left.unexpected_keys == ["landmarks.heat.weight", "landmarks.heat.bias"]


@pytest.mark.parametrize("proposals", PROPOSERS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("landmarks", [SoftArgmaxConfig(), RegressionConfig()], ids=lambda c: type(c).__name__)
def test_labelled_windows_are_those_of_the_training(
    proposals: ScaleConfig | RPNConfig, landmarks: SoftArgmaxConfig | RegressionConfig
) -> None:
    """What ``locate`` makes of ground-truth boxes has the error that the keypoint term says."""
    torch.manual_seed(0)
    model = KPNet(replace(SMALL, proposals=proposals, landmarks=landmarks))
    picture, wanted = drawn()
    maps = model(picture)
    maps = maps._replace(landmarks=torch.randn(maps.landmarks.shape) * 3)
    given = model.labelled(maps, wanted.boxes[0][None])
    assert given.scores.tolist() == [[1, 1]]
    found, _ = model.landmarks.extract(maps.landmarks, given)
    window = given.windows[0]
    side = (window[:, 2:] - window[:, :2]).amax(dim=1)
    error = (((found[0] - wanted.landmarks[0]) / 2) / side[:, None, None]).square().sum(dim=(1, 2)) / 10
    term = model.loss(maps, wanted)["keypoint"]
    torch.testing.assert_close(term, 100 * error.mean())


def test_padding_among_labelled_boxes_has_no_score() -> None:
    model = KPNet(SMALL)
    maps = model(torch.zeros(1, 3, 64, 64))
    given = model.labelled(maps, torch.tensor([[[8.0, 8, 30, 30], [0, 0, 0, 0], [5, 5, 6, 6]]]))
    assert given.scores.tolist() == [[1, 0, 1]]
    assert (given.windows[..., 2:] > given.windows[..., :2]).all()


def test_cross_entropy_of_argmax() -> None:
    """Eq. 4 with a cell a landmark; a face without landmarks teaches nothing, least of all background."""
    model = KPNet(replace(SMALL, landmarks=ArgmaxConfig(weight=7.0)))
    picture, wanted = drawn()
    wanted.landmarks[0][1] = torch.nan
    heat = torch.randn(1, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    truth, counted = torch.zeros(heat.shape), torch.ones(1, 32, 32, dtype=torch.bool)
    for k, (x, y) in enumerate(wanted.landmarks[0][0].tolist()):
        truth[0, k, int(y / 2), int(x / 2)] = 1
    counted[0, 20:28, 21:29] = False
    expected = F.binary_cross_entropy_with_logits(heat, truth, reduction="none")[:, :, counted[0]].mean()
    found = model.loss(model(picture)._replace(landmarks=heat), wanted)["keypoint"]
    torch.testing.assert_close(found, 7 * expected)


def test_argmax_decodes_the_hottest_cells() -> None:
    model = KPNet(replace(SMALL, landmarks=ArgmaxConfig(scored=2)))
    picture, wanted = drawn()
    maps = model(picture)
    maps = maps._replace(landmarks=torch.randn(maps.landmarks.shape))
    given = model.labelled(maps, wanted.boxes[0][None])
    landmarks, gain = model.landmarks.extract(maps.landmarks, given)
    for n, (x1, y1, x2, y2) in enumerate(given.windows[0].tolist()):
        best, index = maps.landmarks[0, :, y1:y2, x1:x2].flatten(1).max(dim=1)
        expected = torch.stack((x1 + index % (x2 - x1), y1 + index // (x2 - x1)), dim=1) * 2 + 1.0
        torch.testing.assert_close(landmarks[0, n], expected)
        torch.testing.assert_close(gain[0, n], best[:2].sigmoid().sum())


def test_regression_is_a_layer_on_pooled_features() -> None:
    model = KPNet(replace(SMALL, landmarks=RegressionConfig()))
    features = torch.randn(1, 16, 32, 32)
    given = model.proposals.labelled(torch.tensor([[[8.0, 8, 30, 31], [-6, 40, 12, 60]]]), (32, 32))
    found, gain = model.landmarks.extract(model.landmarks(features), given)
    layer = model.landmarks.coordinates
    assert isinstance(layer, nn.Conv2d)
    for n, (x1, y1, x2, y2) in enumerate(given.windows[0].tolist()):
        pooled = features[0, :, y1:y2, x1:x2].mean(dim=(1, 2))
        shares = F.linear(pooled, layer.weight.flatten(1), layer.bias).reshape(5, 2)
        expected = 2 * (torch.tensor([x1, y1]) + shares * torch.tensor([x2 - x1, y2 - y1]))
        torch.testing.assert_close(found[0, n], expected, atol=1e-4, rtol=1e-4)
    assert not gain.any()
