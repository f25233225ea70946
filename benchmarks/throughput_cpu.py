"""``throughput.py cpu``: stages, precisions and engines against the CPU's own limits."""

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

import throughput_bars as bars
from facesmith import images
from facesmith.box_styles import FDDB
from facesmith.evaluation.predict import find_pictures, walk_pictures
from facesmith.evaluation.result import Provenance
from facesmith.evaluation.tasks import fddb_task
from facesmith.export.quantise import quantise
from facesmith.runtime import EVALUATION_THRESHOLD
from throughput_engines import Missing, Runner, operators, runners
from throughput_graph import Graph, Work
from throughput_limits import Clock, Limit, fastest, keep_to, memory, products, rate
from throughput_models import Untrained, exported
from throughput_stages import Picture, chunks, framed, pipeline, read_files, spread, suppressed

BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
FALSE_POSITIVES = 50
CALIBRATING = 256
"""Photographs: with 64, int8 cost DRNet 2.4 points of recall."""

FloatArray = npt.NDArray[np.float64]
Rounds = Mapping[str, FloatArray]
"""Limits (FLOP/s, bytes/s) and seconds an image by name, a value a round."""


class Stage(NamedTuple):
    """A stage of the pipeline, what one image costs in it at least, and how it is timed."""

    name: str
    call: Callable[[], object]
    moved: float
    """Bytes read and written."""


@dataclass(frozen=True)
class Cpu:
    """Measure on the CPU, with onnxruntime and, where it is installed, OpenVINO."""

    images: Path
    """Folder of photographs (JPEG); they are decoded, and are what networks see."""

    fddb: Path | None = None
    """FDDB's ellipse lists, where --images holds (some of) its pictures: what reduced precisions cost in recall."""

    calibration: Path | None = None
    """Folder of photographs that calibrate int8, so that recall is measured on others; else those of --images."""

    model: str | None = None
    """A name that `facesmith models` lists, an .onnx or a .safetensors file."""

    untrained: Untrained | None = None
    """A KPNet with random weights in its place: for timing only."""

    size: int = 256
    """Side of the network's square input, pixels."""

    batch: int = 8
    """Images that the network takes at a time."""

    threads: int = 1
    """CPU threads; the process keeps to as many CPUs."""

    pictures: int = 64
    """How many photographs."""

    rounds: int = 7
    """How often everything is measured."""

    def run(self) -> int:
        """Measure and print."""
        keep_to(self.threads)
        cv2.setNumThreads(1)
        files = read_files(self.images, self.pictures)
        name, model = exported(self.model, self.untrained)
        frames = np.stack([framed(images.read(file), self.size).pixels for file in islice(cycle(files), self.batch)])
        graph = Graph(model, frames)
        work, decoding = graph.work(), graph.decoding()
        seen = files if self.calibration is None else spread(walk_pictures(self.calibration), CALIBRATING)
        calibration = chunks((framed(images.read(file), self.size).pixels for file in seen), self.batch)
        quantised = quantise(model, (np.stack(some) for some in calibration))
        found = list(runners(model, quantised, decoding, self.threads))
        ready = [one for one in found if isinstance(one, Runner)]
        stages = self._stages(files, frames, ready[0], work)
        clock = Clock(self.threads)
        limits = self._limits(clock)
        rounds = [self._round(clock, limits, stages, ready, frames) for _ in range(self.rounds)]
        measured = {key: np.array([one[key] for one in rounds]) for key in rounds[0]}
        print(_heading(name, self, clock, work))
        _print_limits(limits, measured)
        best = min((one for one in ready if one.precision == "fp32"), key=lambda one: np.median(_total(measured, one)))
        _print_stages(stages, best, work, self.batch, measured)
        shown = (best.run(frames).scores >= EVALUATION_THRESHOLD).sum() / self.batch
        print(f"NMS sees {shown:.0f} candidates an image")
        _print_runners(found, best, work, measured)
        for precision, data in (("fp32", model), ("int8", quantised)):
            shares = ", ".join(f"{kind} {share:.0%}" for kind, share in operators(data, frames, self.threads)[:7])
            print(f"operators, onnxruntime {precision}: {shares}")
        self._print_pipeline(clock, files, best)
        recall = {} if self.fddb is None else {one.name: self._recall(self.fddb, one) for one in ready}
        _print_bars(ready, best, work, measured, recall)
        return 0

    def _stages(self, files: Sequence[bytes], frames: Picture, runner: Runner, work: Work) -> list[Stage]:
        """The stages around the network; each call does a batch."""
        encoded = list(islice(cycle(files), self.batch))
        decoded = [images.read(file) for file in encoded]
        candidates = runner.run(frames)
        pixels = sum(image.nbytes for image in decoded) / self.batch
        read = sum(map(len, encoded)) / self.batch
        return [
            Stage("JPEG decoding", lambda: [images.read(file) for file in encoded], read + pixels),
            Stage("resizing", lambda: [framed(image, self.size) for image in decoded], pixels + frames[0].nbytes),
            Stage("NMS", lambda: suppressed(candidates), sum(part.nbytes for part in candidates) / self.batch),
        ]

    def _limits(self, clock: Clock) -> dict[str, Limit]:
        found = {name: fastest(products(name, self.threads), clock) for name in BYTES}
        return {name: limit for name, limit in found.items() if limit} | {"memory": memory(self.threads)}

    def _round(
        self,
        clock: Clock,
        limits: Mapping[str, Limit],
        stages: Sequence[Stage],
        ready: Sequence[Runner],
        frames: Picture,
    ) -> dict[str, float]:
        """Everything once. Stages around the network take a thread a picture, so threads share their time."""

        def taken(time: Clock, call: Callable[[], object]) -> float:
            return min(time(call) for _ in range(2)) / self.batch

        one = {name: max(rate(limit, clock) for _ in range(2)) for name, limit in limits.items()}
        one |= {stage.name: taken(Clock(1), stage.call) / self.threads for stage in stages}
        for runner in ready:
            one[runner.name] = taken(clock, partial(runner.run, frames))
            one[f"{runner.name} decoding"] = taken(clock, runner.decode)
        return one

    def _print_pipeline(self, clock: Clock, files: Sequence[bytes], best: Runner) -> None:
        count = max(4 * self.batch, len(files))
        some = list(islice(cycle(files), count))

        def everything() -> object:
            return list(pipeline(some, best.run, side=self.size, batch=self.batch, workers=self.threads))

        taken = clock(everything)
        print(f"pipeline from JPEG to faces, {best.name}, {count} pictures: {count / taken:.1f} images/s")

    def _recall(self, folds: Path, runner: Runner) -> float:
        """FDDB's discrete recall at 50 false positives, of boxes made from landmarks in FDDB's style."""
        task = fddb_task(folds, self.images)
        pictures = find_pictures(self.images, task.images)
        task = task.subset(pictures)
        shared = {"side": self.size, "batch": self.batch, "workers": self.threads}
        found = pipeline(pictures.values(), runner.run, **shared)
        faces = {name: FDDB.restyled(one) for name, one in zip(pictures, found, strict=True)}
        return task.evaluate(faces, task.truth, Provenance(runner.name)).metrics[f"discrete @{FALSE_POSITIVES}"]


def _total(measured: Rounds, runner: Runner) -> FloatArray:
    """Seconds an image: network, decoding and NMS."""
    return measured[runner.name] + measured["NMS"]


def _share(measured: Rounds, runner: Runner, work: Work, precision: str) -> float:
    """Of the limit in ``precision`` that network, decoding and NMS reach."""
    flops = work.flops + work.decoding_flops
    return float(np.median(flops / _total(measured, runner) / measured[precision]))


def _times(measured: Rounds, runner: Runner, best: Runner) -> float:
    """How many times as fast as ``best``."""
    return float(np.median(_total(measured, best) / _total(measured, runner)))


def _heading(name: str, cpu: Cpu, clock: Clock, work: Work) -> str:
    moved = (work.maps + work.weights / cpu.batch) * BYTES["fp32"] / 1e6
    return (
        f"{_processor()}, {cpu.threads} thread(s), {clock.name}; medians of {cpu.rounds} rounds\n"
        f"{name} at {cpu.size} x {cpu.size}, batch {cpu.batch}: {work.flops / 1e9:.2f} GFLOP and, were all fused into "
        f"the convolutions, {moved:.0f} MB of maps and weights an image in fp32"
    )


def _print_limits(limits: Mapping[str, Limit], measured: Rounds) -> None:
    print("\nlimit")
    for name, limit in limits.items():
        unit = "GB/s" if name == "memory" else "GFLOP/s"
        print(f"  {name:<8}{np.median(measured[name]) / 1e9:>8.0f} {unit:<8} {limit.name}")


def _print_stages(stages: Sequence[Stage], best: Runner, work: Work, batch: int, measured: Rounds) -> None:
    """Where the time goes with the best fp32 runner, and the least that arithmetic and memory allow."""
    decoding = measured[f"{best.name} decoding"]
    first, second, nms = ((one.name, measured[one.name], 0.0, one.moved) for one in stages)
    moved = (work.maps + work.weights / batch) * BYTES["fp32"]
    rows = (
        first,
        second,
        ("network", measured[best.name] - decoding, work.flops, moved),
        ("decoding of maps", decoding, work.decoding_flops, work.raw),
        nms,
    )
    total = sum(taken for _, taken, _, _ in rows)
    head = f"{'ms/image':>10}{'of all':>9}{'arithmetic':>13}{'memory':>10}{'of the limit':>15}"
    print(f"\n{f'stage ({best.name})':<26}{head}")
    for name, taken, flops, moved in rows:
        arithmetic, copying = flops / measured["fp32"], moved / measured["memory"]
        share = np.median(np.maximum(arithmetic, copying) / taken)
        print(
            f"  {name:<24}{np.median(taken) * 1e3:>10.2f}{np.median(taken / total):>9.1%}"
            f"{np.median(arithmetic) * 1e3:>10.2f} ms{np.median(copying) * 1e3:>7.2f} ms{share:>15.1%}"
        )


def _print_runners(found: Sequence[Runner | Missing], best: Runner, work: Work, measured: Rounds) -> None:
    head = f"{'ms/image':>10}{'images/s':>10}{'of fp32 limit':>15}{'of own limit':>14}{'times fp32':>12}"
    print(f"\n{'network + decoding + NMS':<26}{head}")
    for one in found:
        if isinstance(one, Missing):
            print(f"  {one.name:<24}not measured: {one.reason}")
            continue
        taken = float(np.median(_total(measured, one)))
        own = f"{_share(measured, one, work, one.precision):.0%}" if one.precision in measured else "?"
        print(
            f"  {one.name:<24}{taken * 1e3:>10.2f}{1 / taken:>10.1f}{_share(measured, one, work, 'fp32'):>15.0%}"
            f"{own:>14}{_times(measured, one, best):>12.2f}"
        )


def _print_bars(
    ready: Sequence[Runner], best: Runner, work: Work, measured: Rounds, recall: Mapping[str, float]
) -> None:
    print("\nbars")
    print(bars.CPU_FP32.line(_share(measured, best, work, "fp32"), best.name))
    lost = {name: 100 * (recall[best.name] - value) for name, value in recall.items()}
    reduced = [one for one in ready if one.precision != "fp32"]
    # The fastest of those that keep the recall; of all, where none does or it is not known.
    kept = [one for one in reduced if lost.get(one.name, 0.0) <= bars.CPU_RECALL.bound] or reduced
    fast = max(kept, key=lambda one: _times(measured, one, best))
    if _has_fast_integers() is False:
        print(bars.CPU_REDUCED.line(None, "this CPU has neither VNNI nor AMX"))
    else:
        print(bars.CPU_REDUCED.line(_times(measured, fast, best), fast.name))
    if recall:
        all_of_them = ", ".join(f"{name} {value:.2%}" for name, value in recall.items())
        print(
            bars.CPU_RECALL.line(
                lost[fast.name], f"{fast.name}; FDDB's at {FALSE_POSITIVES} false positives: {all_of_them}"
            )
        )
    else:
        print(bars.CPU_RECALL.line(None, "give --fddb FOLDS"))
    for bar in (bars.GPU_OFFLINE, bars.GPU_ONLINE):
        print(bar.line(None, "throughput.py gpu"))


def _cpuinfo(field: str) -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    match = re.search(rf"^{field}\s*: (.+)$", text, re.MULTILINE)
    return match[1] if match else None


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _has_fast_integers() -> bool | None:
    """``None`` where the system does not say."""
    flags = _cpuinfo("flags")
    return None if flags is None else bool({"avx512_vnni", "avx_vnni", "amx_int8"} & set(flags.split()))
