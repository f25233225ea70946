from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from facesmith.detectors.parts.anchors import (
    MAX_LOG_SIDE,
    PAPER_ANCHORS,
    AnchorConfig,
    anchor_boxes,
    decode_boxes,
    decode_landmarks,
    encode_boxes,
    encode_landmarks,
    make_anchors,
)
from facesmith.errors import ConfigError

CPU = torch.device("cpu")
LIGHT = AnchorConfig()
PAPER = PAPER_ANCHORS


def map_sizes(config: AnchorConfig, height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height // stride), -(-width // stride)) for stride in config.strides]


def random_boxes(count: int, generator: torch.Generator) -> Tensor:
    corner = torch.rand(count, 2, generator=generator) * 600
    return torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 200 + 1), dim=1)


class TestCounts:
    @pytest.mark.parametrize(("config", "count"), [(LIGHT, 16_800), (PAPER, 102_300)])
    def test_published_counts_at_640(self, config: AnchorConfig, count: int) -> None:
        assert make_anchors(config, map_sizes(config, 640, 640), CPU).shape == (count, 3)

    def test_sides_are_those_of_table_2(self) -> None:
        table = (
            (16, 20.16, 25.40),
            (32, 40.32, 50.80),
            (64, 80.63, 101.59),
            (128, 161.26, 203.19),
            (256, 322.54, 406.37),
        )
        for sides, published in zip(PAPER.sides, table, strict=True):
            assert sides == pytest.approx(published, abs=0.01)

    def test_three_quarters_of_the_papers_anchors_are_on_the_finest_level(self) -> None:
        anchors = make_anchors(PAPER, map_sizes(PAPER, 640, 640), CPU)
        assert (anchors[:, 2] < 31).float().mean() == pytest.approx(76_800 / 102_300)
        assert anchors[:, 2].max() == pytest.approx(16 * 16 * 2 ** (2 / 3), rel=1e-6)  # 406 pixels, as in the paper

    def test_an_empty_map_has_no_anchors(self) -> None:
        assert make_anchors(LIGHT, [(0, 3), (0, 2), (0, 1)], CPU).shape == (0, 3)


class TestPositions:
    def test_order_is_level_row_column_side(self) -> None:
        anchors = make_anchors(LIGHT, [(2, 3), (1, 2), (1, 1)], CPU)
        finest = [(x, y, side) for y in (4, 12) for x in (4, 12, 20) for side in (16, 32)]
        middle = [(x, 8, side) for x in (8, 24) for side in (64, 128)]
        assert anchors.tolist() == [list(a) for a in (*finest, *middle, (16, 16, 256), (16, 16, 512))]
        assert anchors.dtype == torch.float32

    def test_offset_zero_puts_centres_on_multiples_of_the_stride(self) -> None:
        config = AnchorConfig(strides=(8,), sides=((16.0,),), offset=0.0)
        assert make_anchors(config, [(2, 2)], CPU)[:, :2].tolist() == [[0, 0], [8, 0], [0, 8], [8, 8]]

    def test_boxes_are_squares_around_the_centre(self) -> None:
        assert anchor_boxes(torch.tensor([[20.0, 10.0, 16.0]])).tolist() == [[12, 2, 28, 18]]


class TestCodes:
    @pytest.mark.parametrize("config", [LIGHT, PAPER])
    def test_decode_inverts_encode(self, config: AnchorConfig) -> None:
        generator = torch.Generator().manual_seed(1)
        anchors = make_anchors(config, map_sizes(config, 640, 640), CPU)
        anchors = anchors[torch.randint(len(anchors), (500,), generator=generator)]
        boxes = random_boxes(500, generator)
        sides = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
        anchors[:, 2] = torch.maximum(anchors[:, 2], sides / 50)  # the inverse ends at 55 anchor sides
        torch.testing.assert_close(
            decode_boxes(encode_boxes(boxes, anchors, config), anchors, config), boxes, rtol=1e-5, atol=1e-3
        )
        points = torch.rand(500, 5, 2, generator=generator) * 640
        codes = encode_landmarks(points, anchors, config)
        assert codes.shape == (500, 10)
        torch.testing.assert_close(decode_landmarks(codes, anchors, config), points, rtol=1e-5, atol=1e-3)

    def test_codes_are_the_common_ports(self) -> None:
        anchor = torch.tensor([[100.0, 50.0, 20.0]])
        codes = encode_boxes(torch.tensor([[92.0, 36.0, 112.0, 76.0]]), anchor, LIGHT)
        assert codes[0].tolist() == pytest.approx([2 / 2, 6 / 2, 0, 5 * torch.log(torch.tensor(2.0)).item()])
        points = torch.tensor([[[100.0, 50.0], [102, 50], [100, 40], [90, 60], [110, 60]]])
        assert encode_landmarks(points, anchor, LIGHT)[0].tolist() == [0, 0, 1, 0, 0, -5, -5, 5, 5, 5]

    def test_decoding_works_for_batches(self) -> None:
        generator = torch.Generator().manual_seed(2)
        anchors = make_anchors(LIGHT, [(2, 2), (1, 1), (1, 1)], CPU)
        codes = torch.randn(3, len(anchors), 4, generator=generator)
        batched = decode_boxes(codes, anchors, LIGHT)
        for i in range(3):
            torch.testing.assert_close(batched[i], decode_boxes(codes[i], anchors, LIGHT))

    def test_gradients_are_finite_where_exponentials_overflow(self) -> None:
        anchors = make_anchors(LIGHT, [(1, 1), (1, 1), (1, 1)], CPU)
        codes = torch.full((len(anchors), 4), 1e30, requires_grad=True)
        boxes = decode_boxes(codes, anchors, LIGHT)
        boxes[:, 2:].sub(boxes[:, :2]).sum().backward()
        assert codes.grad is not None
        assert codes.grad.isfinite().all()
        sides = decode_boxes(torch.tensor([[0.0, 0, 1e30, -1e30]]), anchors[:1], LIGHT)[0]
        assert float(sides[2] - sides[0]) == pytest.approx(16 * 2.718281828**MAX_LOG_SIDE, rel=1e-5)
        assert sides[3] == sides[1]

    def test_gradients_reach_all_codes(self) -> None:
        anchors = make_anchors(LIGHT, [(2, 2), (1, 1), (1, 1)], CPU)
        generator = torch.Generator().manual_seed(3)
        codes = torch.randn(len(anchors), 4, generator=generator, requires_grad=True)
        weights = torch.randn(len(anchors), 4, generator=generator)
        (decode_boxes(codes, anchors, LIGHT) * weights).sum().backward()
        assert codes.grad is not None
        assert codes.grad.isfinite().all()
        assert (codes.grad != 0).all()

    def test_a_box_without_area_has_finite_codes(self) -> None:
        codes = encode_boxes(torch.tensor([[5.0, 5, 5, 5]]), torch.tensor([[4.0, 4, 16]]), LIGHT)
        assert codes.isfinite().all()


@pytest.mark.parametrize(
    ("strides", "sides"),
    [
        ((8, 16), ((16.0,),)),
        ((8, 16), ((16.0, 32.0), (64.0,))),
        ((), ()),
        ((8,), ((),)),
        ((8,), ((-16.0,),)),
        ((0,), ((16.0,),)),
    ],
)
def test_levels_that_do_not_fit_are_refused(strides: Sequence[int], sides: Sequence[Sequence[float]]) -> None:
    with pytest.raises(ConfigError, match="anchors"):
        AnchorConfig(strides=tuple(strides), sides=tuple(map(tuple, sides)))


def test_variances_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="variances"):
        AnchorConfig(side_variance=0.0)
