"""Figures of the architecture search, one command each.

    python benchmarks/search.py speed              the published 0.5G search against a plain implementation
    python benchmarks/search.py budgets            best score and net at the four published budgets
    python benchmarks/search.py trivial            what α and the constraints do at 2.5G, 10G, 34G
    python benchmarks/search.py latency --nets 16  predicted against measured latency
    python benchmarks/search.py published          parameters and MACs of the four released nets

On one core of an AMD EPYC, shared with other work: the published search takes 1.3 s, a fifth of the plain
implementation's time, and ends at 19.147 (released net: 13.177); each of the other searches takes 1 to 4 s. Latency,
nets of the 2.5G regime, 29 to 35 ms a detector: Spearman .93, error 1.1 % on average, 3.3 % at most.

Times are CPU times of one process, so other work on the machine matters little; set OMP_NUM_THREADS=1.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import tyro
from scipy.stats import kendalltau, spearmanr

from facesmith.detectors.damofd.config import RELEASED, Backbone
from facesmith.detectors.damofd.space import REGIMES, Genome, Regime
from facesmith.search.budgets import MACS, SEARCH_CODE, BackboneMacs, DetectorMacs, DetectorParameters
from facesmith.search.damofd import FOOTHOLD, BackboneSearch
from facesmith.search.ddsar import DDSAR, to_array
from facesmith.search.evolution import Evolution
from facesmith.search.graphs import backbone_graph, detector_graph
from facesmith.search.latency import Latency, Runtime
from facesmith.search.plan import Limits, nominal_flops
from facesmith.search.record import Record, run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "search"))
import damofd_reference as reference

ITERATIONS, POPULATION = 96_000, 512


def search(
    regime: Regime, alpha: float, *, constrained: bool, seed: int = 0, iterations: int = ITERATIONS
) -> tuple[Evolution[Genome], float]:
    """A finished search as the command line does it, and its CPU seconds; files included."""
    start = time.process_time()
    budgets = Limits(flops=nominal_flops(regime)).budgets(regime, constrained=constrained)
    space = regime.space if constrained else regime.unconstrained().space
    problem = BackboneSearch(space, DDSAR(alpha), budgets, foothold=FOOTHOLD if constrained else 0)
    evolution = Evolution(problem, population=POPULATION, seed=seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        Record(Path(folder), tuple(b.name for b in budgets), {}, resume=False) as record,
    ):
        run(evolution, record, iterations, progress=False)
    return evolution, time.process_time() - start


def best_of(evolution: Evolution[Genome]) -> tuple[float, Backbone]:
    """Score and net."""
    assert evolution.best is not None
    return evolution.best.evaluation.score, Backbone.parse(evolution.problem.text(evolution.best.candidate))


@dataclass(frozen=True)
class Speed:
    """The published search (0.5G, 96,000 iterations, pool of 512, no constraints) against the plain loop of
    tests/search/damofd_reference.py, which makes objects and text of each candidate and scores alike."""

    plain_iterations: int = 4000
    """Iterations of the plain loop; its time is scaled up."""

    def run(self) -> None:
        """Print the comparison."""
        regime = REGIMES["0.5G"]
        evolution, seconds = search(regime, regime.alpha, constrained=False)
        score, net = best_of(evolution)
        print(f"facesmith  {ITERATIONS:,} iterations  {seconds:8.2f} s  best {score:.6f}  {net}")
        start = time.process_time()
        nets, scores = reference.search(
            str(regime.space.initial),
            reference.MOBILE,
            budget=regime.backbone_macs,
            max_layers=regime.space.max_layers,
            alpha=regime.alpha,
            iterations=self.plain_iterations,
            population=POPULATION,
            seed=0,
        )
        plain = (time.process_time() - start) * ITERATIONS / self.plain_iterations
        print(f"plain      {self.plain_iterations:,} iterations, scaled up  {plain:8.2f} s")
        print(f"ratio      {plain / seconds:.1f}")
        same, _ = search(regime, regime.alpha, constrained=False, iterations=self.plain_iterations)
        pool = same.state()["pool"]
        agrees = [(text, value) for _, value, text in pool] == list(zip(nets, scores, strict=True))
        print(f"same pool after {self.plain_iterations:,} iterations: {agrees}")
        self._scoring(nets)

    @staticmethod
    def _scoring(nets: Sequence[str]) -> None:
        backbones = [Backbone.parse(net) for net in nets] * 20
        array, score = to_array(backbones), DDSAR()
        ways: dict[str, Callable[[], object]] = {
            "array": lambda: score.batch(array),
            "net by net": lambda: [score(backbone) for backbone in backbones],
            "plain": lambda: [reference.score(net, 0.25) for net in nets * 20],
        }
        for name, way in ways.items():
            start = time.process_time()
            way()
            print(f"scoring    {name:<11}{len(backbones) / (time.process_time() - start):>12,.0f} nets/s")


@dataclass(frozen=True)
class Budgets:
    """Best score and net at the published budgets, constrained and as published, over a few seeds."""

    seeds: int = 3
    """Searches a setting."""

    def run(self) -> None:
        """Print a line a setting."""
        for regime in REGIMES.values():
            score = DDSAR(regime.alpha)
            print(f"{regime.name}, α {regime.alpha}: released {score(regime.detector.net):.6f}")
            for constrained in (True, False):
                found = [search(regime, regime.alpha, constrained=constrained, seed=s) for s in range(self.seeds)]
                scores = [best_of(evolution)[0] for evolution, _ in found]
                value, net = best_of(found[int(np.argmax(scores))][0])
                name = "constrained" if constrained else "as published"
                seconds = float(np.mean([seconds for _, seconds in found]))
                print(f"  {name:<13}{min(scores):.4f}–{value:.4f}  {seconds:.2f} s a search  {net}")
                print(f"  {'':<13}{describe(net, regime)}")


@dataclass(frozen=True)
class Trivial:
    """What searches of the larger budgets end in, by α and with or without constraints."""

    def run(self) -> None:
        """Print two lines a setting."""
        for name in ("2.5G", "10G", "34G"):
            regime = REGIMES[name]
            print(f"{name}\n  released            {regime.detector.net}")
            print(f"  {'':<20}{describe(regime.detector.net, regime)}")
            for alpha in (0.25, 0.005):
                for constrained in (False, True):
                    _, net = best_of(search(regime, alpha, constrained=constrained)[0])
                    setting = f"α {alpha:<5} {'bounded' if constrained else 'free'}"
                    print(f"  {setting:<20}{net}\n  {'':<20}{describe(net, regime)}")


def describe(net: Backbone, regime: Regime) -> str:
    """What makes a net trivial or not."""
    macs = BackboneMacs()
    whole = macs(net)
    shares = [f"{macs.stage(index, stage) / whole:.2f}" for index, stage in enumerate(net.stages)]
    stages = net.stages[1:]
    narrowing = sum(stage.out_channels < stage.in_channels for stage in stages)
    thinnest = max(stage.out_channels / stage.bottleneck for stage in stages)
    figures = [
        f"{whole / 1e6:.0f}M MACs, shares {' '.join(shares)}",
        f"{DetectorParameters(regime.detector)(net) / 1e6:.2f}M parameters",
        f"kernels {' '.join(str(stage.kernel) for stage in stages)}",
        f"{narrowing} narrowing stages",
        f"width/bottleneck up to {thinnest:.0f}",
    ]
    return "; ".join(figures)


@dataclass(frozen=True)
class Predictor:
    """Latency predicted from parts against backbones and detectors measured whole, on random nets."""

    regime: str = "0.5G"
    """Whose space."""
    nets: int = 20
    """How many."""
    repeats: int = 5
    """Rounds of measuring all parts and all nets; the fastest counts, against what else the machine does."""
    threads: int = 1
    """CPU threads."""

    def run(self) -> None:
        """Print errors and rank correlations."""
        regime, runtime = REGIMES[self.regime], Patient(threads=self.threads)
        nets = random_nets(regime, self.nets)
        configs = [replace(regime.detector, backbone=str(net)) for net in nets]
        for _ in range(self.repeats):
            latency = Latency(regime.detector, (480, 640), runtime)
            detectors = [latency(net) for net in nets]
            backbones = [runtime.measure(backbone_graph(net, latency.size)) for net in nets]
            whole = [runtime.measure(detector_graph(config, latency.size)) for config in configs]
        macs = [BackboneMacs(latency.size)(net) for net in nets]
        head = latency.constant
        print(f"{self.nets} nets of {regime.name}, {self.threads} thread; neck and head {head:.2f} ms")
        report("backbone, parts", np.array(detectors) - head, np.array(backbones))
        report("detector, parts", np.array(detectors), np.array(whole))
        report("backbone, MACs", np.array(macs), np.array(backbones))


@dataclass(frozen=True)
class Patient(Runtime):
    """Remembers the fastest time of every graph that it has measured."""

    fastest: dict[bytes, float] = field(default_factory=dict)

    def measure(self, model: bytes) -> float:
        """Milliseconds: now or ever, whichever is less."""
        self.fastest[model] = min(super().measure(model), self.fastest.get(model, np.inf))
        return self.fastest[model]


def random_nets(regime: Regime, count: int) -> list[Backbone]:
    """Distinct nets from random walks, with 0.3 to 1.1 of the regime's MACs."""
    rng, macs, space = random.Random(1), BackboneMacs(), regime.space
    genome = start = space.encode(space.initial)
    nets: dict[Backbone, None] = {}
    while len(nets) < count:
        child = space.mutate(genome, 2, rng)
        net = space.decode(child)
        if space.refusal(child) or not 0.3 < macs(net) / regime.backbone_macs < 1.1:
            genome = start if rng.random() < 0.2 else genome
            continue
        genome = child
        nets[net] = None
    return list(nets)


def report(name: str, predicted: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> None:
    """Rank correlations, the predictor's median factor, and its errors once that is taken out."""
    ratio = predicted / measured
    scaled = ratio / np.median(ratio) - 1
    print(
        f"{name}: {measured.min():.1f}–{measured.max():.1f} ms measured; Spearman "
        f"{spearmanr(predicted, measured)[0]:.3f}, Kendall {kendalltau(predicted, measured)[0]:.3f}; "
        f"predicted/measured {np.median(ratio):.3g} (median); error without that factor "
        f"{np.abs(scaled).mean():.1%} mean, {np.abs(scaled).max():.1%} greatest"
    )


@dataclass(frozen=True)
class Published:
    """The released nets, counted and as published: parameters, the whole at VGA, the backbone at 224×224."""

    def run(self) -> None:
        """Print a line a net."""
        print("      parameters           MACs at 640×480          backbone at 224×224")
        print("      counted published    counted  published      authors'  published    correct")
        for name, (parameters, whole, backbone) in PUBLISHED.items():
            config = replace(RELEASED[name], landmarks=False)
            counted = DetectorParameters(config)(config.net) / 1e6, DetectorMacs(config)(config.net) / 1e9
            authors, correct = (BackboneMacs(counter=c)(config.net) / 1e6 for c in (SEARCH_CODE, MACS))
            print(
                f"{name:<5}{counted[0]:8.3f}M {parameters:8.2f}M{counted[1]:10.3f}G {whole:9.2f}G"
                f"{authors:13.1f}M {backbone:9.1f}M {correct:9.1f}M"
            )


PUBLISHED = {
    "0.5G": (0.26, 0.520, 63.1),
    "2.5G": (0.44, 2.46, 326.8),
    "10G": (1.27, 9.74, 1341.9),
    "34G": (6.24, 34.03, 4147.3),
}
"""Parameters (millions) and FLOPs at VGA (10⁹) as published; the backbone's count at 224 by the authors' code (10⁶)."""

COMMANDS = (
    Annotated[Speed, tyro.conf.subcommand("speed")]
    | Annotated[Budgets, tyro.conf.subcommand("budgets")]
    | Annotated[Trivial, tyro.conf.subcommand("trivial")]
    | Annotated[Predictor, tyro.conf.subcommand("latency")]
    | Annotated[Published, tyro.conf.subcommand("published")]
)

if __name__ == "__main__":
    tyro.cli(COMMANDS).run()  # type: ignore[arg-type]
