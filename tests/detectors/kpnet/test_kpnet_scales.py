import math

import numpy as np
import pytest
import torch
from torch import Tensor

from facesmith.detectors.kpnet.config import BINS, ScaleConfig
from facesmith.detectors.kpnet.scales import (
    Cells,
    bin_sides,
    centre_cells,
    covered,
    face_bins,
    longest_window,
    scale_targets,
)


def sides(*values: float) -> Tensor:
    return torch.tensor(values)


class TestBins:
    def test_the_papers_own_example(self) -> None:
        """20 pixels in a picture of 1280 are the smallest face: bin 0, although bins are "from 1 to S"."""
        assert face_bins(sides(20, 19.9, 1280, 1279), ScaleConfig(side=1280)).tolist() == [0, -1, 59, 59]

    def test_whole_octaves_begin_a_bin(self) -> None:
        config = ScaleConfig(side=2048)
        octaves = sides(*(2.0**t for t in range(5, 12)))
        assert face_bins(octaves, config).tolist() == [0, 10, 20, 30, 40, 50, 59]

    def test_equation_1(self) -> None:
        values = np.random.default_rng(0).uniform(4, 300, 500)
        expected = [min(math.floor(10 * (math.log2(v * 2048 / 256) - 5)), 59) for v in values]
        assert face_bins(torch.from_numpy(values), ScaleConfig()).tolist() == expected

    def test_too_small_is_negative_and_too_large_is_the_last(self) -> None:
        assert (face_bins(sides(0, 1, 3.99), ScaleConfig()) < 0).all()
        assert face_bins(sides(256, 400, 1e5), ScaleConfig()).tolist() == [59, 59, 59]

    @pytest.mark.parametrize("side", [256, 300, 1280])
    def test_the_inverse_is_the_middle_of_the_bin(self, side: int) -> None:
        config, bins = ScaleConfig(side=side), torch.arange(BINS)
        middles = bin_sides(bins, config)
        assert face_bins(middles, config).tolist() == bins.tolist()
        assert float(middles[0]) == pytest.approx(side / 64 * 2**0.05)
        torch.testing.assert_close(middles[1:] / middles[:-1], torch.full((59,), 2**0.1))

    def test_no_window_is_longer_than_told(self) -> None:
        for side in (64, 256, 999):
            config = ScaleConfig(side=side)
            greatest = float(bin_sides(torch.tensor(BINS - 1), config)) / 2
            assert greatest + 1 <= longest_window(2 * greatest) + 1e-6 + 1
            assert longest_window(2 * greatest) < greatest + 2


def test_centre_cells_are_in_the_map() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 8], [10, 10, 13, 13], [-30, 5, 2, 7], [60, 60, 80, 64]])
    assert centre_cells(boxes, (20, 30)).tolist() == [[1, 2], [5, 5], [0, 3], [29, 19]]


def dense(faces: list[tuple[int, int, int, int]], shape: tuple[int, int, int], config: ScaleConfig) -> Tensor:
    """``scale_targets`` of (image, x, y, bin) as a map."""
    image, x, y, b = torch.tensor(faces, dtype=torch.int64).reshape(-1, 4).unbind(dim=1)
    places, values = scale_targets(Cells(image, x, y, b), shape, config)
    assert (places.diff() > 0).all()
    flat = torch.zeros(shape[0] * BINS * shape[1] * shape[2])
    flat[places] = values
    return flat.reshape(shape[0], BINS, *shape[1:])


def by_hand(faces: list[tuple[int, int, int, int]], shape: tuple[int, int, int], sigma: float) -> Tensor:
    """Eq. 2 and 3, a cell at a time."""
    out = torch.zeros(shape[0], BINS, *shape[1:])
    for image, x, y, b in faces:
        radius = b // 10
        for j in range(shape[1]):
            for i in range(shape[2]):
                away = (i - x) ** 2 + (j - y) ** 2
                value = float(away == 0)
                if radius and away:
                    value = math.exp(-away / radius**2 / (2 * sigma**2))
                if value >= 1e-3:
                    out[image, b, j, i] = max(out[image, b, j, i], value)
    return out


class TestTargets:
    @pytest.mark.parametrize("sigma", [0.05, 0.1, 0.3, 0.7])
    def test_equations_2_and_3(self, sigma: float) -> None:
        rng = np.random.default_rng(0)
        shape = (2, 13, 17)
        faces = [tuple(map(int, rng.integers(0, (2, 17, 13, BINS)))) for _ in range(12)]
        faces += [(0, 8, 6, 55), (0, 9, 6, 55), (0, 9, 6, 55), (1, 0, 0, 58), (1, 16, 12, 51)]  # near ones, corners
        torch.testing.assert_close(
            dense(faces, shape, ScaleConfig(sigma=sigma)), by_hand(faces, shape, sigma), atol=1e-6, rtol=0
        )

    def test_the_facts_own_numbers(self) -> None:
        """σ = .1: a neighbour has .004 at r = 3, .044 at 4, .135 at 5, and nothing to speak of below."""
        faces = [(0, 5, 5, b) for b in (29, 30, 40, 50)]
        neighbours = dense(faces, (1, 11, 11), ScaleConfig())[0, [29, 30, 40, 50], 5, 6]
        assert neighbours.tolist() == pytest.approx([0, 0.004, 0.044, 0.135], abs=6e-4)

    def test_small_faces_are_not_spread(self) -> None:
        out = dense([(0, 5, 5, b) for b in range(10)], (1, 11, 11), ScaleConfig(sigma=5.0))
        assert out.count_nonzero() == 10
        assert (out[0, range(10), 5, 5] == 1).all()

    def test_the_greater_value_stays_between_two_faces(self) -> None:
        out = dense([(0, 5, 5, 50), (0, 6, 5, 50)], (1, 11, 11), ScaleConfig())
        assert out[0, 50, 5, 5] == out[0, 50, 5, 6] == 1

    def test_no_faces(self) -> None:
        assert dense([], (2, 5, 5), ScaleConfig()).count_nonzero() == 0


def test_covered_cells() -> None:
    rng = np.random.default_rng(0)
    height, width = 9, 14
    boxes = rng.uniform(-6, 30, (3, 8, 2, 2)).astype(np.float32)
    boxes.sort(axis=2)
    flat = torch.from_numpy(boxes.reshape(3, 8, 4))
    chosen = torch.from_numpy(rng.random((3, 8)) < 0.3)
    expected = torch.zeros(3, height, width, dtype=torch.bool)
    for image in range(3):
        for (x1, y1, x2, y2), wanted in zip(flat[image].tolist(), chosen[image], strict=True):
            for j in range(height):
                for i in range(width):
                    touches = 2 * i < x2 and 2 * i + 2 > x1 and 2 * j < y2 and 2 * j + 2 > y1
                    expected[image, j, i] |= bool(wanted) and touches
    assert expected.any()
    assert not expected.all()
    assert torch.equal(covered(flat, chosen, (height, width)), expected)
