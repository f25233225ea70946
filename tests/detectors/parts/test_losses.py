import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facesmith.detectors.parts.losses import (
    distance_iou,
    hard_negatives,
    paired_iou,
    process_count,
    quality_focal,
    smooth_l1,
    total_over_processes,
)


class TestHardNegatives:
    def test_they_are_the_greatest_candidates(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(200):
            n = int(rng.integers(1, 40))
            loss = torch.from_numpy(rng.permutation(n).astype(np.float32))
            candidates = torch.from_numpy(rng.random(n) < rng.random())
            count = int(rng.integers(0, 50))
            chosen = hard_negatives(loss, candidates, count)
            expected = sorted(loss[candidates].tolist(), reverse=True)[:count]
            assert sorted(loss[chosen].tolist(), reverse=True) == expected
            assert not (chosen & ~candidates).any()

    def test_the_count_is_exact_among_equals(self) -> None:
        chosen = hard_negatives(torch.ones(100), torch.ones(100, dtype=torch.bool), 7)
        assert chosen.sum() == 7

    @pytest.mark.parametrize("loss", [0.0, -1.0, torch.inf])
    def test_never_what_is_no_candidate_even_where_candidates_lose(self, loss: float) -> None:
        candidates = torch.tensor([False, True, False, True])
        values = torch.tensor([9.0, loss, 9.0, loss])
        assert hard_negatives(values, candidates, 3).tolist() == candidates.tolist()

    def test_no_anchors(self) -> None:
        assert hard_negatives(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 5).shape == (0,)

    def test_the_mask_carries_no_gradient(self) -> None:
        loss = torch.rand(5, requires_grad=True)
        assert not hard_negatives(loss, torch.ones(5, dtype=torch.bool), 2).requires_grad


def test_one_process_shares_nothing() -> None:
    counts = torch.tensor([3, 4])
    assert process_count() == 1
    assert total_over_processes(counts).tolist() == [3, 4]


def test_smooth_l1_is_quadratic_then_linear() -> None:
    error = torch.tensor([-2.0, -0.25, 0, 0.5, 3])
    assert smooth_l1(error, 0.5).tolist() == pytest.approx([1.75, 0.0625, 0, 0.25, 2.75])
    assert smooth_l1(error, 1.0).tolist() == pytest.approx([1.5, 0.03125, 0, 0.125, 2.5])


class TestQualityFocal:
    def test_without_modulation_it_is_cross_entropy(self) -> None:
        logits, quality = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.linspace(0, 1, 50)
        expected = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
        torch.testing.assert_close(quality_focal(logits, quality, beta=0.0), expected)

    def test_a_right_score_costs_nothing(self) -> None:
        quality = torch.tensor([0.2, 0.7])
        assert quality_focal(quality.logit(), quality).tolist() == pytest.approx([0, 0], abs=1e-6)


class TestBoxLosses:
    def test_iou_and_distance_by_hand(self) -> None:
        a, b = torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[2.0, 0, 6, 2]])
        assert float(paired_iou(a, b)) == pytest.approx(4 / 12)
        assert float(distance_iou(a, b)) == pytest.approx(1 - 4 / 12 + 4 / (36 + 4))

    def test_equal_boxes_cost_nothing_and_distant_ones_still_have_a_gradient(self) -> None:
        box = torch.tensor([[3.0, 4, 9, 12]])
        assert float(distance_iou(box, box)) == pytest.approx(0, abs=1e-6)
        far = (box + 100).requires_grad_()
        distance_iou(far, box).sum().backward()
        assert far.grad is not None
        assert (far.grad[0].isfinite() & (far.grad[0] != 0)).any()

    def test_boxes_without_area_are_finite(self) -> None:
        flat = torch.tensor([[5.0, 5, 5, 5]])
        assert float(paired_iou(flat, flat)) == 0
        assert distance_iou(flat, flat).isfinite().all()
