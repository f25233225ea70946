import pytest

from facesmith.detectors.damofd.config import Backbone, DamoFDConfig
from facesmith.detectors.damofd.space import REGIMES
from facesmith.errors import ConfigError
from facesmith.search import plan
from facesmith.search.budgets import DetectorParameters
from facesmith.search.plan import PARAMETER_ROOM, Limits, amount, nominal_flops, parse_size


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5G", 0.5e9), ("300k", 3e5), ("1.2m", 1.2e6), ("1e9", 1e9), (" 42 ", 42), ("7 M", 7e6)],
)
def test_amounts(text: str, value: float) -> None:
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "G", "-1G", "1T", "1,5G", "nan"])
def test_bad_amounts(text: str) -> None:
    with pytest.raises(ConfigError, match="not an amount"):
        amount(text)


def test_sizes() -> None:
    assert parse_size("VGA") == parse_size("vga") == parse_size("640x480") == (480, 640)
    assert parse_size("320x256") == (256, 320)
    for text in ("640", "640*480", "-1x5"):
        with pytest.raises(ConfigError, match="not a size"):
            parse_size(text)
    with pytest.raises(ConfigError, match="at least 64x64"):
        parse_size("640x32")


@pytest.mark.parametrize("name", REGIMES)
def test_published_budgets(name: str) -> None:
    """Nominal FLOPs stand for the published limit on the backbone; constraints bound the parameters."""
    regime = REGIMES[name]
    limits = Limits(flops=nominal_flops(regime))
    assert limits.regime() is regime
    (macs,) = limits.budgets(regime, constrained=False)
    published = {"0.5G": 65e6, "2.5G": 345e6, "10G": 1414e6, "34G": 4375e6}
    assert (macs.name, macs.limit) == ("backbone MACs at 224x224", published[name])
    macs, parameters = limits.budgets(regime, constrained=True)
    released = DetectorParameters(regime.detector)(regime.detector.net)
    assert (parameters.name, parameters.limit) == ("parameters", PARAMETER_ROOM * released)


def test_other_flops_limit_the_whole_detector() -> None:
    limits = Limits(flops=0.3e9, size=(256, 320))
    regime = limits.regime()
    assert regime.name == "0.5G"
    macs, parameters = limits.budgets(regime, constrained=True)
    assert (macs.name, macs.limit) == ("MACs at 320x256", 0.3e9)
    released = regime.detector.net
    ratio = parameters.limit / DetectorParameters(regime.detector)(released)
    assert ratio == pytest.approx(PARAMETER_ROOM * 0.3e9 / macs.figure(released))


def test_explicit_parameters_replace_the_constraint() -> None:
    regime = REGIMES["2.5G"]
    _, parameters = Limits(flops=2.5e9, parameters=3e5).budgets(regime, constrained=True)
    assert parameters.limit == 3e5


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(flops=3e8), "0.5G"),
        (Limits(flops=1.2e9), "0.5G"),
        (Limits(flops=1.2e9, size=(256, 320)), "2.5G"),
        (Limits(flops=0.5e9, size=(1080, 1920)), "0.5G"),
        (Limits(flops=4e9), "2.5G"),
        (Limits(flops=1e11), "34G"),
        (Limits(parameters=2e5), "0.5G"),
        (Limits(parameters=1e6), "10G"),
        (Limits(flops=0.5e9, parameters=6e6), "0.5G"),
    ],
)
def test_the_nearest_regime(limits: Limits, name: str) -> None:
    assert limits.regime().name == name


def test_nearest_regime_by_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regimes are measured from the smallest on, and none beyond the first that is too slow."""
    asked = []
    costs = dict(zip((r.detector for r in REGIMES.values()), (10, 40, 150, 600), strict=True))

    class Table:
        def __init__(self, detector: DamoFDConfig, *_: object) -> None:
            self.detector = detector

        def __call__(self, backbone: Backbone) -> float:
            asked.append(self.detector)
            return costs[self.detector]

    monkeypatch.setattr(plan, "Latency", Table)
    for milliseconds, name, count in (
        (3, "0.5G", 1),
        (19, "0.5G", 2),
        (21, "2.5G", 2),
        (100, "10G", 3),
        (1e4, "34G", 4),
    ):
        asked.clear()
        assert Limits(milliseconds=milliseconds).regime().name == name
        assert len(asked) == count


def test_bad_limits() -> None:
    with pytest.raises(ConfigError, match="needs a budget"):
        Limits()
    with pytest.raises(ConfigError, match="positive"):
        Limits(flops=1e9, parameters=0)
