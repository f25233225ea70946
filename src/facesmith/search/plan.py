"""From what a user can afford to what the search needs: a regime and its budgets."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from pathlib import Path

from facesmith.detectors.damofd.config import DamoFDConfig
from facesmith.detectors.damofd.space import REGIMES, Regime
from facesmith.errors import ConfigError
from facesmith.search.budgets import BackboneMacs, DetectorMacs, DetectorParameters, StageSum
from facesmith.search.damofd import Budget
from facesmith.search.latency import Latency, Runtime

PARAMETER_ROOM = 1.25
"""Under the constraints a FLOP budget allows so many times the released net's parameters a FLOP. Without such
a bound DDSAR spends left-over FLOPs in the last stage, where parameters cost the fewest: five times those of
the released 10G net, for half a per cent more score."""

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmg]?)", re.IGNORECASE)
_SIZE = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True)
class Limits:
    """What a detector may cost; at least one of the three.

    Attributes:
        flops: multiply-accumulates. A published regime's nominal FLOPs (0.5e9, 2.5e9, 10e9, 34e9) stand for
            its published budget, which limits the backbone at 224×224; any other number limits the whole
            detector at ``size``, counted as published figures are.
        parameters: of the whole detector.
        milliseconds: of the whole detector at ``size`` on ``runtime``.
        size: height and width of the input, pixels.
        runtime: where latency is measured.
        table: file for measured latencies (see :class:`Latency`).

    Raises:
        ConfigError: no limit, or one that is not positive.
    """

    flops: float | None = None
    parameters: float | None = None
    milliseconds: float | None = None
    size: tuple[int, int] = (480, 640)
    runtime: Runtime = field(default_factory=Runtime)
    table: Path | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.flops, self.parameters, self.milliseconds) if v is not None]
        if not given:
            raise ConfigError("a search needs a budget: FLOPs, parameters or latency")
        if min(given) <= 0:
            raise ConfigError(f"budgets must be positive, got {min(given):g}")

    def regime(self) -> Regime:
        """The published regime whose released net is nearest, in ratio, to the first limit given."""
        regimes = list(REGIMES.values())
        if self.flops is not None:
            named = [regime for regime in regimes if nominal_flops(regime) == self.flops]
            macs = _distance(self.flops, lambda r: DetectorMacs(r.detector, self.size)(r.detector.net))
            return min(named or regimes, key=macs)
        if self.parameters is not None:
            return min(regimes, key=_distance(self.parameters, lambda r: _released(DetectorParameters, r)))
        assert self.milliseconds is not None
        measured = []  # from the smallest on; none is measured beyond the first that is too slow
        for regime in regimes:
            measured.append((self.latency(regime.detector)(regime.detector.net), regime))
            if measured[-1][0] > self.milliseconds:
                break
        limit = self.milliseconds
        return min(measured, key=lambda row: abs(log(row[0] / limit)))[1]

    def budgets(self, regime: Regime, *, constrained: bool) -> list[Budget]:
        """The budgets of a search in ``regime``; ``constrained`` bounds the parameters of a FLOP budget too
        (see ``PARAMETER_ROOM``), unless ``parameters`` does."""
        detector = regime.detector
        budgets, parameters = [], self.parameters
        if self.flops is not None:
            if self.flops == nominal_flops(regime):
                budgets.append(Budget("backbone MACs at 224x224", BackboneMacs(), regime.backbone_macs))
                share = 1.0
            else:
                macs = DetectorMacs(detector, self.size)
                budgets.append(Budget(f"MACs at {_name(self.size)}", macs, self.flops))
                share = self.flops / macs(detector.net)
            if parameters is None and constrained:
                parameters = PARAMETER_ROOM * share * _released(DetectorParameters, regime)
        if parameters is not None:
            budgets.append(Budget("parameters", DetectorParameters(detector), parameters))
        if self.milliseconds is not None:
            threads = f"{self.runtime.threads} thread{'s' * (self.runtime.threads > 1)}"
            name = f"ms at {_name(self.size)} on {self.runtime.device}, {threads}"
            budgets.append(Budget(name, self.latency(detector), self.milliseconds, measured=True))
        return budgets

    def latency(self, detector: DamoFDConfig) -> Latency:
        """Latency with the neck and head of ``detector``."""
        return Latency(detector, self.size, self.runtime, self.table)


def nominal_flops(regime: Regime) -> float:
    """What a regime is called by."""
    return amount(regime.name)


def amount(text: str) -> float:
    """A number that may end in k, M or G: ``"2.5G"`` is 2.5e9.

    Raises:
        ConfigError: it is none.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"not an amount: {text!r}; write a number, or one with k, M or G, such as 2.5G")
    return float(found[1]) * _UNITS[found[2].lower()]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of ``"640x480"`` (width first, as pictures are named) or ``"VGA"``, which is the same.

    Raises:
        ConfigError: it is neither, or a side is below 64.
    """
    found = _SIZE.fullmatch("640x480" if text.upper() == "VGA" else text)
    if not found:
        raise ConfigError(f"not a size: {text!r}; write VGA or WIDTHxHEIGHT, such as 640x480")
    width, height = int(found[1]), int(found[2])
    if min(width, height) < 64:
        raise ConfigError(f"a size must be at least 64x64, not {text}")
    return height, width


def _released(figure: Callable[[DamoFDConfig], StageSum], regime: Regime) -> float:
    return figure(regime.detector)(regime.detector.net)


def _distance(value: float, figure: Callable[[Regime], float]) -> Callable[[Regime], float]:
    return lambda regime: abs(log(figure(regime) / value))


def _name(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
