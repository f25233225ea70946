import pytest
import torch

from facesmith.detectors.damofd.config import RELEASED, DamoFDConfig
from facesmith.detectors.damofd.model import ANCHORS, DamoFD, DamoFDMaps
from facesmith.detectors.parts.anchors import make_anchors
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError

SMALL = DamoFDConfig(
    backbone="K3(3,8,2,1)K3K3(8,8,2,8,1)IDWE1K3(8,16,2,8,1)K1K3K1(16,16,2,8,1)IDWE2K3(16,24,2,8,2)",
    neck_channels=16,
    head_channels=16,
    candidates=50,
)


def targets(faces: list[list[list[float]]], landmarks: bool = True, complete: bool = True) -> Targets:
    boxes = [torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) for rows in faces]
    centres = [(b[:, None, :2] + b[:, None, 2:]).expand(-1, 5, 2) / 2 for b in boxes]
    points = centres if landmarks else [torch.full_like(c, torch.nan) for c in centres]
    return Targets(
        boxes,
        points,
        [torch.zeros(len(b), dtype=torch.bool) for b in boxes],
        torch.full((len(boxes),), complete),
    )


def images(count: int, side: int = 96) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "published"), [("0.5G", 0.26), ("2.5G", 0.44), ("10G", 1.27), ("34G", 6.24)])
def test_released_nets_have_the_published_parameters(name: str, published: float) -> None:
    with torch.device("meta"):
        model = DamoFD(RELEASED[name])
    landmark_branch = sum(p.numel() for p in model.predictions[2].parameters())
    count = sum(p.numel() for p in model.parameters()) - landmark_branch
    assert count / 1e6 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 96)])
def test_any_size_gives_all_rows(size: tuple[int, int]) -> None:
    model = DamoFD(SMALL).eval()
    boxes, scores, landmarks = model.export_forward(torch.zeros(2, *size, 3, dtype=torch.uint8))
    assert boxes.shape == (2, 50, 4)
    assert scores.shape == (2, 50)
    assert landmarks.shape == (2, 50, 5, 2)
    assert (scores.diff(dim=1) <= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_units_start_as_their_shortcuts() -> None:
    model = DamoFD(SMALL).eval()
    unit = model.backbone.stages[1][0]
    x = torch.rand(1, 8, 12, 12)
    torch.testing.assert_close(unit(x), torch.relu(unit.shortcut(x)))


def test_decode_gives_the_box_of_its_distances() -> None:
    model = DamoFD(SMALL)
    sizes = ((12, 12), (6, 6), (3, 3))
    anchors = make_anchors(ANCHORS, sizes, torch.device("cpu"))
    logits = torch.full((1, len(anchors)), -9.0)
    boxes = torch.zeros(1, len(anchors), 4)
    landmarks = torch.zeros(1, len(anchors), 10)
    row = 12 * 12 * 2 + 2 * (6 * 2 + 3)  # level of stride 16, row 2, column 3: centre (48, 32)
    logits[0, row], boxes[0, row], landmarks[0, row] = (
        3.0,
        torch.tensor([1.0, 0.5, 2.0, 1.5]),
        torch.arange(10.0),
    )
    out = model.decode(DamoFDMaps(logits, boxes, landmarks, sizes))
    torch.testing.assert_close(out[0][0, 0], torch.tensor([32.0, 24.0, 80.0, 56.0]))
    torch.testing.assert_close(out[1][0, 0], torch.tensor(3.0).sigmoid())
    torch.testing.assert_close(out[2][0, 0, 1], torch.tensor([48.0 + 2 * 16, 32.0 + 3 * 16]))


def test_faces_without_landmarks_train_no_landmarks() -> None:
    torch.manual_seed(0)
    model = DamoFD(SMALL)
    terms = model.loss(model(images(1)), targets([[[10, 10, 60, 70]]], landmarks=False))
    assert terms["landmark"] == 0
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.predictions[2].weight.grad.abs().sum() == 0  # type: ignore[union-attr]
    assert model.predictions[1].weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_a_batch_without_faces_teaches_background() -> None:
    torch.manual_seed(0)
    model = DamoFD(SMALL)
    terms = model.loss(model(images(2)), targets([[], []]))
    assert terms["box"] == 0
    assert terms["class"] > 0
    assert all(term.isfinite() for term in terms.values())


def test_confident_detections_count_only_where_labels_are_complete() -> None:
    torch.manual_seed(0)
    model = DamoFD(SMALL)
    with torch.no_grad():
        model.predictions[0].bias.fill_(3.0)
    model.eval()
    maps = model(images(1))
    assert model.loss(maps, targets([[]], complete=False))["class"] == 0
    assert model.loss(maps, targets([[]]))["class"] > 1


def test_learns_a_batch_by_heart() -> None:
    torch.manual_seed(0)
    model = DamoFD(SMALL)
    face = [20.0, 24.0, 60.0, 72.0]
    batch, wanted = images(1), targets([[face]])
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        torch.stack(list(model.loss(model(batch), wanted).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    boxes, scores, landmarks = model.decode(model(batch))
    assert scores[0, 0] > 0.7
    torch.testing.assert_close(boxes[0, 0], torch.tensor(face), atol=3, rtol=0)
    torch.testing.assert_close(landmarks[0, 0], torch.tensor([[40.0, 48.0]]).expand(5, 2), atol=3, rtol=0)


class TestAnotherBackbone:
    CONFIG = DamoFDConfig(backbone=MobileNetConfig(), head_channels=16)

    def test_a_mobilenet_in_the_same_framework(self) -> None:
        model = DamoFD(self.CONFIG).eval()
        boxes, scores, landmarks = model.decode(model(torch.zeros(2, 3, 64, 96)))
        assert boxes.shape == (2, self.CONFIG.candidates, 4)
        assert scores.shape == (2, self.CONFIG.candidates)
        assert landmarks.shape == (2, self.CONFIG.candidates, 5, 2)

    def test_it_has_no_stages(self) -> None:
        with pytest.raises(ConfigError, match="no stages of DamoFD's kind"):
            _ = self.CONFIG.net

    def test_strides_must_be_those_of_the_anchors(self) -> None:
        stages = (((16, 2),), ((24, 2),), ((32, 2),))
        with pytest.raises(ConfigError, match=r"strides \(8, 16, 32\), the backbone taps \(4, 8, 16\)"):
            DamoFD(DamoFDConfig(backbone=MobileNetConfig(stages=stages)))
