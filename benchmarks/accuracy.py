"""Accuracy of a model on the development photographs, in one table.

    python benchmarks/accuracy.py --data ../shared/data/dev

WIDER FACE's average precision at VGA size (long side 640) and at the images' own size, FDDB's discrete recall
at 1, 50 and 100 false positives, five-point NME on the video frames, and recall by face size. The photographs
are subsets of the benchmarks: figures compare models with each other, and with published ones only roughly.
"""

import contextlib
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from facesmith import __version__, files
from facesmith.errors import FacesmithError
from facesmith.evaluation import landmarks, widerface
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.evaluation.predictions import Predictions
from facesmith.evaluation.result import Result
from facesmith.evaluation.tasks import Task
from facesmith.evaluation.widerface.breakdown import SizeRow
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector, SizeRule, load

_FDDB_LIMITS = (1, 50, 100)


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a model on the development photographs."""

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder with the tars, landmarks68.txt and ground-truth."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with the unpacked tars; without it they are unpacked to a temporary folder."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or a file; without it the default model."""

    threads: int | None = None
    """CPU threads."""

    device: str = "cpu"
    """cpu, cuda or cuda:N."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write results with curves, provenance, recall by face size and times to this file."""

    def run(self) -> None:
        """Measure, print, write."""
        detector = load(self.model, device=self.device, threads=self.threads)
        with unpacked(self.data, self.images) as images:
            measured = [measure(*row, detector, images) for row in self.rows(detector, images)]
        print_table(detector, measured)
        if self.json is not None:
            document = {
                "model": detector.name,
                "checksum": detector.checksum,
                "device": detector.device,
                "threads": detector.threads,
                "package": __version__,
                "figures": {key: figure for one in measured for key, figure in figures(one).items()},
                "measured": {one.name: one.to_dict() for one in measured},
            }
            files.write_text(self.json, json.dumps(document, indent=1) + "\n")

    def rows(self, detector: Detector, images: Path) -> list[tuple[str, Task[Any], Settings]]:
        """What is measured. A model that was made for one size sees all pictures at that."""
        general = detector.size_rule("auto") == SizeRule.parse("auto")
        sizes = {"VGA": "vga", "original": "original"} if general else {"usual size": "auto"}
        plain = at("original" if general else "auto")
        dev = Development(self.data, images)
        return [
            *((f"widerface, {name}", dev.wider(), at(size)) for name, size in sizes.items()),
            ("fddb", dev.fddb(), plain),
            *((f"fddb, turned {90 * n:+d}°", dev.fddb(turns=n), plain) for n in (1, -1)),
            ("frames", dev.frames(), plain),
            *([("frames, meshes", dev.frames(landmarks.FRAMES_68), plain)] if detector.has_meshes else []),
        ]


@dataclass(frozen=True)
class Measured:
    """One run over one set of photographs."""

    name: str
    result: Result
    sizes: tuple[SizeRow, ...]
    seconds: float
    cpu_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        rows = [vars(row) | {"below": None if row.below == float("inf") else row.below} for row in self.sizes]
        times = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        return {"result": self.result.to_dict(), "by_face_size": rows, **times}


@contextlib.contextmanager
def unpacked(data: Path, images: Path | None) -> Iterator[Path]:
    """The folder of the photographs; a temporary one, if ``images`` is not given."""
    if images is not None:
        yield images
        return
    with tempfile.TemporaryDirectory(prefix="facesmith-") as folder:
        tars = sorted(data.glob("*.tar"))
        if not tars:
            raise FacesmithError(f"{data}: no .tar in it; name the folder with the development data")
        for path in tars:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        yield Path(folder)


def at(size: str) -> Settings:
    """Each picture seen once, at ``size``."""
    return Settings(Augmentation.parse("none", size))


def measure(name: str, task: Task[Any], settings: Settings, detector: Detector, images: Path) -> Measured:
    """Run ``detector`` over the photographs of ``task`` that are there, and judge it."""
    pictures = find_pictures(images, task.images)
    task, settings = task.subset(pictures), replace(settings, turns=task.turns, meshes=task.meshes)
    start, cpu_start = time.perf_counter(), time.process_time()
    found: Predictions = {one.name: one.faces for one in predict(detector, pictures, settings)}
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    result = task.evaluate(found, task.truth, settings.provenance(detector))
    sizes: tuple[SizeRow, ...] = ()
    if isinstance(task.truth, widerface.Truth):
        sizes = widerface.breakdown(found, task.truth, threshold=EVERYDAY_THRESHOLD).sizes
    return Measured(name, result, sizes, seconds, cpu_seconds)


def print_table(detector: Detector, measured: list[Measured]) -> None:
    """Figures first, then recall by face size, then how they were made."""
    first = measured[0].result.provenance
    print(f"{detector.name}, sha256 {detector.checksum}")
    print(
        f"facesmith {__version__}, {detector.device}, {detector.threads} threads; "
        f"lowest score {first.score_threshold}, NMS {first.nms}, no test-time augmentation"
    )
    print(f"\n{'':22}{'figure':28}{'value':>8}   {'size':16}{'images':32}{'time':>8}{'CPU':>8}")
    for one in measured:
        label, r = one.name, one.result
        for name, value in shown(r).items():
            times = f"{one.seconds:7.0f}s{one.cpu_seconds:7.0f}s" if label else ""
            print(f"{label:22}{name:28}{value:8.4f}   {r.provenance.size_rule or '':16}{r.scope:32}{times}")
            label = ""
    for one in measured:
        if one.sizes:
            print(f"\n{one.name}: recall of hard faces by size (√(width · height) in the original image)")
            print(f"{'pixels':>12}{'faces':>8}{'AP':>10}{'any score':>12}{f'score ≥ {EVERYDAY_THRESHOLD}':>14}")
            for row in one.sizes:
                span = f"{row.smallest:.0f}-{row.below:.0f}"
                print(
                    f"{span:>12}{row.faces:8}{row.average_precision:10.4f}{row.recall:12.4f}"
                    f"{row.recall_above_threshold:14.4f}"
                )


def shown(result: Result) -> dict[str, float]:
    """The figures of a result that belong in the table."""
    if result.protocol == "fddb":
        return {f"recall at {n} false": result.metrics[f"discrete @{n}"] for n in _FDDB_LIMITS}
    if result.protocol == "frames":
        wanted = ("nme_box", "nme_interocular", "failure_interocular@0.10")
        return {name: result.metrics[name] for name in wanted if name in result.metrics}
    if result.protocol == "frames-68":
        return {name: result.metrics[name] for name in ("nme", "failure@0.10") if name in result.metrics}
    return {f"AP {name}": value for name, value in result.metrics.items()}


def figures(one: Measured) -> dict[str, dict[str, float | str]]:
    """The same as entries of a weights record: ``tools/release.py`` writes them down."""
    p = one.result.provenance
    how = f"{one.result.protocol} {one.result.version}, {p.size_rule}, augmentation {p.augmentation}, "
    how += f"lowest score {p.score_threshold}, NMS {p.nms}"
    return {
        f"{one.name}: {name}": {"value": round(value, 4), "protocol": how, "scope": one.result.scope}
        for name, value in shown(one.result).items()
    }


if __name__ == "__main__":
    try:
        tyro.cli(Accuracy, description=__doc__).run()
    except FacesmithError as error:
        sys.exit(f"accuracy.py: {error}")
