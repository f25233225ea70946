import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.detectors.parts import deformable
from facesmith.detectors.parts.deformable import DeformableConv2d, DeformableUnit, deformable_conv2d


class Case:
    """Random arguments of a convolution of 3 to 4 channels."""

    def __init__(
        self, height: int, width: int, *, stride: int = 1, kernel: int = 3, spread: float = 1.5, batch: int = 2
    ) -> None:
        generator = torch.Generator().manual_seed(height * width + stride)
        rows, columns, points = -(-height // stride), -(-width // stride), kernel * kernel

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.stride = stride
        self.x = random(batch, 3, height, width)
        self.offsets = random(batch, 2 * points, rows, columns) * spread
        self.mask = random(batch, points, rows, columns).sigmoid() * 2
        self.weight = random(4, 3, kernel, kernel)

    def __call__(self, **changes: Tensor) -> Tensor:
        x, offsets, mask, weight = ({**vars(self), **changes}[name] for name in ("x", "offsets", "mask", "weight"))
        return deformable_conv2d(x, offsets, mask, weight, stride=self.stride)


def slow(case: Case) -> Tensor:
    """Equation 1 of DCNv2, point by point; bilinear reading with zeros outside."""
    outputs, _, kernel, _ = case.weight.shape
    batch, _, rows, columns = case.mask.shape
    out = torch.zeros(batch, outputs, rows, columns, dtype=torch.float64)
    for b in range(batch):
        for i in range(rows):
            for j in range(columns):
                for t in range(kernel * kernel):
                    down, right = case.offsets[b, 2 * t : 2 * t + 2, i, j].tolist()
                    y = i * case.stride + t // kernel - kernel // 2 + down
                    x = j * case.stride + t % kernel - kernel // 2 + right
                    value = read(case.x[b], y, x) * case.mask[b, t, i, j]
                    out[b, :, i, j] += case.weight[:, :, t // kernel, t % kernel] @ value
    return out


def read(image: Tensor, y: float, x: float) -> Tensor:
    total = torch.zeros(len(image), dtype=torch.float64)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                total += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These tests are about our own code, on machines with torchvision too."""
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    deformable._torchvision_kernel.cache_clear()
    yield
    deformable._torchvision_kernel.cache_clear()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (7, 4), (8, 9)])
@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (1, 5)])
def test_without_offsets_it_is_an_ordinary_convolution(height: int, width: int, stride: int, kernel: int) -> None:
    case = Case(height, width, stride=stride, kernel=kernel)
    found = case(offsets=torch.zeros_like(case.offsets), mask=torch.ones_like(case.mask))
    torch.testing.assert_close(found, F.conv2d(case.x, case.weight, stride=stride, padding=kernel // 2))


@pytest.mark.parametrize(("height", "width", "stride"), [(1, 1, 1), (5, 4, 1), (5, 7, 2)])
def test_equals_a_slow_loop(height: int, width: int, stride: int) -> None:
    case = Case(height, width, stride=stride)
    torch.testing.assert_close(case(), slow(case))


def test_single_precision_is_enough_for_a_wide_map() -> None:
    case = Case(2, 600, spread=5, batch=1)
    single = case(**{name: value.float() for name, value in vars(case).items() if isinstance(value, Tensor)})
    torch.testing.assert_close(single.double(), case(), rtol=1e-3, atol=2e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    case = Case(3, 4, batch=1)  # no offset of it is near a whole number, where reading has a kink
    names = ("x", "offsets", "mask", "weight")
    leaves = tuple(getattr(case, name).requires_grad_() for name in names)
    assert torch.autograd.gradcheck(lambda *values: case(**dict(zip(names, values, strict=True))), leaves)


def test_samples_are_not_kept_for_the_gradient() -> None:
    case = Case(16, 16)
    case.x.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):  # type: ignore[func-returns-value]
        case().sum().backward()
    inputs = sum(v.numel() for v in vars(case).values() if isinstance(v, Tensor))
    assert sum(kept) <= inputs


class TestModule:
    def test_it_starts_as_an_ordinary_convolution(self) -> None:
        torch.manual_seed(0)
        module, x = DeformableConv2d(3, 4), torch.randn(2, 3, 6, 5)
        torch.testing.assert_close(module(x), F.conv2d(x, module.weight, padding=1), rtol=1e-4, atol=1e-5)

    def test_27_numbers_a_place(self) -> None:
        assert DeformableConv2d(3, 4).offsets.out_channels == 27

    def test_all_parameters_learn(self) -> None:
        torch.manual_seed(0)
        module = DeformableConv2d(3, 4)
        module(torch.randn(2, 3, 6, 5)).square().sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert (parameter.grad != 0).any(), name

    def test_offsets_learn_at_a_tenth_of_the_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One step of gradient descent, with the scaled output and with none: what comes out moves a tenth as far."""

        def predicted() -> Tensor:
            torch.manual_seed(0)
            module, x = DeformableConv2d(3, 4), torch.randn(2, 3, 6, 5)
            module(x).square().sum().backward()
            with torch.no_grad():
                for parameter in module.offsets.parameters():
                    assert parameter.grad is not None
                    parameter -= 1e-3 * parameter.grad
                return module.offsets(x) * deformable.SLOWER

        slower = predicted()
        monkeypatch.setattr(deformable, "SLOWER", 1.0)
        torch.testing.assert_close(slower, 0.1 * predicted())

    @pytest.mark.parametrize("activate", [True, False])
    def test_the_unit_normalises_and_rectifies(self, activate: bool) -> None:
        torch.manual_seed(0)
        out = DeformableUnit(3, 4, activate=activate)(torch.randn(4, 3, 8, 8))
        assert out.shape == (4, 4, 8, 8)
        assert (out.min() >= 0) == activate
        if not activate:
            torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)

    def test_reduced_precision_finds_the_same_places(self) -> None:
        torch.manual_seed(0)
        module, x = DeformableConv2d(3, 4), torch.randn(2, 3, 40, 40)
        torch.nn.init.normal_(module.offsets.bias, std=2)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            out = module(x)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), module(x), rtol=0.1, atol=0.1)


class TestTorchvision:
    """Its place is taken by a stand-in with the same signature."""

    def install(self, monkeypatch: pytest.MonkeyPatch, factor: float) -> list[Any]:
        calls: list[Any] = []

        def deform_conv2d(
            input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any
        ) -> Tensor:
            assert bias is None
            assert options["padding"] == weight.shape[-1] // 2
            calls.append(options["stride"])
            return factor * deformable._sampled(input, offset, options["mask"], weight, options["stride"])

        module = ModuleType("torchvision.ops")
        module.deform_conv2d = deform_conv2d  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.ops", module)
        deformable._torchvision_kernel.cache_clear()
        return calls

    def test_a_kernel_that_agrees_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = Case(5, 4, stride=2)
        calls = self.install(monkeypatch, 1.0)
        torch.testing.assert_close(case(), slow(case))
        assert calls == [1, 2]  # the trial, then the call

    def test_one_that_differs_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = Case(5, 4)
        calls = self.install(monkeypatch, 1.1)
        torch.testing.assert_close(case(), slow(case))
        assert calls == [1]
