from itertools import pairwise

import pytest

from facesmith.training.schedule import Cosine, Drops


class TestCosine:
    schedule = Cosine(warmup=10, final=0.1)

    def factors(self, steps: int) -> list[float]:
        return [self.schedule.factor(step, steps) for step in range(steps)]

    def test_warm_up_is_linear_and_reaches_one(self) -> None:
        assert self.factors(100)[:10] == pytest.approx([k / 10 for k in range(1, 11)])
        assert self.factors(100)[10] == 1

    def test_it_falls_to_the_final_factor_by_half_a_cosine(self) -> None:
        factors = self.factors(110)
        assert all(a > b for a, b in pairwise(factors[10:]))
        assert factors[60] == pytest.approx((1 + 0.1) / 2)
        assert self.schedule.factor(110, 110) == pytest.approx(0.1)
        assert self.schedule.factor(500, 110) == pytest.approx(0.1)

    def test_without_warm_up(self) -> None:
        assert Cosine(warmup=0).factor(0, 10) == 1

    def test_short_runs_warm_up_for_a_tenth(self) -> None:
        assert self.factors(50)[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
        assert self.factors(5)[0] == 1
        assert Drops(warmup=10, start=0.1).factor(4, 50) == pytest.approx(1)


class TestDrops:
    schedule = Drops(warmup=10, start=0.1, at=(0.5, 0.75), factor_each=0.1)

    def test_warm_up_starts_above_start_and_ends_at_one(self) -> None:
        assert self.schedule.factor(0, 100) == pytest.approx(0.19)
        assert self.schedule.factor(9, 100) == pytest.approx(1)

    @pytest.mark.parametrize(("step", "factor"), [(10, 1), (49, 1), (50, 0.1), (74, 0.1), (75, 0.01), (99, 0.01)])
    def test_drops(self, step: int, factor: float) -> None:
        assert self.schedule.factor(step, 100) == pytest.approx(factor)

    def test_the_papers_epochs(self) -> None:
        """RetinaFace: × .1 at epochs 55 and 68 of 80."""
        factors = [round(Drops(warmup=5).factor(epoch, 80), 6) for epoch in range(80)]
        assert [factors.index(value) for value in (1, 0.1, 0.01)] == [4, 55, 68]
