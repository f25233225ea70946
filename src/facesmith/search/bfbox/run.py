"""A BFBox search from start to end: pictures, supernet, candidates, best network. Every part goes on where it stopped.

joint        one supernet with FPN attention; backbone and pyramid together (section 4.3)
two-step     the same without attention
intuitive    a supernet with the plain FPN, its best backbone; a supernet of that backbone, its best pyramid
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from tqdm import tqdm

from facesmith import configs, files
from facesmith.data.sources import Source
from facesmith.detectors.bfbox.architecture import TOP_DOWN, Architecture
from facesmith.detectors.bfbox.config import BFBoxConfig
from facesmith.detectors.bfbox.space import PRESETS, Genes, Preset
from facesmith.detectors.bfbox.supernet import Supernet, SupernetConfig
from facesmith.errors import ConfigError
from facesmith.search import pareto, record
from facesmith.search.bfbox.algorithms import ALGORITHMS, Draws, Trial, best_of
from facesmith.search.bfbox.costs import Size, backbone_cost, detector_cost
from facesmith.search.bfbox.pictures import PicturesConfig, hold_out, make_pictures
from facesmith.search.bfbox.scoring import Judge
from facesmith.search.bfbox.workers import Workers, workers
from facesmith.search.evolution import Evaluation
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train

Method: TypeAlias = Literal["joint", "two-step", "intuitive"]
BEST, PICTURE = "best.json", "pareto.svg"
COSTS = ("MACs", "backbone MACs at 224x224", "parameters")


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost.

    Attributes:
        macs: of the whole detector at ``size``.
        backbone_macs: of the backbone at 224×224, as in Table 9.
        size: height and width, pixels.
    """

    macs: float = float("inf")
    backbone_macs: float = float("inf")
    size: Size = (480, 640)

    def costs(self, config: BFBoxConfig) -> tuple[float, ...]:
        """Figures in the order of ``COSTS``."""
        whole = detector_cost(config, self.size)
        return (whole.macs, backbone_cost(config).macs, whole.parameters)

    def fits(self, config: BFBoxConfig) -> bool:
        """Whether ``config`` keeps to them."""
        macs, backbone, _ = self.costs(config)
        return macs <= self.macs and backbone <= self.backbone_macs


@dataclass(frozen=True)
class SearchConfig:
    """What is searched, and how.

    Attributes:
        preset: name of a :data:`~facesmith.detectors.bfbox.space.PRESETS`.
        method: see the module's docstring.
        algorithm: name of an :data:`~facesmith.search.bfbox.algorithms.ALGORITHMS`.
        train: of each supernet; its seed is the search's.
        pictures: what judges candidates.
        limits: what they may cost.
        candidates: how many are scored in all; the intuitive method shares them out among its two searches.
    """

    preset: str
    method: Method
    algorithm: str
    train: TrainConfig
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    limits: Limits = field(default_factory=Limits)
    candidates: int = 500

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ConfigError(f"a search needs 2 candidates or more, not {self.candidates}")


@dataclass(frozen=True, eq=False)
class Machine:
    """Where and with what it runs; nothing here changes the result.

    Attributes:
        out: folder of the results.
        supernets: folder of supernets and pictures; searches that name the same one share them.
        cache: folder for decoded pixels.
        device: of the supernet's training, and of scoring.
        jobs, threads: processes that score candidates, and CPU threads of each.
        cluster: address of a Ray cluster that scores instead.
    """

    out: Path
    supernets: Path
    cache: Path | None = None
    device: str = "cpu"
    jobs: int = 1
    threads: int = 1
    cluster: str | None = None


@dataclass(frozen=True)
class Found:
    """The best candidate of one search."""

    name: str
    config: BFBoxConfig
    score: float
    costs: tuple[float, ...]
    scored: int
    refused: int


def search(config: SearchConfig, sources: Sequence[Source], machine: Machine) -> Found:
    """Do what is not done yet; write ``best.json`` and ``pareto.svg``; the best network.

    Raises:
        ConfigError: too few pictures, a budget that nothing keeps to, or the folder holds another search.
        TrainingError: the supernet's loss became NaN, or its folder holds another training.
    """
    preset = PRESETS[config.preset]
    training, held_out = hold_out(sources, config.pictures.validation)
    pictures = _pictures(config, training, held_out, machine)
    space, detector = preset.space, preset.detector

    def part(name: str, preset: Preset, count: int) -> Found:
        supernet = SupernetConfig(preset, config.train.seed)
        checkpoint = _trained(supernet, name, config.train, training, machine)
        judge = Judge(supernet, checkpoint.resolve(), pictures.resolve(), machine.threads, machine.device)
        return _best(name, config, judge, count, machine)

    match config.method:
        case "joint":
            found = part("joint", Preset(space, replace(detector, attention=True)), config.candidates)
        case "two-step":
            found = part("two-step", Preset(space, replace(detector, attention=False)), config.candidates)
        case "intuitive":
            plain = replace(detector, attention=False)
            half = config.candidates // 2
            first = part("backbone", Preset(space.with_pyramid(TOP_DOWN), plain), half)
            pyramids = Preset(space.with_backbone(first.config.net), plain)
            name = f"pyramid-{hashlib.sha256(first.config.net.backbone.encode()).hexdigest()[:8]}"
            found = part(name, pyramids, config.candidates - half)
    _write(found, config, machine.out)
    return found


def _pictures(config: SearchConfig, training: Sequence[Source], held_out: Sequence[Source], machine: Machine) -> Path:
    """The folder of the pictures, which are made if they are not there."""
    what = repr((config.pictures, config.train.batch.augment, [str(p) for s in held_out for p in s.paths]))
    folder = machine.supernets / f"pictures-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    done = folder / "done"
    if not done.exists():
        made = make_pictures(training, held_out, config.pictures, config.train.batch.augment, cache=machine.cache)
        made.write(folder)
        files.write_text(done, what)
    return folder


def _trained(
    supernet: SupernetConfig, name: str, config: TrainConfig, sources: Sequence[Source], machine: Machine
) -> Path:
    """The checkpoint of a supernet, trained to its end."""
    folder = machine.supernets / f"supernet-{name}"
    torch.manual_seed(config.seed)
    process = Process.start(machine.device)
    if process.world > 1:
        raise ConfigError("a search is one process; start it without torchrun (--jobs and --cluster share out scoring)")
    train(Supernet(supernet), sources, config, folder, process=process, cache=machine.cache)
    return folder / "checkpoint.pt"


def _best(name: str, config: SearchConfig, judge: Judge, count: int, machine: Machine) -> Found:
    """Score ``count`` candidates; the best of them."""
    preset = judge.supernet.preset

    def network(genes: Genes) -> BFBoxConfig:
        return preset.config(preset.space.decode(genes))

    draws = Draws(preset.space, lambda genes: config.limits.fits(network(genes)))
    trial = ALGORITHMS[config.algorithm].trial(draws, count, config.train.seed)
    folder, order = machine.out / name, list[str]()
    with (
        record.Record(folder, COSTS, _settings(config, judge), resume=True) as kept,
        workers(judge, jobs=machine.jobs, cluster=machine.cluster) as scorers,
        tqdm(total=count, unit="net", desc=name, mininterval=1) as bar,
    ):
        scores = _known(folder) if kept.state else {}
        generation: list[Genes] | None = next(trial)
        while generation is not None:
            costs = {(found := network(genes)).architecture: config.limits.costs(found) for genes in generation}
            order += costs
            bar.update(sum(text in scores for text in costs))
            for text, score in _scored([text for text in costs if text not in scores], scorers):
                scores[text] = score
                kept.add(text, Evaluation(score, costs[text]))
                kept.checkpoint({})
                bar.update()
            generation = _next(trial, [scores[text] for text in costs])
    best = best_of(scores, order)
    found = preset.config(Architecture.parse(best))
    return Found(name, found, scores[best], config.limits.costs(found), len(order), draws.refused)


def _next(trial: Trial, scores: list[float]) -> list[Genes] | None:
    """The next generation; ``None`` at the end."""
    try:
        return trial.send(scores)
    except StopIteration:
        return None


def _scored(architectures: Sequence[str], scorers: Workers) -> Iterator[tuple[str, float]]:
    """Scores with as many digits as the record keeps, so that a resumed search sees what it saw before."""
    for text, score in scorers.scores(architectures):
        yield text, round(score, 9)


def _known(folder: Path) -> dict[str, float]:
    """What was scored before."""
    scores, _, nets = record.read_candidates(folder / record.CANDIDATES)
    return dict(zip(nets, scores.tolist(), strict=True))


def _settings(config: SearchConfig, judge: Judge) -> dict[str, Any]:
    """All that decides a candidate's score and which are tried, as JSON."""
    return {
        "preset": config.preset,
        "method": config.method,
        "algorithm": config.algorithm,
        "limits": json.loads(json.dumps(asdict(config.limits))),
        "pictures": asdict(config.pictures),
        "pictures folder": judge.pictures.name,
        "seed": config.train.seed,
        "supernet": hashlib.sha256(judge.checkpoint.read_bytes()).hexdigest(),
    }


def _write(found: Found, config: SearchConfig, out: Path) -> None:
    """``best.json`` and ``pareto.svg``."""
    contents = {
        "name": f"bfbox-{config.preset}-searched",
        "detector": "bfbox",
        "config": configs.to_json(found.config),
        "search": {
            "preset": config.preset,
            "method": config.method,
            "algorithm": config.algorithm,
            "seed": config.train.seed,
            "candidates": found.scored,
            "over the budget": found.refused,
            "score": found.score,
            "costs": dict(zip(COSTS, found.costs, strict=True)),
        },
    }
    files.write_text(out / BEST, json.dumps(contents, indent=1) + "\n")
    scores, costs, _ = record.read_candidates(out / found.name / record.CANDIDATES)
    column = 1 if config.limits.backbone_macs < float("inf") else 0
    limit = min((config.limits.macs, config.limits.backbone_macs)[column], costs[:, column].max())
    marks = {"best": (found.costs[column], found.score)}
    picture = pareto.svg(
        costs[:, column], scores, marks, cost=COSTS[column], score="AP of the supernet", limit=float(limit)
    )
    files.write_text(out / PICTURE, picture)
