from facesmith.detectors.damofd.config import RELEASED, Backbone
from facesmith.detectors.damofd.layers import Conv, Unit, first_units, later_units, predictions, tower


def _projections(units: tuple[Unit, ...]) -> list[tuple[int, int, int] | None]:
    return [u.projection and (u.projection.in_channels, u.projection.out_channels, u.projection.stride) for u in units]


def test_inverted_stage() -> None:
    """First unit to the bottleneck width, second to the out width; later ones start from the out width."""
    stage = Backbone.parse(RELEASED["0.5G"].backbone.replace("IDWE1K7(64", "IDWE2K7(64")).stages[3]
    first, second = first_units(stage)
    assert first.convs == (Conv(64, 80, 1), Conv(80, 80, 7, 2, 80), Conv(80, 40, 1, relu=False))
    assert second.convs == (Conv(40, 240, 1), Conv(240, 240, 7, 1, 240), Conv(240, 120, 1, relu=False))
    assert _projections((first, second)) == [(64, 40, 2), (40, 120, 1)]
    later = later_units(stage)
    assert later[0].convs[0] == Conv(120, 80, 1)
    assert _projections(later) == [(120, 40, 1), (40, 120, 1)]


def test_bottleneck_stage() -> None:
    """Two 1-k-1 units, stride in the first; only the very first has a projection."""
    stage = RELEASED["10G"].net.stages[1]
    first, second = first_units(stage)
    assert first.convs == (Conv(56, 40, 1), Conv(40, 40, 3, 2), Conv(40, 80, 1, relu=False))
    assert second.convs == (Conv(80, 40, 1), Conv(40, 40, 3), Conv(40, 80, 1, relu=False))
    assert _projections((first, second)) == [(56, 80, 2), None]
    assert _projections(later_units(stage)) == [None, None]


def test_plain_stage_and_stem() -> None:
    stem, stage = RELEASED["2.5G"].net.stages[:2]
    assert first_units(stage) == (
        Unit(
            (Conv(24, 24, 3, 2), Conv(24, 32, 3, relu=False)),
            True,
            Conv(24, 32, 1, 2, bias=True, relu=False),
        ),
    )
    assert later_units(stage) == (Unit((Conv(32, 24, 3), Conv(24, 32, 3, relu=False)), True),)
    assert first_units(stem) == (Unit((Conv(3, 24, 3, 2),), False),)
    assert later_units(stem) == (Unit((Conv(24, 24, 3),), False),)


def test_first_unit_projects_even_between_equal_widths() -> None:
    stage = RELEASED["0.5G"].net.stages[1]
    assert _projections(first_units(stage)) == [(32, 8, 2), (8, 32, 1)]
    equal = Backbone.parse("K3(3,32,2,1)K3K3(32,32,2,8,1)K3K3(32,32,2,8,1)K3K3(32,32,2,8,1)K3K3(32,32,2,8,1)").stages[1]
    assert _projections(first_units(equal)) == [(32, 32, 2)]


def test_head() -> None:
    half, large = RELEASED["0.5G"], RELEASED["10G"]
    assert list(tower(half)) == [
        Conv(16, 16, 3, groups=16),
        Conv(16, 64, 1),
        Conv(64, 64, 3, groups=64),
        Conv(64, 64, 1),
    ]
    assert list(tower(large)) == [Conv(56, 80, 3), Conv(80, 80, 3), Conv(80, 80, 3)]
    assert [conv.out_channels for conv in predictions(half)] == [2, 8, 20]
