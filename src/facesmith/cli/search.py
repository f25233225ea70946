"""``facesmith search``: find the network that fits a budget. A subcommand a search."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from facesmith.cli.search_bfbox import BFBoxSearch
from facesmith.detectors.damofd.space import REGIMES, Regime
from facesmith.errors import ConfigError
from facesmith.search import record
from facesmith.search.budgets import DetectorMacs, DetectorParameters
from facesmith.search.damofd import BackboneSearch, Score
from facesmith.search.ddsar import DDSAR, STAGE_WEIGHTS, stage_weights_of_labels
from facesmith.search.evolution import Evolution
from facesmith.search.latency import Runtime
from facesmith.search.plan import Limits, amount, parse_size
from facesmith.search.results import BEST, PICTURE, Results

LATENCIES = "latency.tsv"


@dataclass(frozen=True)
class DamoFDSearch:
    """Find the backbone of a face detector that fits a budget: FLOPs, parameters, latency here, or several.

    An evolutionary search by a score of the structure alone (DDSAR); neck and head as released.

    `facesmith search damofd --flops 0.5G` takes seconds. A folder holds the results: best.json (the
    net's configuration), candidates.tsv (every net within the budget), pareto.svg (score against budget).
    """

    flops: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """Multiply-accumulates, such as 1.2G. 0.5G, 2.5G, 10G and 34G are the published budgets, which limit the
    backbone at 224x224; any other number limits the whole detector at --size."""

    params: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """Parameters of the whole detector, such as 300k."""

    latency: Annotated[float | None, tyro.conf.arg(metavar="MS")] = None
    """Milliseconds of the whole detector at --size in onnxruntime, predicted from parts that are measured
    here as the search meets them."""

    device: str = "cpu"
    """Where latency is measured: cpu or cuda."""

    threads: int = 1
    """CPU threads while latency is measured."""

    size: str = "VGA"
    """Input of the whole detector, as WIDTHxHEIGHT; VGA is 640x480."""

    regime: Annotated[Literal["0.5G", "2.5G", "10G", "34G"] | None, tyro.conf.arg(metavar="NAME")] = None
    """Whose search space, neck and head: 0.5G, 2.5G, 10G or 34G; without it, those of the released net
    nearest to the budget."""

    constraints: bool = True
    """Search as published, without the bounds that keep trivial nets out (stages never narrow, bottlenecks
    are not too thin, at most 1.25 times the released net's parameters a FLOP)."""

    score: Literal["ddsar", "macs", "parameters"] = "ddsar"
    """What is maximised; macs and parameters are baselines."""

    alpha: Annotated[float | None, tyro.conf.arg(metavar="A")] = None
    """What kernel sizes count in DDSAR; without it 0.25 at 0.5G and 0.005 beyond."""

    labels: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE")] = ()
    """Label files of your own pictures: their face sizes weigh the stages instead of the authors' weights."""

    stage_weights: tuple[float, float, float, float, float] | None = None
    """The five stages' weights in DDSAR, as `facesmith data stats` prints them, instead of the authors'."""

    iterations: int = 96_000
    """Nets tried."""

    population: int = 512
    """Nets kept to mutate from."""

    seed: int = 0
    """The same seed finds the same nets."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/search")
    """Folder of the results."""

    resume: bool = False
    """Go on with the search in --out."""

    def run(self) -> int:
        """Search, write the results, print the best net."""
        if self.labels and self.stage_weights:
            raise ConfigError("--labels and --stage-weights exclude each other")
        if self.iterations < 1:
            raise ConfigError(f"iterations must be 1 or more, not {self.iterations}")
        score, regime = self._score, self._regime
        budgets = self._limits.budgets(regime, constrained=self.constraints)
        if self.constraints:
            problem = BackboneSearch(regime.space, score, budgets)
        else:
            problem = BackboneSearch(regime.unconstrained().space, score, budgets, foothold=0)
        evolution = Evolution(problem, population=self.population, seed=self.seed)
        names = tuple(budget.name for budget in problem.budgets)
        with record.Record(self.out, names, self._settings, resume=self.resume) as kept:
            record.run(evolution, kept, self.iterations)
        results = Results(problem, evolution, regime)
        results.write(self.out, self._settings)
        print(results.summary(len(kept)))
        print(f"written to {self.out}: {BEST}, {PICTURE}, {record.CANDIDATES}")
        print(f"train it: facesmith train damofd-{regime.name.lower()} --model {self.out / BEST} --data DIR")
        return 0

    @cached_property
    def _limits(self) -> Limits:
        return Limits(
            flops=None if self.flops is None else amount(self.flops),
            parameters=None if self.params is None else amount(self.params),
            milliseconds=self.latency,
            size=parse_size(self.size),
            runtime=Runtime(self.device, self.threads),
            table=self.out / LATENCIES,
        )

    @cached_property
    def _regime(self) -> Regime:
        return REGIMES[self.regime] if self.regime else self._limits.regime()

    @cached_property
    def _score(self) -> Score:
        match self.score:
            case "ddsar":
                alpha = self._regime.alpha if self.alpha is None else self.alpha
                if self.labels:
                    return DDSAR(alpha, stage_weights_of_labels(self.labels))
                return DDSAR(alpha, self.stage_weights or STAGE_WEIGHTS)
            case "macs":
                return DetectorMacs(self._regime.detector, self._limits.size)
            case "parameters":
                return DetectorParameters(self._regime.detector)

    @property
    def _settings(self) -> dict[str, Any]:
        """What decides the course of the search, and so must not change on ``--resume``."""
        settings = {"method": "damofd"} | asdict(self)
        for name in ("out", "resume", "iterations", "labels", "stage_weights", "alpha"):
            del settings[name]
        settings["regime"] = self._regime.name
        if isinstance(self._score, DDSAR):
            settings |= {"alpha": self._score.alpha, "stage weights": list(self._score.weights)}
        return settings


Search = (
    Annotated[DamoFDSearch, tyro.conf.subcommand("damofd", prefix_name=False)]
    | Annotated[BFBoxSearch, tyro.conf.subcommand("bfbox", prefix_name=False)]
)
