import pytest

from facesmith.errors import ConfigError
from facesmith.runtime import SizeRule
from facesmith.runtime.size import AUTO, MAX_SIDE


@pytest.mark.parametrize(
    ("rule", "picture", "target"),
    [
        ("original", (4001, 77), (4001, 77)),
        ("640", (1280, 960), (640, 480)),
        (640, (320, 240), (640, 480)),
        ("640", (99, 1000), (63, 640)),
        ("640", (1, 5000), (1, 640)),
        ("short:1600", (1024, 768), (2133, 1600)),
        ("short:1600", (1024, 576), (2150, 1209)),  # the long side's limit wins
        ("short:800:1200", (1024, 500), (1200, 586)),
        ("auto", (640, 480), (640, 480)),
        ("auto", (1280, 720), (1280, 720)),
        ("auto", (4000, 3000), (1280, 960)),
        ("auto", (40, 30), (160, 120)),
    ],
)
def test_target(rule: str | int, picture: tuple[int, int], target: tuple[int, int]) -> None:
    assert SizeRule.parse(rule).target(*picture) == target
    transposed = SizeRule.parse(rule).target(*reversed(picture))
    assert transposed == tuple(reversed(target))


def test_only_auto_takes_a_second_look() -> None:
    assert AUTO.second_target(4000, 3000) == (160, 120)  # an eighth of 1280
    assert AUTO.second_target(960, 720) == (120, 90)
    assert AUTO.second_target(640, 100) == (80, 12)
    assert AUTO.second_target(100, 50) == (80, 40)  # no smaller
    assert SizeRule.parse("1280").second_target(4000, 3000) is None
    assert SizeRule.parse("original").second_target(4000, 3000) is None


@pytest.mark.parametrize("text", ["", "big", "-640", "640x480", "short", "short:", "short:a", "6.4", "0", "short:0"])
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ConfigError, match=r"size"):
        SizeRule.parse(text)


def test_limits() -> None:
    with pytest.raises(ConfigError, match=str(MAX_SIDE)):
        SizeRule.parse(MAX_SIDE + 1)
    with pytest.raises(ConfigError, match="above"):
        SizeRule(least=10, most=5)


def test_names() -> None:
    assert str(SizeRule.parse("640")) == "long side 640"
    assert str(SizeRule.parse("original")) == "original"
    assert str(SizeRule.parse("short:1600")) == "short side 1600 (long <= 2150)"
    assert str(SizeRule.parse("auto")) == "auto (long side 160 to 1280, overview)"
    assert SizeRule.parse(AUTO) is AUTO
