"""A study from start to end: train what is not trained yet, judge what is not judged yet.

``out`` receives a folder a network, ``NAME-DIGEST``, with checkpoint, log, weights and ``figures/``, a file a judge.
The digest stands for everything that shapes the weights, so studies that share a network share its training too.
"""

import contextlib
import hashlib
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context, parent_process
from os import _exit
from pathlib import Path

import torch

from facesmith import files
from facesmith.data.sources import SourceConfig, sources_or_all
from facesmith.detectors.weights import configuration, read_metadata, save_weights
from facesmith.errors import ConfigError, ModelError
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import find_pictures
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train
from facesmith.training.memory import keep_freed_memory
from facesmith.training.start import Start
from facesmith.training.studies.judges import Judge, Machine, Verdict
from facesmith.training.studies.study import Network, Row, Study

LOG = "train.log"


@dataclass(frozen=True)
class Place:
    """Where a study is repeated: its data, its folder, the machine.

    Attributes:
        dev: what judges the networks.
        out: folder of the trainings.
        train: how every network is trained, perhaps shorter than in the study.
        machine: where each network runs.
        data: training photographs; ``None``: all networks are given.
        sources: in which shares they are drawn, if all of them are there.
        given: network's name -> weights that are judged as they are.
        start: the backbone that networks start from; that of mesh branches' decoders is the shipped one.
        cache: folder of decoded pixels.

    Raises:
        ConfigError: ``train`` asks for evaluations on the way.
    """

    dev: Development
    out: Path
    train: TrainConfig
    machine: Machine
    data: Path | None = None
    sources: tuple[SourceConfig, ...] = ()
    given: Mapping[str, Path] = field(default_factory=dict)
    start: Start = field(default_factory=Start)
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.train.evaluate_every:
            raise ConfigError("a study judges its networks when they are trained; leave evaluate_every at 0")

    def folder(self, network: Network) -> Path:
        """The folder of a network's training, or of the figures of given weights."""
        if network.name in self.given:
            what = repr(_checksum(self.given[network.name]))
        else:
            same = replace(self.train, save_every=1, workers=0)
            parts = tuple(map(_checksum, self.start.files(network.model)))
            what = repr((network.model, same, self.sources, self.data and self.data.resolve(), *parts))
        return self.out / f"{network.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"

    def weights(self, network: Network) -> Path:
        """The file of a network's weights, which may not be there yet."""
        return self.given.get(network.name) or self.folder(network) / f"{network.name}.safetensors"

    def verdict(self, row: Row, judge: Judge) -> Verdict | None:
        """What ``judge`` said of the row's network, if he did, of these weights and on these photographs."""
        path, weights = self._figures(row, judge), self.weights(row.network)
        if not path.exists() or not weights.exists():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Verdict(**kept["verdict"]) if kept["of"] == self._judged(judge, weights) else None

    def judge(self, row: Row, judge: Judge) -> Verdict:
        """Judge the row's network, or take what was found before."""
        if (known := self.verdict(row, judge)) is not None:
            return known
        weights = self.weights(row.network)
        found = judge.verdict(weights, self.dev, self.machine)
        document = {"of": self._judged(judge, weights), "verdict": asdict(found)}
        files.write_text(self._figures(row, judge), json.dumps(document, indent=1) + "\n")
        return found

    def _figures(self, row: Row, judge: Judge) -> Path:
        digest = hashlib.sha256(repr(judge).encode()).hexdigest()[:8]
        return self.folder(row.network) / "figures" / f"{row.name}-{digest}.json"

    def _judged(self, judge: Judge, weights: Path) -> dict[str, str]:
        """What must be the same for figures to be those that are asked for."""
        images, labels = self.dev.images.resolve(), self.dev.labels.resolve()
        return {"judge": repr(judge), "sha256": _checksum(weights), "images": str(images), "labels": str(labels)}


def run_study(study: Study, place: Place, *, rows: Sequence[str] = (), jobs: int = 1) -> None:
    """Train and judge the networks of ``rows`` (all without a name), ``jobs`` of them side by side.

    What is finished in ``place.out`` is not repeated; a training that was killed goes on from its checkpoint. With
    several jobs each is a process of its own, whose progress goes to ``train.log`` in its folder.

    Raises:
        ConfigError: no such row or network, or there is no data for what has to be trained.
        ModelError: given weights are not of the network that they are given for.
        LabelError, ConfigError: data or development photographs cannot be used; raised before anything is trained.
        TrainingError: a loss became NaN.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, not {jobs}")
    chosen = study.chosen(rows)
    networks = {row.network.name: row.network for row in chosen}
    _check(study, place, chosen)
    work = [
        (network, tuple(row for row in chosen if row.network.name == name), place) for name, network in networks.items()
    ]
    if jobs == 1 or len(work) == 1:
        for one in work:
            _train_and_judge(*one)
        return
    # Spawned, since a fork would share the state of this process's threads.
    pool = ProcessPoolExecutor(min(jobs, len(work)), mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        list(pool.map(_alone, work))
    finally:
        pool.shutdown(cancel_futures=True)


def _check(study: Study, place: Place, rows: Sequence[Row]) -> None:
    """Raise what would go wrong after hours."""
    if unknown := [name for name in place.given if name not in study.networks]:
        raise ConfigError(f"{study.name} has no network {unknown[0]!r}; there are {', '.join(study.networks)}")
    for name, path in place.given.items():
        _check_given(study.networks[name], path)
    for judge in dict.fromkeys(judge for row in rows for judge in row.judges):
        find_pictures(place.dev.images, judge.task(place.dev).images)
    untrained = {row.network.name: row.network for row in rows if not place.weights(row.network).exists()}
    if untrained:
        if place.data is None:
            raise ConfigError(
                f"{study.name}: {next(iter(untrained))} has to be trained; name the folder of photographs (--data)"
            )
        sources_or_all(place.data, place.sources)
    if place.start.backbone:
        for network in untrained.values():
            place.start.network(network.model)


def _check_given(network: Network, path: Path) -> None:
    """Weights must be of the row's very network; how their loss was weighed does not matter any more."""
    there = configuration(read_metadata(path), path)
    if type(there) is not type(network.model):
        raise ModelError(f"{path}: is a {type(there).__name__}; {network.name} is a {type(network.model).__name__}")
    wanted = replace(network.model, loss=there.loss)
    if there != wanted:
        differing = [name for name, value in vars(there).items() if value != getattr(wanted, name)]
        raise ModelError(f"{path}: differs from the network {network.name} of this study in {', '.join(differing)}")


def _train_and_judge(network: Network, rows: Sequence[Row], place: Place) -> None:
    keep_freed_memory()
    torch.set_num_threads(place.machine.threads)
    if not place.weights(network).exists():
        _train(network, place)
    for row in rows:
        for judge in row.judges:
            verdict = place.judge(row, judge)
            figures = ", ".join(f"{name} {value:.2f}" for name, value in verdict.figures.items())
            print(f"{row.name}: {figures} ({verdict.seconds:.0f} s)", flush=True)


def _train(network: Network, place: Place) -> None:
    torch.manual_seed(place.train.seed)
    process = Process.start(place.machine.device)
    folder = place.folder(network)
    model = place.start.network(network.model)
    assert place.data is not None
    sources = sources_or_all(place.data, place.sources)
    averaged = train(model, sources, place.train, folder, process=process, cache=place.cache)
    save_weights(place.weights(network), averaged, name=network.name, steps=place.train.steps)


def _alone(work: tuple[Network, tuple[Row, ...], Place]) -> None:
    """One of several processes: several progress bars on one terminal could not be read."""
    folder = work[2].folder(work[0])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as log, contextlib.redirect_stderr(log):
        _train_and_judge(*work)


def _end_with_parent() -> None:
    """A process whose parent was killed would go on training into a folder that the next command takes up."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        print("the command that started this was killed", file=sys.stderr, flush=True)
        _exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
