"""``facesmith benchmark``: how fast a model is here, and what it takes."""

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import onnxruntime
import tyro

from facesmith import __version__, files, images
from facesmith.benchmark.chart import chart
from facesmith.benchmark.latency import WARM_UP, Latency, Percentiles, latency
from facesmith.benchmark.resources import Energy, peak_memory
from facesmith.benchmark.throughput import Rate, rates
from facesmith.errors import ConfigError
from facesmith.evaluation.predict import walk_pictures
from facesmith.runtime import Detector, SizeRule, load
from facesmith.runtime.cpus import available_cpus
from facesmith.runtime.portrait import paint_portrait

PICTURES = 64
"""Of a folder, at most."""


@dataclass(frozen=True)
class Benchmark:
    """Time a model on this machine: percentiles of one picture by stages, pictures a second, memory, energy.

    Other programs that run at the same time disturb it; so the fastest run counts for pictures a second, and for one
    picture the percentiles show how much it varies.
    """

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = None
    """a name that `facesmith models` lists or a file; without it the default model"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """photographs (64 of them are used); without it one painted face of 640 by 480 pixels"""
    size: str = "auto"
    """at which size the network sees a picture, as for `facesmith detect`"""
    threads: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...")] = ()
    """CPU threads to measure with; without it 1 and as many as this process may use"""
    batches: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...")] = (1, 4, 8)
    """pictures that the network takes at a time"""
    seconds: float = 3.0
    """how long each figure is measured"""
    device: str = "cpu"
    """as for `facesmith detect`"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write everything to this file"""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.svg")] = None
    """draw pictures a second over threads"""

    def run(self) -> int:
        """Measure, print, write."""
        threads = self.threads or tuple(sorted({1, available_cpus()}))
        if min(self.batches, default=0) < 1 or self.seconds <= 0:
            raise ConfigError("batches must be 1 or more, and seconds more than 0")
        size = SizeRule.parse(self.size)
        encoded = _pictures(self.images)
        decoded = [images.read(file) for file in encoded]
        cv2.setNumThreads(1)
        measured: list[tuple[Detector, Latency, float | None]] = []
        figures: list[Rate] = []
        reason: str | None = None
        for count in threads:
            detector = load(self.model, device=self.device, threads=count)
            energy = Energy()
            one = latency(detector, encoded, size=size, seconds=self.seconds)
            joules, reason = energy.joules(), energy.reason
            measured.append((detector, one, None if joules is None else joules / (one.calls + WARM_UP)))
            if count == threads[0]:
                _print_heading(detector, size, self._source(len(encoded)))
            _print_latency(detector, one, measured[-1][2])
            figures += rates(detector, decoded, batches=self.batches, size=size, seconds=self.seconds)
        _print_rates(figures, self.batches)
        memory = peak_memory()
        print(f"\npeak memory of the process: {'unknown here' if memory is None else f'{memory:.0f} MiB'}")
        if reason is not None:
            print(f"energy cannot be read: {reason}")
        if self.json is not None:
            document = _document(measured, figures, size, self._source(len(encoded)), memory, reason)
            files.write_text(self.json, json.dumps(document, indent=1) + "\n")
        if self.plot is not None:
            files.write_text(self.plot, _plot(figures))
        return 0

    def _source(self, count: int) -> str:
        return "a painted face, 640x480" if self.images is None else f"{count} pictures of {self.images}"


def _pictures(folder: Path | None) -> list[bytes]:
    if folder is None:
        painted = paint_portrait(640, 480, (320.0, 240.0), 60.0)
        _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(painted[:, :, ::-1]))
        return [bytes(jpeg)]
    found = [path.read_bytes() for path in islice(walk_pictures(folder), PICTURES)]
    if not found:
        raise ConfigError(f"{folder}: no pictures in this folder")
    return found


def _print_heading(detector: Detector, size: SizeRule, source: str) -> None:
    engines = f"onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}, Python {platform.python_version()}"
    print(f"{detector.name} on {detector.device} ({platform.machine()}, {platform.system()})")
    print(f"facesmith {__version__}, {engines}; size: {detector.size_rule(size)}; {source}")


def _print_latency(detector: Detector, one: Latency, joules: float | None) -> None:
    print(f"\n{detector.threads} threads, one picture at a time, {one.calls} calls: milliseconds")
    print(f"{'':<24}{'p50':>9}{'p90':>9}{'p99':>9}")
    for name, row in _rows(one):
        print(f"{name:<24}{row.p50:>9.2f}{row.p90:>9.2f}{row.p99:>9.2f}")
    if joules is not None:
        print(f"energy of the whole processor: {joules:.3f} J a picture")


def _rows(one: Latency) -> Iterator[tuple[str, Percentiles]]:
    yield "file to faces", one.whole
    yield "pixels to faces", one.detect
    yield "  its CPU time", one.cpu
    for name, row in one.stages.items():
        yield f"  stage: {name}", row


def _print_rates(figures: Sequence[Rate], batches: Sequence[int]) -> None:
    print("\npictures a second (network alone by batch; side by side: pixels to faces)")
    print(f"{'threads':>8}" + "".join(f"{f'batch {batch}':>10}" for batch in batches) + f"{'side by side':>14}")
    for threads in dict.fromkeys(figure.threads for figure in figures):
        row = {figure.batch: figure.pictures_per_second for figure in figures if figure.threads == threads}
        print(f"{threads:>8}" + "".join(f"{row[batch]:>10.1f}" for batch in batches) + f"{row[None]:>14.1f}")


def _document(
    measured: Sequence[tuple[Detector, Latency, float | None]],
    figures: Sequence[Rate],
    size: SizeRule,
    source: str,
    memory: float | None,
    reason: str | None,
) -> dict[str, Any]:
    detector = measured[0][0]
    return {
        "model": detector.name,
        "checksum": detector.checksum,
        "device": detector.device,
        "size": str(detector.size_rule(size)),
        "pictures": source,
        "versions": {"facesmith": __version__, "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__},
        "latency_ms": [
            {
                "threads": one.threads,
                "calls": times.calls,
                **{name.strip(): row._asdict() for name, row in _rows(times)},
                "joules_a_picture": joules,
            }
            for one, times, joules in measured
        ],
        "pictures_per_second": [figure._asdict() for figure in figures],
        "peak_memory_mib": memory,
        "energy": "of all processor packages, by RAPL" if reason is None else f"not readable: {reason}",
    }


def _plot(figures: Sequence[Rate]) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    for figure in figures:
        name = "side by side" if figure.batch is None else f"batch {figure.batch}"
        series.setdefault(name, []).append((figure.threads, figure.pictures_per_second))
    return chart(series, x="threads", y="pictures a second")
