from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from drawn_faces import TINY
from facesmith.detectors.parts.anchors import (
    AnchorConfig,
    anchor_boxes,
    encode_boxes,
    encode_landmarks,
    make_anchors,
)
from facesmith.detectors.parts.assigners import NEGATIVE, NEITHER, POSITIVE, match
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.model import RetinaFace, RetinaFaceMaps
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError

CPU = torch.device("cpu")
PAPER = RetinaFaceConfig(
    backbone=MobileNetConfig(stem=8, stages=tuple(((8, 2),) for _ in range(5))),
    channels=8,
    anchors=AnchorConfig(
        strides=(4, 8, 16, 32, 64),
        sides=tuple(tuple(16.0 * 2**level * 2 ** (k / 3) for k in range(3)) for level in range(5)),
    ),
)


def network(config: RetinaFaceConfig = TINY, seed: int = 0) -> RetinaFace:
    torch.manual_seed(seed)
    return RetinaFace(config).eval()


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).float()


def random_maps(
    height: int, width: int, batch: int = 1, seed: int = 0, dtype: torch.dtype = torch.float32
) -> RetinaFaceMaps:
    """Leaves that want gradients, in the place of a network's outputs."""
    sizes = tuple((-(-height // s), -(-width // s)) for s in TINY.anchors.strides)
    count = sum(h * w * TINY.anchors.per_cell for h, w in sizes)
    generator = torch.Generator().manual_seed(seed)
    logits, boxes, landmarks = (
        torch.randn(batch, count, *tail, generator=generator, dtype=dtype).requires_grad_()
        for tail in ((), (4,), (10,))
    )
    return RetinaFaceMaps(logits, boxes, landmarks, sizes)


def targets(
    *images: Sequence[Sequence[float]],
    without_landmarks: bool = False,
    ignored: bool = False,
    complete: bool = True,
) -> Targets:
    """Faces x1, y1, x2, y2 of each image, with landmarks at fixed places of their boxes."""
    boxes = [torch.tensor(faces, dtype=torch.float32).reshape(-1, 4) for faces in images]
    places = torch.tensor([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)])
    points = [b[:, None, :2] + places * (b[:, None, 2:] - b[:, None, :2]) for b in boxes]
    if without_landmarks:
        points = [torch.full_like(p, torch.nan) for p in points]
    return Targets(boxes, points, [torch.full((len(b),), ignored) for b in boxes], torch.full((len(boxes),), complete))


def gradients(maps: RetinaFaceMaps, labels: Targets) -> tuple[dict[str, float], tuple[Tensor, Tensor, Tensor]]:
    losses = network().loss(maps, labels)
    torch.stack(list(losses.values())).sum().backward()
    grads = tuple(m.grad if m.grad is not None else torch.zeros_like(m) for m in maps[:3])
    return {name: value.item() for name, value in losses.items()}, grads


FACE = (10.0, 12, 30, 34)
OTHER = (40.0, 8, 52, 20)


class TestForward:
    @pytest.mark.parametrize(
        ("config", "side", "count"), [(RetinaFaceConfig(), 640, 16_800), (PAPER, 640, 102_300), (TINY, 64, 672)]
    )
    def test_a_row_an_anchor(self, config: RetinaFaceConfig, side: int, count: int) -> None:
        with torch.inference_mode():
            maps = network(config)(pictures(1, 3, side, side))
        assert maps.logits.shape == (1, count)
        assert maps.boxes.shape == (1, count, 4)
        assert maps.landmarks.shape == (1, count, 10)
        assert len(make_anchors(config.anchors, maps.sizes, CPU)) == count

    def test_every_image_size(self) -> None:
        model = network()
        with torch.inference_mode():
            for height in range(1, 71):
                width = 71 - height
                maps = model(pictures(1, 3, height, width))
                assert maps.sizes == tuple((-(-height // s), -(-width // s)) for s in (4, 8, 16))
                assert all(t.isfinite().all() for t in model.decode(maps))

    def test_rows_are_in_the_order_of_anchors(self) -> None:
        """A bright spot changes the rows most whose anchors are centred on it."""
        model = network()
        picture = torch.zeros(1, 3, 64, 64)
        spot = picture.clone()
        spot[:, :, 8:12, 48:52] = 255
        with torch.inference_mode():
            before, after = model(picture), model(spot)
        change = (after.landmarks - before.landmarks).abs().sum(dim=2)[0]
        anchors = make_anchors(TINY.anchors, after.sizes, CPU)
        finest = anchors[: 16 * 16 * 2]
        x, y, _ = finest[change[: len(finest)].argmax()].tolist()
        assert abs(x - 50) <= 8
        assert abs(y - 10) <= 8

    def test_dtype_of_the_pictures_does_not_matter(self) -> None:
        model, picture = network(), pictures(2, 3, 40, 24)
        with torch.inference_mode():
            assert torch.equal(model(picture).boxes, model(picture.to(torch.uint8)).boxes)

    def test_pictures_of_a_batch_do_not_influence_each_other(self) -> None:
        model, batch = network(), pictures(3, 3, 40, 24)
        with torch.inference_mode():
            together = model(batch)
            alone = model(batch[1:2])
        assert torch.allclose(together.landmarks[1:2], alone.landmarks, atol=1e-6)

    def test_scores_start_at_one_percent(self) -> None:
        with torch.inference_mode():
            scores = network(RetinaFaceConfig()).train()(pictures(2, 3, 64, 64)).logits.sigmoid()
        assert 0.005 < scores.min() <= scores.max() < 0.02

    def test_strides_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"anchors expect strides \(8, 16, 32\), the pyramid has \(4, 8, 16\)"):
            RetinaFace(replace(TINY, anchors=AnchorConfig()))


class TestLoss:
    def test_faces_without_landmarks_train_class_and_box_only(self) -> None:
        losses, (logits, boxes, landmarks) = gradients(random_maps(64, 64), targets([FACE], without_landmarks=True))
        assert losses["landmark"] == 0
        assert (landmarks == 0).all()
        assert (logits < 0).any()  # the face's anchors are pulled up
        assert (boxes != 0).any()
        assert losses["class"] > 0
        assert losses["box"] > 0

    def test_unknown_landmarks_never_poison_a_gradient(self) -> None:
        labels = targets([FACE, OTHER], [FACE])
        labels.landmarks[0][1, 3] = torch.nan  # one point of one face is enough
        losses, grads = gradients(random_maps(64, 64, batch=2), labels)
        assert np.isfinite(list(losses.values())).all()
        assert all(g.isfinite().all() for g in grads)
        anchors = anchor_boxes(make_anchors(TINY.anchors, random_maps(64, 64).sizes, CPU))
        found = match(anchors, labels.boxes[0], labels.ignored[0], TINY.match)
        learnt = (grads[2][0] != 0).any(dim=1)
        assert learnt.tolist() == ((found.label == POSITIVE) & (found.face == 0)).tolist()

    def test_a_batch_without_faces_teaches_background(self) -> None:
        losses, (logits, boxes, landmarks) = gradients(random_maps(64, 64, batch=3), targets([], [], []))
        assert losses["box"] == losses["landmark"] == 0
        assert 0 < losses["class"] < np.inf
        assert (logits >= 0).all()
        assert (logits > 0).sum() == 3 * TINY.loss.background
        assert (boxes == 0).all()
        assert (landmarks == 0).all()

    def test_hard_negatives_number_seven_a_positive_and_four_an_image(self) -> None:
        maps = random_maps(64, 64, batch=2)
        _, (logits, *_) = gradients(maps, targets([FACE, OTHER], []))
        positives = int((logits < 0).sum())
        assert positives > 0
        assert int((logits > 0).sum()) == 7 * positives + 2 * 4

    def test_ignored_faces_are_neither_learnt_nor_punished(self) -> None:
        maps = random_maps(64, 64)
        anchors = anchor_boxes(make_anchors(TINY.anchors, maps.sizes, CPU))
        labels = targets([FACE], ignored=True)
        neither = match(anchors, labels.boxes[0], labels.ignored[0], TINY.match).label == NEITHER
        with torch.no_grad():
            maps.logits[0, neither] = 9.0  # a confident detection there
        losses, (logits, boxes, _) = gradients(maps, labels)
        assert neither.any()
        assert (logits[0, neither] == 0).all()
        assert (boxes == 0).all()
        assert losses["box"] == 0

    @pytest.mark.parametrize("complete", [True, False])
    def test_confident_detections_off_incomplete_labels_are_not_punished(self, complete: bool) -> None:
        maps = random_maps(64, 64)
        anchors = anchor_boxes(make_anchors(TINY.anchors, maps.sizes, CPU))
        label = match(anchors, torch.tensor([FACE]), torch.tensor([False]), TINY.match).label
        background = (label == NEGATIVE).nonzero().squeeze(1)[:3]
        with torch.no_grad():
            maps.logits[0, background] = 5.0
        _, (logits, *_) = gradients(maps, targets([FACE], complete=complete))
        assert ((logits[0, background] > 0) == complete).all()
        assert (logits > 0).any()  # easier background still teaches

    def test_equals_a_slow_sum(self) -> None:
        maps = random_maps(64, 48, batch=2, seed=5)
        labels = targets([FACE, OTHER], [OTHER])
        labels.landmarks[1][:] = torch.nan
        losses, _ = gradients(maps, labels)
        assert losses == pytest.approx(slow_loss(maps, labels), rel=1e-5)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        maps = random_maps(32, 32, batch=2, seed=3, dtype=torch.float64)
        labels = targets([(6, 6, 18, 20)], [(10, 2, 26, 22)])
        model = network()

        def total(*leaves: Tensor) -> float:
            return torch.stack(list(model.loss(RetinaFaceMaps(*leaves, maps.sizes), labels).values())).sum().item()

        _, grads = gradients(maps, labels)
        rng = np.random.default_rng(0)
        for part, grad in enumerate(grads):
            used = grad.nonzero()
            assert len(used) > 0
            for index in used[rng.permutation(len(used))[:20]].tolist():
                sides = []
                for step in (1e-6, -1e-6):
                    leaves = [m.detach().clone() for m in maps[:3]]
                    leaves[part][tuple(index)] += step
                    sides.append(total(*leaves))
                assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(grad[tuple(index)].item(), rel=1e-4, abs=1e-7)

    def test_the_networks_gradient_predicts_the_change_of_the_loss(self) -> None:
        model, picture = network(), pictures(2, 3, 64, 64)
        labels = targets([FACE, OTHER], [FACE])

        def total() -> Tensor:
            return torch.stack(list(model.loss(model(picture), labels).values())).sum()

        before = total()
        before.backward()
        square = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
        rate = 1e-3 * before.item() / square  # should lower the loss by a thousandth
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter -= rate * parameter.grad
        assert (before - total()).item() / before.item() == pytest.approx(1e-3, rel=0.05)


def slow_loss(maps: RetinaFaceMaps, labels: Targets) -> dict[str, float]:
    """Equation 1, anchor by anchor."""
    anchors = make_anchors(TINY.anchors, maps.sizes, CPU)
    positive, negative, box, landmark, pointed = [], [], [], [], 0
    for b in range(len(maps.logits)):
        label, face = match(anchor_boxes(anchors), labels.boxes[b], labels.ignored[b], TINY.match)
        for a in range(len(anchors)):
            logit = maps.logits[b, a].item()
            if label[a] == NEGATIVE:
                negative.append(np.log1p(np.exp(logit)))
            elif label[a] == POSITIVE:
                positive.append(np.log1p(np.exp(-logit)))
                at, wanted = anchors[a : a + 1], labels.boxes[b][face[a] : face[a] + 1]
                box.append(slow_smooth_l1(maps.boxes[b, a] - encode_boxes(wanted, at, TINY.anchors)[0]))
                points = labels.landmarks[b][face[a] : face[a] + 1]
                if points.isfinite().all():
                    codes = encode_landmarks(points, at, TINY.anchors)[0]
                    landmark.append(slow_smooth_l1(maps.landmarks[b, a] - codes))
                    pointed += 1
    hard = sorted(negative, reverse=True)[: 7 * len(positive) + 4 * len(maps.logits)]
    return {
        "class": (sum(positive) + sum(hard)) / len(positive),
        "box": 2 * sum(box) / len(positive),
        "landmark": sum(landmark) / pointed,
    }


def slow_smooth_l1(errors: Tensor) -> float:
    return sum(e * e / 2 if abs(e) < 1 else abs(e) - 0.5 for e in errors.tolist())


class TestDecode:
    def test_one_known_face(self) -> None:
        model, maps = network(), random_maps(64, 64)
        anchors = make_anchors(TINY.anchors, maps.sizes, CPU)
        labels = targets([(11.5, 20.25, 40, 61)])
        at = 601
        with torch.no_grad():
            maps.logits[:] = -9
            maps.logits[0, at] = 2.0
            maps.boxes[0, at] = encode_boxes(labels.boxes[0], anchors[at : at + 1], TINY.anchors)[0]
            maps.landmarks[0, at] = encode_landmarks(labels.landmarks[0], anchors[at : at + 1], TINY.anchors)[0]
            boxes, scores, landmarks = model.decode(maps)
        assert boxes.shape == (1, 100, 4)
        assert landmarks.shape == (1, 100, 5, 2)
        assert scores[0, 0].item() == pytest.approx(1 / (1 + np.exp(-2)))
        assert (scores[0, 1:] < 1e-3).all()
        assert torch.allclose(boxes[0, 0], labels.boxes[0][0], atol=1e-4)
        assert torch.allclose(landmarks[0, 0], labels.landmarks[0][0], atol=1e-4)

    def test_rows_belong_together(self) -> None:
        model, maps = network(), random_maps(64, 64, batch=2)
        anchors = make_anchors(TINY.anchors, maps.sizes, CPU)
        with torch.no_grad():
            boxes, scores, landmarks = model.decode(maps)
        assert (scores.diff(dim=1) <= 0).all()
        for b in range(2):
            order = maps.logits[b].argsort(descending=True)[:100]
            assert torch.allclose(scores[b], maps.logits[b, order].sigmoid())
            codes = encode_boxes(boxes[b], anchors[order], TINY.anchors)
            assert torch.allclose(codes, maps.boxes[b, order], atol=1e-3)
            codes = encode_landmarks(landmarks[b], anchors[order], TINY.anchors)
            assert torch.allclose(codes, maps.landmarks[b, order], atol=1e-3)

    @pytest.mark.parametrize(("height", "width", "anchors"), [(1, 1, 6), (5, 3, 8), (33, 47, 100)])
    def test_rows_are_as_many_however_small_the_picture(self, height: int, width: int, anchors: int) -> None:
        model = network()
        with torch.inference_mode():
            boxes, scores, landmarks = model.export_forward(pictures(2, height, width, 3).to(torch.uint8))
        assert boxes.shape == (2, 100, 4)
        assert scores.shape == (2, 100)
        assert landmarks.shape == (2, 100, 5, 2)
        assert ((scores > 0).sum(dim=1) == anchors).all()
        assert all(t.isfinite().all() for t in (boxes, scores, landmarks))

    def test_the_exported_signature_takes_pictures_as_they_are(self) -> None:
        model, batch = network(), pictures(2, 40, 24, 3).to(torch.uint8)
        with torch.inference_mode():
            for ours, theirs in zip(
                model.export_forward(batch), model.decode(model(batch.permute(0, 3, 1, 2).float())), strict=True
            ):
                assert torch.equal(ours, theirs)
