import json
from dataclasses import dataclass, field

import pytest

from drawn_faces import TINY
from facesmith import configs
from facesmith.detectors.damofd.config import DamoFDConfig
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.errors import ConfigError
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD
from facesmith.training.recipes import RECIPES
from facesmith.training.schedule import Drops


@dataclass(frozen=True)
class Inner:
    numbers: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "a")


@dataclass(frozen=True)
class Outer:
    count: int
    on: bool = False
    limit: float | None = None
    inner: Inner = field(default_factory=Inner)
    rows: tuple[Inner, ...] = ()


@dataclass(frozen=True)
class Twin:
    """As :class:`Inner`, but for its name."""

    numbers: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "a")


@dataclass(frozen=True)
class Either:
    one: Inner | Twin = field(default_factory=Inner)
    many: tuple[Inner | Twin, ...] = ()
    none: Inner | None = None


def through_json(config: object) -> object:
    return configs.from_json(type(config), json.loads(json.dumps(configs.to_json(config))))


class TestRoundTrip:
    @pytest.mark.parametrize(
        "config",
        [
            RetinaFaceConfig(),
            TINY,
            TrainConfig(optimiser=SGD(momentum=0.8), schedule=Drops(at=(0.5,))),
            *(recipe.train for recipe in RECIPES),
            *(recipe.model for recipe in RECIPES),
            DamoFDConfig(backbone=MobileNetConfig()),
            Outer(3, rows=(Inner((1.0, 2.5), (4, "b")), Inner())),
            Outer(3, limit=0.5),
            Either(one=Twin((1.0,)), many=(Inner(), Twin()), none=Inner()),
        ],
    )
    def test_nothing_is_lost(self, config: object) -> None:
        again = through_json(config)
        assert again == config
        assert hash(again) == hash(config)  # lists have become tuples again, however deep

    def test_missing_fields_take_their_defaults(self) -> None:
        assert configs.from_json(Outer, {"count": 3}) == Outer(3)

    def test_whole_numbers_are_floats_where_floats_are_wanted(self) -> None:
        value = configs.from_json(Inner, {"numbers": [1, 2]}).numbers
        assert value == (1.0, 2.0)
        assert all(type(v) is float for v in value)


class TestKinds:
    def test_they_are_written_where_there_are_several(self) -> None:
        inner = {"numbers": (), "pair": (1, "a")}
        values = configs.to_json(Either(one=Twin(), many=(Inner(),), none=Inner()))
        assert values == {"one": {"kind": "Twin"} | inner, "many": ({"kind": "Inner"} | inner,), "none": inner}

    def test_without_one_the_first_that_fits_is_taken(self) -> None:
        assert configs.from_json(Either, {"one": {"numbers": [2]}}) == Either(one=Inner((2.0,)))

    def test_an_unknown_one_is_named(self) -> None:
        with pytest.raises(ConfigError, match="one: unknown kind 'Triplet'; there are Inner, Twin"):
            configs.from_json(Either, {"one": {"kind": "Triplet"}})

    def test_its_fields_are_checked(self) -> None:
        with pytest.raises(ConfigError, match="one: unknown field size; there are numbers, pair"):
            configs.from_json(Either, {"one": {"kind": "Twin", "size": 3}})


class TestErrors:
    @pytest.mark.parametrize(
        ("values", "problem"),
        [
            (
                {"count": 1, "cuont": 2, "x": 3},
                "Outer: unknown field cuont, x; there are count, inner, limit, on, rows",
            ),
            ({}, "Outer: missing field count"),
            ({"count": "3"}, "count: expected int, not '3'"),
            ({"count": 3.5}, r"count: expected int, not 3\.5"),
            ({"count": True}, "count: expected int, not True"),
            ({"count": 1, "on": 1}, "on: expected bool, not 1"),
            ({"count": 1, "limit": "low"}, "limit: expected float, not 'low'"),
            ({"count": 1, "limit": False}, "limit: expected float, not False"),
            ({"count": 1, "inner": 3}, "inner: expected a table, not 3"),
            ({"count": 1, "inner": {"size": 3}}, "inner: unknown field size"),
            ({"count": 1, "inner": {"numbers": 3}}, r"inner\.numbers: expected a list, not 3"),
            ({"count": 1, "inner": {"numbers": [1, None]}}, r"inner\.numbers\[1\]: expected float, not None"),
            ({"count": 1, "inner": {"pair": [1]}}, r"inner\.pair: expected 2 values, not 1"),
            ({"count": 1, "inner": {"pair": ["a", 1]}}, r"inner\.pair\[0\]: expected int, not 'a'"),
            ({"count": 1, "rows": [{}, {"pair": 1}]}, r"rows\[1\]\.pair: expected a list, not 1"),
        ],
    )
    def test_name_the_field(self, values: dict[str, object], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            configs.from_json(Outer, values)

    def test_what_is_no_table(self) -> None:
        with pytest.raises(ConfigError, match=r"Outer: expected a table, not \[1\]"):
            configs.from_json(Outer, [1])  # type: ignore[arg-type]

    def test_none_of_several_kinds_fits(self) -> None:
        with pytest.raises(ConfigError, match=r"optimiser: unknown field speed.*; or optimiser: unknown field speed"):
            configs.from_json(TrainConfig, {"optimiser": {"speed": 1}})

    def test_values_out_of_range_are_the_dataclasss_own_errors(self) -> None:
        with pytest.raises(ConfigError, match="training needs steps of at least 1"):
            configs.from_json(TrainConfig, {"steps": 0})
