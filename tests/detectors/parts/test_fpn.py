import pytest
import torch
from torch import nn

from facesmith.detectors.parts.deformable import DeformableUnit
from facesmith.detectors.parts.fpn import FPN, upsample_like


@pytest.mark.parametrize(("fine", "coarse"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (41, 21), (42, 21)])
def test_upsample_like_doubles_and_cuts(fine: int, coarse: int) -> None:
    values = torch.arange(coarse * coarse, dtype=torch.float32).reshape(1, 1, coarse, coarse)
    out = upsample_like(values, torch.zeros(1, 1, fine, fine))
    index = torch.arange(fine) // 2
    assert out.tolist() == values[:, :, index][:, :, :, index].tolist()


def test_sides_may_differ() -> None:
    out = upsample_like(torch.zeros(2, 3, 2, 4), torch.zeros(2, 3, 3, 8))
    assert out.shape == (2, 3, 3, 8)


class TestFPN:
    def test_sizes_stay_and_channels_become_equal(self) -> None:
        neck = FPN((4, 8, 16), 6).eval()
        maps = [torch.rand(2, c, h, w) for c, h, w in ((4, 9, 7), (8, 5, 4), (16, 3, 2))]
        assert [tuple(m.shape) for m in neck(maps)] == [(2, 6, 9, 7), (2, 6, 5, 4), (2, 6, 3, 2)]

    def test_the_top_level_is_its_lateral_alone(self) -> None:
        neck = FPN((4, 8), 6).eval()
        maps = [torch.rand(1, 4, 6, 6), torch.rand(1, 8, 3, 3)]
        torch.testing.assert_close(neck(maps)[1], neck.laterals[1](maps[1]))
        assert len(neck.merges) == 1

    def test_a_fine_level_sees_the_coarse_one_but_not_the_other_way(self) -> None:
        torch.manual_seed(0)
        neck = FPN((4, 8), 6).eval()
        fine, coarse = torch.rand(1, 4, 6, 6), torch.rand(1, 8, 3, 3)
        before, changed_coarse, changed_fine = neck([fine, coarse]), neck([fine, coarse + 1]), neck([fine + 1, coarse])
        assert not torch.equal(before[0], changed_coarse[0])
        assert torch.equal(before[1], changed_fine[1])

    def test_extra_levels_halve_the_backbones_last_map(self) -> None:
        neck = FPN((4, 8), 6, extra=2).eval()
        maps = [torch.rand(1, 4, 9, 6), torch.rand(1, 8, 5, 3)]
        levels = neck(maps)
        assert [tuple(m.shape[2:]) for m in levels] == [(9, 6), (5, 3), (3, 2), (2, 1)]
        p6 = neck.extra[0](maps[1])
        assert torch.equal(levels[2], p6)
        assert torch.equal(levels[3], neck.extra[1](p6))

    def test_nothing_flows_down_from_extra_levels(self) -> None:
        torch.manual_seed(0)
        neck = FPN((4, 8), 6, extra=1).eval()
        maps = [torch.rand(1, 4, 6, 6), torch.rand(1, 8, 3, 3)]
        before = neck(maps)
        nn.init.ones_(neck.extra[0].convolution.weight)  # type: ignore[arg-type,union-attr]
        after = neck(maps)
        assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False]

    def test_merges_are_made_of_the_unit_that_is_passed_in(self) -> None:
        neck = FPN((4, 8, 16), 6, extra=1, unit=DeformableUnit)
        assert [type(m) for m in neck.merges] == [DeformableUnit] * 2
        assert sum(isinstance(m, DeformableUnit) for m in neck.modules()) == 2  # neither laterals nor extra levels
