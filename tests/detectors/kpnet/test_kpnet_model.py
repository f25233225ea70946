import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.box_styles import SQUARE, WIDER
from facesmith.detectors.kpnet import losses
from facesmith.detectors.kpnet.config import (
    BINS,
    FIVE_OF,
    DRNetConfig,
    HourglassConfig,
    KPNetConfig,
    KPNetLossConfig,
    ScaleConfig,
    SoftArgmaxConfig,
)
from facesmith.detectors.kpnet.model import KPNet, KPNetMaps
from facesmith.detectors.kpnet.scales import bin_sides, face_bins
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import kind_of, load_model, save_weights
from facesmith.errors import ConfigError

SMALL = KPNetConfig(backbone=DRNetConfig(stem=8, deep=16), candidates=20)
FACES = [[[10.0, 12, 40, 50], [44, 8, 52, 17]], [], [[20.0, 20, 60, 66], [0, 0, 9, 8], [30, 2, 34, 6]]]
"""Faces of three pictures of 64 pixels."""


def landmarks_of(boxes: Tensor, points: int = 5) -> Tensor:
    """(n, 4) -> (n, points, 2) spread over the middle of each box."""
    torch.manual_seed(7)
    shares = 0.2 + 0.6 * torch.rand(points, 2)
    return boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2])


def targets(faces: list[list[list[float]]], points: int = 5, complete: bool = True) -> Targets:
    boxes = [torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) for rows in faces]
    return Targets(
        boxes,
        [landmarks_of(b, points) for b in boxes],
        [torch.zeros(len(b), dtype=torch.bool) for b in boxes],
        torch.full((len(boxes),), complete),
    )


def ignoring(wanted: Targets, *faces: tuple[int, int]) -> Targets:
    """``wanted`` with the faces (image, number) ignored."""
    ignored = [row.clone() for row in wanted.ignored]
    for image, number in faces:
        ignored[image][number] = True
    return replace(wanted, ignored=ignored)


def random_maps(batch: int, points: int = 5, size: tuple[int, int] = (32, 32)) -> KPNetMaps:
    torch.manual_seed(3)
    return KPNetMaps(torch.randn(batch, BINS, *size) - 4, torch.randn(batch, points, *size) * 3)


def reference(maps: KPNetMaps, wanted: Targets, config: KPNetConfig) -> tuple[float, float]:
    """Eq. 4 and 7 without weights, a face and a cell at a time (σ small enough to spread nothing)."""
    batch, _, height, width = maps.proposals.shape
    truth = torch.zeros_like(maps.proposals)
    counted = torch.ones(batch, height, width, dtype=torch.bool)
    keypoint = []
    for image in range(batch):
        rows = zip(wanted.boxes[image], wanted.landmarks[image], wanted.ignored[image].tolist(), strict=True)
        for box, points, ignored in rows:
            x1, y1, x2, y2 = box.tolist()
            if ignored:
                counted[image, int(y1 / 2) : math.ceil(y2 / 2), int(x1 / 2) : math.ceil(x2 / 2)] = False
                continue
            column, row = int((x1 + x2) / 4), int((y1 + y2) / 4)
            b = math.floor(10 * (math.log2(max(x2 - x1, y2 - y1) * 8) - 5))
            truth[image, b, row, column] = 1
            if points.isfinite().all():
                side = 2 ** ((b + 0.5) / 10 + 5) / 8 / 2
                low = [max(round(c + 0.5 - side / 2), 0) for c in (column, row)]
                high = [min(round(c + 0.5 + side / 2), n) for c, n in ((column, width), (row, height))]
                longer = max(high[0] - low[0], high[1] - low[1])
                heat = maps.landmarks[image, :, low[1] : high[1], low[0] : high[0]]
                phi = heat.flatten(1).softmax(dim=1).reshape(heat.shape)
                at_x, at_y = torch.arange(low[0], high[0]) + 0.5, torch.arange(low[1], high[1]) + 0.5
                psi = torch.stack(((phi * at_x).sum(dim=(1, 2)), (phi * at_y[:, None]).sum(dim=(1, 2))), dim=1)
                reachable = (points / 2).clamp(torch.tensor(low) + 0.5, torch.tensor(high) - 0.5)
                error = ((psi - reachable) / longer).square().sum() / (2 * len(points))
                keypoint.append(float(error))
    cross_entropy = F.binary_cross_entropy_with_logits(maps.proposals, truth, reduction="none")
    elements = counted[:, None] | (truth > 0)
    return float(cross_entropy[elements].mean()), sum(keypoint) / max(len(keypoint), 1)


class TestLoss:
    @pytest.mark.parametrize("points", [5, 19])
    @pytest.mark.parametrize("ignored", [(), ((0, 1), (2, 1)), ((2, 0),)])
    def test_equations_4_and_7(self, points: int, ignored: tuple[tuple[int, int], ...]) -> None:
        config = replace(SMALL, points=points, proposals=ScaleConfig(sigma=0.01), loss=KPNetLossConfig(keypoint=3.0))
        maps, wanted = random_maps(3, points), ignoring(targets(FACES, points), *ignored)
        scale, keypoint = reference(maps, wanted, config)
        assert keypoint > 0.005
        terms = KPNet(config).loss(maps, wanted)
        assert list(terms) == ["scale", "keypoint"]
        assert float(terms["scale"]) == pytest.approx(10_000 * scale, rel=1e-5)
        assert float(terms["keypoint"]) == pytest.approx(3 * keypoint, rel=1e-4)

    def test_a_target_on_an_ignored_face_still_counts(self) -> None:
        config = replace(SMALL, proposals=ScaleConfig(sigma=0.01))
        wanted = ignoring(targets([[[10, 10, 50, 50], [20, 20, 40, 40]]]), (0, 0))
        maps = random_maps(1)
        scale, _ = reference(maps, wanted, config)
        assert float(KPNet(config).loss(maps, wanted)["scale"]) == pytest.approx(10_000 * scale, rel=1e-5)
        without = replace(wanted, ignored=[torch.tensor([True, True])])
        assert float(KPNet(config).loss(maps, without)["scale"]) != pytest.approx(10_000 * scale, rel=1e-5)

    def test_a_face_too_small_for_a_bin_is_ignored(self) -> None:
        model, maps = KPNet(SMALL), random_maps(1)
        tiny = targets([[[10, 10, 13, 13], [30, 30, 50, 50]]])
        left = model.loss(maps, tiny)
        right = model.loss(maps, ignoring(tiny, (0, 0)))
        assert float(left["scale"]) == float(right["scale"])
        assert float(left["keypoint"]) == float(right["keypoint"])

    def test_faces_without_landmarks_train_no_landmarks(self) -> None:
        torch.manual_seed(0)
        model = KPNet(SMALL)
        wanted = targets(FACES)
        wanted = replace(wanted, landmarks=[torch.full_like(p, torch.nan) for p in wanted.landmarks])
        terms = model.loss(model(images(3)), wanted)
        assert terms["keypoint"] == 0
        sum(terms.values()).backward()  # type: ignore[union-attr]
        gradients = {name: p.grad for name, p in model.named_parameters()}
        assert all(g is not None and g.isfinite().all() for g in gradients.values())
        assert not gradients["landmarks.heat.weight"].any()  # type: ignore[union-attr]
        assert gradients["proposals.scales.weight"].any()  # type: ignore[union-attr]

    def test_some_without_landmarks_change_nothing_for_the_others(self) -> None:
        model, maps, wanted = KPNet(SMALL), random_maps(1), targets([[[8, 8, 30, 30], [34, 34, 60, 60]]])
        alone = targets([[[34, 34, 60, 60]]])
        wanted = replace(wanted, landmarks=[torch.cat((torch.full((1, 5, 2), torch.nan), alone.landmarks[0]))])
        assert float(model.loss(maps, wanted)["keypoint"]) == pytest.approx(float(model.loss(maps, alone)["keypoint"]))

    def test_a_batch_without_faces_teaches_background(self) -> None:
        torch.manual_seed(0)
        model = KPNet(SMALL)
        terms = model.loss(model(images(2)), targets([[], []]))
        assert terms["keypoint"] == 0
        assert terms["scale"] > 0
        sum(terms.values()).backward()  # type: ignore[union-attr]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    def test_landmarks_outside_the_window_pull_to_its_border(self) -> None:
        model, maps = KPNet(SMALL), random_maps(1)
        heat = torch.zeros_like(maps.landmarks, requires_grad=True)
        wanted = targets([[[0, 10, 20, 30]]])
        wanted = replace(wanted, landmarks=[torch.tensor([[[-90.0, 20.0]] * 5])])
        model.loss(maps._replace(landmarks=heat), wanted)["keypoint"].backward()
        assert heat.grad is not None
        assert (heat.grad[0, :, 10, 0] < 0).all(), "more heat at the border"
        assert (heat.grad[0, :, 10, 8] > 0).all()
        assert float(model.loss(maps, wanted)["keypoint"]) < 1

    def test_confident_cells_count_only_where_labels_are_complete(self) -> None:
        model, maps = KPNet(SMALL), random_maps(2)
        maps.proposals[:, 30, 28, 28] = 9.0
        maps.proposals[:, 30, 10, 11] = 9.0  # on the labelled face, but not its centre
        face = [[10.0, 12, 40, 50]]
        complete = model.loss(maps, targets([face, face]))["scale"]
        lacking = model.loss(maps, targets([face, face], complete=False))["scale"]
        # 18 elements of about 120,000 cost about 9 each.
        share = 2 * F.softplus(maps.proposals[:, :, 28, 28]).sum() / 2 / (2 * BINS * 32 * 32) * 10_000
        assert float(complete - lacking) == pytest.approx(float(share), rel=0.05)

    def test_labels_of_another_kind_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="labels have 19 landmarks a face, the network 5"):
            KPNet(SMALL).loss(random_maps(1), targets([[[8, 8, 30, 30]]], points=19))

    def test_processes_together_are_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The mean over two processes of their losses is the loss of the whole batch."""
        model, maps, wanted = KPNet(SMALL), random_maps(3), ignoring(targets(FACES), (2, 0))
        whole = model.loss(maps, wanted)
        parts = [
            (KPNetMaps(*(m[a:b] for m in maps)), Targets(*(getattr(wanted, f)[a:b] for f in Targets.__annotations__)))
            for a, b in ((0, 1), (1, 3))
        ]
        counts: list[Tensor] = []
        monkeypatch.setattr(losses, "total_over_processes", lambda count: counts.append(count) or count)
        for part in parts:
            model.loss(*part)
        monkeypatch.setattr(losses, "total_over_processes", lambda _: counts[0] + counts[1])
        monkeypatch.setattr(losses, "process_count", lambda: 2)
        each = [model.loss(*part) for part in parts]
        for name, value in whole.items():
            assert float(each[0][name] + each[1][name]) / 2 == pytest.approx(float(value), rel=1e-5)


def images(count: int, side: int = 64) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0))


def planted(faces: list[list[float]], size: tuple[int, int], points: int = 5) -> tuple[KPNetMaps, Tensor, Tensor]:
    """Maps that hold ``faces``, and the boxes and landmarks of these.

    Heat peaks are in the middle of cells.
    """
    scales, heat = torch.full((1, BINS, *size), -12.0), torch.zeros(1, points, *size)
    boxes = torch.tensor(faces)
    places = (landmarks_of(boxes, points) / 2).floor().long()
    for n, (box, cells) in enumerate(zip(boxes, places, strict=True)):
        b = face_bins((box[2:] - box[:2]).amax(), ScaleConfig())
        column, row = ((box[:2] + box[2:]) / 4).long().tolist()
        scales[0, b, row, column] = 2.0 - n
        for k in range(points):
            heat[0, k, cells[k, 1], cells[k, 0]] = 30.0
    return KPNetMaps(scales, heat), boxes, places * 2.0 + 1


class TestDecode:
    @pytest.mark.parametrize("points", [5, 19])
    def test_planted_faces_are_found(self, points: int) -> None:
        maps, _, landmarks = planted([[20.0, 16, 62, 60], [4, 70, 30, 96], [70, 30, 124, 90]], (50, 64), points)
        config = replace(SMALL, points=points)
        boxes, scores, found = KPNet(config).decode(maps)
        expected = landmarks[:, list(FIVE_OF[points])]
        torch.testing.assert_close(found[0, :3], expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(boxes[0, :3], torch.from_numpy(WIDER.boxes(expected)), atol=0.01, rtol=0)
        p = torch.tensor([2.0, 1, 0]).sigmoid() + 3  # peaks take all of the softmax
        torch.testing.assert_close(scores[0, :3], p / (1 + p), atol=1e-4, rtol=0)
        assert (scores[0, 3:] < 1e-4).all()

    def test_another_style_is_another_box_of_the_same_face(self) -> None:
        maps, _, landmarks = planted([[20.0, 16, 62, 60]], (50, 64))
        boxes, _, _ = KPNet(replace(SMALL, box_style=SQUARE)).decode(maps)
        torch.testing.assert_close(boxes[0, :1], torch.from_numpy(SQUARE.boxes(landmarks)), atol=0.01, rtol=0)

    def test_equation_8(self) -> None:
        """P is P_s and the maxima of the softmax of eyes and nose; mouth corners do not count."""
        maps = random_maps(1)
        maps.proposals.fill_(-9.0)
        maps.proposals[0, 35, 20, 12] = 1.0
        side = float(bin_sides(torch.tensor(35), ScaleConfig())) / 2
        x1, x2 = (round(12.5 + s * side / 2) for s in (-1, 1))
        y1, y2 = (round(20.5 + s * side / 2) for s in (-1, 1))
        phi = maps.landmarks[0, :, y1:y2, x1:x2].flatten(1).softmax(dim=1)
        for scored in (0, 1, 3, 5):
            config = replace(SMALL, landmarks=SoftArgmaxConfig(scored=scored))
            p = torch.tensor(1.0).sigmoid() + phi[:scored].amax(dim=1).sum()
            torch.testing.assert_close(KPNet(config).decode(maps)[1][0, 0], p / (1 + p))

    def test_another_even_changes_scores_but_not_their_order(self) -> None:
        maps = random_maps(2)
        one, other = (KPNet(replace(SMALL, even=even)).decode(maps) for even in (1.0, 0.2))
        p = one[1] / (1 - one[1])
        torch.testing.assert_close(other[1], p / (p + 0.2))
        torch.testing.assert_close(other[0], one[0])

    def test_only_proposals_above_the_threshold_are_raised(self) -> None:
        maps = random_maps(1)
        maps.proposals.fill_(-20.0)
        strong, weak = torch.tensor(0.3), torch.tensor(0.2)
        maps.proposals[0, 10, 5, 5], maps.proposals[0, 40, 20, 20] = strong.logit(), weak.logit()
        raised = KPNet(replace(SMALL, proposal_score=0.1)).decode(maps)[1][0]
        assert (raised[:2] > 0.3).all()
        scores = KPNet(replace(SMALL, proposal_score=0.25)).decode(maps)[1][0]
        torch.testing.assert_close(scores[1], weak / (1 + weak))
        assert scores[0] > 0.3

    def test_a_face_is_proposed_once(self) -> None:
        """Neighbours in place and size of the best element are no proposals of their own."""
        maps = random_maps(1)
        maps.proposals.fill_(-12.0)
        maps.proposals[0, 28:33, 10:13, 14:17] = 0.0
        maps.proposals[0, 30, 11, 15] = 1.0
        proposals = KPNet(SMALL).propose(maps)
        side = float(bin_sides(torch.tensor(30), ScaleConfig()))
        square = torch.tensor([31 - side / 2, 23 - side / 2, 31 + side / 2, 23 + side / 2])
        torch.testing.assert_close(proposals.squares[0, 0], square)
        window = [round(v / 2) for v in square.tolist()]
        assert proposals.windows[0, 0].tolist() == [max(window[0], 0), max(window[1], 0), *window[2:]]
        assert (proposals.scores[0, 1:] < 0.01).all()

    def test_given_proposals_are_located(self) -> None:
        """As the ablation with ground-truth boxes does."""
        maps, boxes, landmarks = planted([[20.0, 16, 62, 60], [70, 30, 124, 90]], (50, 64))
        maps.proposals.fill_(-12.0)
        model = KPNet(SMALL)
        given = model.labelled(maps, boxes[None])
        assert given.scores.tolist() == [[1, 1]]
        _, scores, found = model.locate(maps, given._replace(scores=torch.tensor([[0.9, 1.0]])))
        assert scores.shape == (1, 2)
        torch.testing.assert_close(found[0], landmarks.flip(0), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("backbone", [DRNetConfig(8, 16), HourglassConfig(8, 3)])
    @pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 96)])
    def test_any_size_gives_all_rows(self, backbone: DRNetConfig | HourglassConfig, size: tuple[int, int]) -> None:
        model = KPNet(replace(SMALL, backbone=backbone, proposal_score=0.0)).eval()
        boxes, scores, landmarks = model.export_forward(torch.zeros(2, *size, 3, dtype=torch.uint8))
        assert boxes.shape == (2, 20, 4)
        assert scores.shape == (2, 20)
        assert landmarks.shape == (2, 20, 5, 2)
        assert (scores.diff(dim=1) <= 0).all()
        assert ((scores >= 0) & (scores <= 1)).all()
        assert boxes.isfinite().all()
        if size == (1, 1):
            assert (scores > 0).sum() == 2, "padding is no face"


def test_weights_files_hold_it(tmp_path: Path) -> None:
    model = KPNet(replace(SMALL, backbone=HourglassConfig(8, 2)))
    assert kind_of(model) == "kpnet"
    save_weights(tmp_path / "a.safetensors", model, name="a")
    loaded = load_model(tmp_path / "a.safetensors")
    assert loaded.config == model.config
    keys = set(loaded.state_dict())
    assert not keys & {"five", "boxes.template", "landmarks.scored"}, "constants are no weights"


@pytest.mark.parametrize("backbone", [DRNetConfig(16, 16), HourglassConfig(16, 3)])
def test_learns_a_batch_by_heart(backbone: DRNetConfig | HourglassConfig) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, backbone=backbone, proposals=ScaleConfig(sigma=0.3), loss=KPNetLossConfig(keypoint=100.0))
    model = KPNet(config)
    batch, wanted = images(1), targets([[[10, 12, 40, 50]]])
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        torch.stack(list(model.loss(model(batch), wanted).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    _, scores, landmarks = model.decode(model(batch))
    assert scores[0, 0] > 0.45
    torch.testing.assert_close(landmarks[0, 0], wanted.landmarks[0][0], atol=1.5, rtol=0)
