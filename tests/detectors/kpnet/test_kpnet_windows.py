import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from facesmith.detectors.kpnet.windows import (
    cell_windows,
    relative_heat,
    soft_argmax,
    square_windows,
    window_argmax,
    window_maxima,
    window_means,
)

SIZES = [(1, 1), (5, 9), (16, 16), (3, 40), (33, 20)]


def random_windows(size: tuple[int, int], batch: int, count: int, longest: int = 40) -> Tensor:
    rng = np.random.default_rng(0)
    height, width = size
    cells = torch.from_numpy(rng.integers(0, (width, height), (batch, count, 2)))
    return cell_windows(cells, torch.from_numpy(rng.uniform(0.5, longest - 1, (batch, count))), size)


def pieces(maps: Tensor, windows: Tensor) -> Iterator[tuple[int, int, list[int], Tensor]]:
    """Image, number, corners and (C, h, w) content of each window."""
    for image in range(len(maps)):
        for n, (x1, y1, x2, y2) in enumerate(windows[image].tolist()):
            yield image, n, [x1, y1, x2, y2], maps[image, :, y1:y2, x1:x2]


class TestCellWindows:
    def test_they_are_centred(self) -> None:
        cells = torch.tensor([[[10, 12], [10, 12], [10, 12]]])
        windows = cell_windows(cells, torch.tensor([[1.0, 3.0, 7.2]]), (30, 30))
        assert windows.tolist() == [[[10, 12, 11, 13], [9, 11, 12, 14], [7, 9, 14, 16]]]

    def test_they_are_as_long_as_told(self) -> None:
        sides = torch.linspace(1, 60, 200)[None]
        windows = cell_windows(torch.full((1, 200, 2), 100), sides, (200, 200))
        lengths = windows[..., 2:] - windows[..., :2]
        assert (lengths[..., 0] == lengths[..., 1]).all()
        assert ((lengths[..., 0] - sides).abs() <= 1).all()
        middles = (windows[..., 2:] + windows[..., :2]) / 2
        assert ((middles - 100.5).abs() <= 0.5).all()

    def test_they_are_clipped(self) -> None:
        windows = cell_windows(torch.tensor([[[0, 0], [19, 9], [4, 5]]]), torch.tensor([[6.4, 6.4, 99.0]]), (10, 20))
        assert windows.tolist() == [[[0, 0, 4, 4], [16, 6, 20, 10], [0, 0, 20, 10]]]

    def test_the_smallest_hold_their_cell(self) -> None:
        cells = torch.tensor([[[3, 4], [0, 0], [7, 7]]])
        windows = cell_windows(cells, torch.full((1, 3), 0.01), (8, 8))
        assert (windows[..., :2] == cells).all()
        assert (windows[..., 2:] == cells + 1).all()


class TestSoftArgmax:
    @pytest.mark.parametrize("size", SIZES)
    def test_equations_5_and_6(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        heat = torch.randn(2, 3, *size) * 4
        windows = random_windows(size, 2, 25)
        means, totals = soft_argmax(relative_heat(heat), windows)
        assert means.shape == (2, 25, 3, 2)
        for image, n, (x1, y1, x2, y2), piece in pieces(heat.double(), windows):
            phi = piece.flatten(1).softmax(dim=1).reshape(piece.shape)
            x, y = torch.arange(x1, x2) + 0.5, torch.arange(y1, y2) + 0.5
            expected = torch.stack(((phi * x).sum(dim=(1, 2)), (phi * y[:, None]).sum(dim=(1, 2))), dim=1)
            torch.testing.assert_close(means[image, n].double(), expected, atol=1e-4, rtol=1e-5)
            greatest = heat[image].amax(dim=(1, 2))
            total = (piece - greatest[:, None, None]).exp().sum(dim=(1, 2))
            torch.testing.assert_close(totals[image, n].double(), total, rtol=1e-4, atol=0)

    def test_gradients(self) -> None:
        torch.manual_seed(0)
        heat = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
        windows = random_windows((5, 6), 1, 4, longest=6)
        assert torch.autograd.gradcheck(lambda h: soft_argmax(relative_heat(h), windows)[0], heat)

    def test_another_window_does_not_feel_it(self) -> None:
        heat = torch.randn(1, 1, 12, 12, requires_grad=True)
        windows = torch.tensor([[[2, 3, 6, 9]]])
        soft_argmax(relative_heat(heat), windows)[0].square().sum().backward()
        assert heat.grad is not None
        moved = heat.grad[0, 0].nonzero()
        assert moved.amin(dim=0).tolist() == [3, 2]
        assert moved.amax(dim=0).tolist() == [8, 5]

    def test_a_peak_is_found_to_the_cell(self) -> None:
        heat = torch.zeros(1, 1, 20, 20)
        heat[0, 0, 7, 11] = 60
        means, _ = soft_argmax(relative_heat(heat), torch.tensor([[[5, 5, 15, 15]]]))
        torch.testing.assert_close(means[0, 0, 0], torch.tensor([11.5, 7.5]))

    def test_a_window_without_heat_has_its_middle(self) -> None:
        """Heat elsewhere must neither reach nor spoil it, even where e^h underflows."""
        heat = torch.zeros(1, 1, 64, 64)
        heat[0, 0, :32] = 500
        means, totals = soft_argmax(relative_heat(heat), torch.tensor([[[10, 40, 14, 50]]]))
        torch.testing.assert_close(means[0, 0, 0], torch.tensor([12.0, 45.0]))
        assert totals[0, 0, 0] > 0

    def test_faint_heat_beside_strong_keeps_its_accuracy(self) -> None:
        """Integral images in float32 would give noise here."""
        heat = torch.zeros(1, 1, 128, 128)
        heat[0, 0, :64] = 30
        heat[0, 0, 100, 30] = 8
        means, _ = soft_argmax(relative_heat(heat), torch.tensor([[[20, 90, 40, 110]]]))
        phi = math.exp(8) / (math.exp(8) + 399)
        expected = torch.tensor([30 + phi * 0.5, 100 + phi * 0.5])
        torch.testing.assert_close(means[0, 0, 0], expected, atol=1e-3, rtol=0)

    def test_no_windows(self) -> None:
        heat = torch.randn(2, 3, 4, 4, requires_grad=True)
        means, _ = soft_argmax(relative_heat(heat), torch.zeros(2, 0, 4, dtype=torch.int64))
        assert means.shape == (2, 0, 3, 2)
        means.sum().backward()
        assert heat.grad is not None
        assert not heat.grad.any()


class TestMaxima:
    @pytest.mark.parametrize("size", SIZES)
    def test_they_are_the_greatest(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        warmth = torch.rand(2, 3, *size)
        windows = random_windows(size, 2, 40)
        found = window_maxima(warmth, windows, 40)
        assert found.shape == (2, 40, 3)
        for image, n, _, piece in pieces(warmth, windows):
            assert torch.equal(found[image, n], piece.amax(dim=(1, 2)))

    @pytest.mark.parametrize("longest", [1, 2, 3, 4, 7, 8])
    def test_windows_of_all_lengths_up_to_the_longest(self, longest: int) -> None:
        torch.manual_seed(0)
        warmth = torch.rand(1, 1, 9, 11)
        windows = torch.tensor(
            [
                [
                    [x, y, x + w, y + h]
                    for w in range(1, longest + 1)
                    for h in range(1, longest + 1)
                    for x in range(12 - w)
                    for y in range(10 - h)
                ]
            ]
        )
        found = window_maxima(warmth, windows, longest)
        expected = torch.stack([piece.amax(dim=(1, 2)) for *_, piece in pieces(warmth, windows)])
        assert torch.equal(found[0], expected)

    def test_no_channels(self) -> None:
        assert window_maxima(torch.rand(1, 0, 4, 4), torch.tensor([[[0, 0, 2, 2]]]), 4).shape == (1, 1, 0)


class TestArgmax:
    @pytest.mark.parametrize("size", SIZES)
    def test_they_are_where_the_greatest_is(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        values = torch.randn(2, 3, *size)
        windows = random_windows(size, 2, 40)
        cells, found = window_argmax(values, windows, 40)
        assert cells.shape == (2, 40, 3, 2)
        for image, n, (x1, y1, x2, _), piece in pieces(values, windows):
            greatest, index = piece.flatten(1).max(dim=1)
            assert torch.equal(found[image, n], greatest)
            expected = torch.stack((x1 + index % (x2 - x1), y1 + index // (x2 - x1)), dim=1)
            assert torch.equal(cells[image, n], expected)


class TestMeans:
    @pytest.mark.parametrize("size", SIZES)
    def test_they_are_the_means(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        values = torch.randn(2, 3, *size)
        windows = random_windows(size, 2, 25)
        found = window_means(values, windows)
        assert found.shape == (2, 25, 3)
        for image, n, _, piece in pieces(values, windows):
            torch.testing.assert_close(found[image, n], piece.mean(dim=(1, 2)), atol=1e-5, rtol=1e-5)


class TestSquareWindows:
    def test_they_are_those_of_a_cell_and_a_side(self) -> None:
        cells, sides = torch.randint(0, 30, (1, 200, 2)), torch.linspace(0.3, 40, 200)[None]
        centre = (cells + 0.5) * 2
        squares = torch.cat((centre - sides[..., None], centre + sides[..., None]), dim=2)
        assert torch.equal(square_windows(squares, (30, 30)), cell_windows(cells, sides, (30, 30)))

    def test_what_is_off_the_map_gets_its_border(self) -> None:
        squares = torch.tensor([[[-50.0, 10, -40, 20], [100, 100, 104, 104], [-4, -4, 6, 6]]])
        assert square_windows(squares, (12, 20)).tolist() == [[[0, 5, 1, 10], [19, 11, 20, 12], [0, 0, 3, 3]]]
