from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from facesmith.detectors.bfbox.architecture import PYRAMIDS, Merge
from facesmith.detectors.bfbox.config import BFBoxConfig, BFBoxLossConfig, uniform
from facesmith.detectors.bfbox.loss import focal
from facesmith.detectors.bfbox.model import BFBox
from facesmith.detectors.bfbox.pyramid import combine, resample
from facesmith.detectors.bfbox.space import PAPER, TINY, uniform_path
from facesmith.detectors.types import Targets
from facesmith.search.bfbox.costs import backbone_cost, detector_cost

SMALL = BFBoxConfig(
    "k3,dw35/dense2x8/dw5/k5/dw3/k3 p4=c4+c6 p2=c2*p4 p3=c3+p2 p6=c6*c2 p5=c5+p3",
    stem=8,
    stem_kernel=3,
    widths=(8, 12, 16, 16, 16, 16),
    squeeze=2,
    channels=8,
    candidates=50,
)


def network(config: BFBoxConfig = SMALL) -> BFBox:
    torch.manual_seed(0)
    return BFBox(config)


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 200), (130, 65)])
def test_any_size_gives_all_rows(size: tuple[int, int]) -> None:
    boxes, scores, landmarks = network().eval().export_forward(torch.zeros(2, *size, 3, dtype=torch.uint8))
    assert boxes.shape == (2, 50, 4)
    assert scores.shape == (2, 50)
    assert landmarks.shape == (2, 50, 5, 2)
    assert (scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("pyramid", PYRAMIDS.values())
def test_pyramids_made_by_hand_run(pyramid: str) -> None:
    config = replace(SMALL, architecture=uniform("k3", (1,) * 6, pyramid))
    maps = network(config).eval()(torch.zeros(1, 3, 100, 70))
    assert maps.sizes == ((25, 18), (13, 9), (7, 5), (4, 3), (2, 2), (1, 1))


def counted(model: BFBox, images: torch.Tensor) -> dict[str, int]:
    """Multiply-accumulates of each convolution."""
    macs: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, out: torch.Tensor) -> None:
            weight = module.weight
            assert isinstance(weight, torch.Tensor)
            macs[name] = macs.get(name, 0) + weight.numel() * out.shape[2] * out.shape[3]

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count(name))
    with torch.inference_mode():
        model(images)
    return macs


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
@pytest.mark.parametrize("kind", ["tiny", "tiny without", "paper"])
def test_costs_are_those_of_the_network(kind: str, size: tuple[int, int]) -> None:
    preset = PAPER if kind == "paper" else TINY
    for step in range(2):
        config = preset.config(preset.space.decode(uniform_path(preset.space, 1, step)))
        if kind == "tiny without":
            config = replace(config, receptive_field=False, attention=False)
        model, images = BFBox(config).eval(), torch.zeros(1, 3, *size)
        macs = counted(model, images)
        cost = detector_cost(config, size)
        assert cost.macs == sum(macs.values())
        backbone = sum(count for name, count in macs.items() if name.startswith(("stem", "stages")))
        assert backbone_cost(config, size).macs == backbone
        assert cost.parameters == sum(p.numel() for p in model.parameters())


def test_gates_start_at_one_and_move_the_other_input() -> None:
    x, other = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3)
    for operation, plain in (("+", x + other), ("*", x * other)):
        merge = Merge(2, "c3", operation)  # type: ignore[arg-type]
        torch.testing.assert_close(combine(x, other, merge, torch.tensor(1.0)), plain)
        torch.testing.assert_close(combine(x, other, merge, None), plain)
        torch.testing.assert_close(combine(x, other, merge, torch.tensor(0.0)), x)


def test_without_attention_is_attention_untrained() -> None:
    model = network().eval()
    plain = BFBox(replace(SMALL, attention=False)).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k != "gates"})
    images = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images).logits, plain(images).logits)
    assert model.gates is not None
    torch.nn.init.ones_(model.gates)
    assert not torch.allclose(model(images).logits, plain(images).logits)


@pytest.mark.parametrize("side", [1, 2, 7, 64, 65])
def test_maps_are_brought_to_any_level(side: int) -> None:
    sides = {level: -(-side // 2**level) for level in range(2, 7)}
    maps = {level: torch.rand(1, 2, s, s) for level, s in sides.items()}
    for level, x in maps.items():
        for target, like in maps.items():
            assert resample(x, level, like, target).shape == like.shape
    coarse, fine = torch.rand(1, 1, 2, 2), torch.rand(1, 1, 7, 8)
    assert torch.equal(resample(coarse, 4, fine, 2), coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, :7])


def test_focal_loss_is_cross_entropy_where_gamma_is_none() -> None:
    logits = torch.linspace(-5, 5, 11)
    positive = torch.arange(11) % 2 == 0
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    found = focal(logits, positive, BFBoxLossConfig(alpha=0.5, gamma=0.0))
    torch.testing.assert_close(found, wanted / 2)
    p = torch.tensor(2.0).sigmoid()
    expected = 0.25 * (1 - p) ** 2 * -p.log()
    torch.testing.assert_close(focal(torch.tensor([2.0]), torch.tensor([True]), BFBoxLossConfig())[0], expected)


def test_loss_falls_and_every_weight_learns() -> None:
    model = network().train()
    boxes = torch.tensor([[20.0, 24, 44, 48], [40, 10, 56, 26]])
    targets = Targets(
        [boxes, boxes[:0]],
        [(boxes[:, None, :2] + boxes[:, None, 2:]).expand(-1, 5, 2) / 2, torch.zeros(0, 5, 2)],
        [torch.zeros(2, dtype=torch.bool), torch.zeros(0, dtype=torch.bool)],
        torch.tensor([True, True]),
    )
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    totals = []
    for _ in range(30):
        losses = model.loss(model(images), targets)
        assert set(losses) == {"class", "box", "landmark"}
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        total.backward()
        totals.append(total.item())
        still = {n for n, p in model.named_parameters() if p.grad is None}
        assert not still, still
        optimiser.step()
    assert totals[-1] < 0.5 * totals[0]


def test_exports_as_every_detector_does(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxslim")
    from facesmith.detectors.weights import DETECTORS
    from facesmith.export.onnx import PARITY_TOLERANCE, export_onnx

    if "bfbox" not in DETECTORS:
        pytest.skip("not entered among the detectors yet")
    parity = export_onnx(network(), tmp_path / "small.onnx", name="small")
    assert max(parity) <= PARITY_TOLERANCE
