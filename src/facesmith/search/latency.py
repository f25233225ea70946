"""Latency budgets: a detector's time on the real runtime, predicted from a table of measured parts.

A part is the first sub-layer of a stage, or a later one, at its resolution. Each is measured once in onnxruntime as
a graph of its own and kept in a file; a detector's latency is predicted as the sum of its parts, neck and head, times
a correction found on one whole detector.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from facesmith import files
from facesmith.detectors.damofd.config import Backbone, DamoFDConfig, Stage
from facesmith.errors import ConfigError, DeviceError
from facesmith.search.budgets import half, stage_size, total
from facesmith.search.graphs import detector_graph, neck_and_head_graph, stage_graph

WARM_UP = 2
LEAST_RUNS = 5
SECONDS = 0.03
ROUNDS = 5
"""A graph is run ``WARM_UP`` times unmeasured, then at least ``LEAST_RUNS`` times and for ``SECONDS``; the
fastest run counts, as whatever else the machine does can only slow a run down. What much hangs on is measured in
``ROUNDS`` such rounds."""


@dataclass(frozen=True)
class Runtime:
    """Where latency is measured.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        threads: that share one picture's work.

    Raises:
        ConfigError: no thread. DeviceError: no such device.
    """

    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ConfigError(f"threads must be 1 or more, not {self.threads}")
        if self.device not in _PROVIDERS:
            raise DeviceError(f"latency can be measured on {' and '.join(_PROVIDERS)}, not on {self.device!r}")

    def identity(self) -> dict[str, Any]:
        """What a measurement is valid for."""
        import onnxruntime

        return asdict(self) | {"onnxruntime": onnxruntime.__version__, "processor": _processor()}

    def measure(self, model: bytes) -> float:
        """Milliseconds that the ONNX graph ``model`` takes, on random float32 inputs.

        On one CPU thread this is the thread's own CPU time, which other processes disturb least.

        Raises:
            DeviceError: onnxruntime cannot use the device.
        """
        import onnxruntime as ort  # 0.1 s

        provider = _PROVIDERS[self.device]
        if provider not in ort.get_available_providers():
            found = ", ".join(ort.get_available_providers())
            raise DeviceError(f"{self.device} was asked for, but this onnxruntime has only {found}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(model, options, providers=[provider])
        if session.get_providers()[0] != provider:
            raise DeviceError(f"{self.device} was asked for, but onnxruntime runs on {session.get_providers()[0]}")
        binding = session.io_binding()
        for tensor in session.get_inputs():
            values = np.random.default_rng(0).standard_normal(tensor.shape, np.float32)
            binding.bind_ortvalue_input(tensor.name, ort.OrtValue.ortvalue_from_numpy(values, self.device, 0))
        for tensor in session.get_outputs():
            binding.bind_output(tensor.name, self.device)

        def run() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        precise = time.get_clock_info("thread_time").resolution < 1e-6
        alone = self.device == "cpu" and self.threads == 1 and precise
        return 1000 * _fastest(run, time.thread_time if alone else time.perf_counter)


_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def _fastest(run: Callable[[], None], clock: Callable[[], float]) -> float:
    for _ in range(WARM_UP):
        run()
    best, spent, runs = float("inf"), 0.0, 0
    while runs < LEAST_RUNS or spent < SECONDS:
        start = clock()
        run()
        took = clock() - start
        best, spent, runs = min(best, took), spent + took, runs + 1
    return best


def _processor() -> str:
    """The CPU's name where Linux tells, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Latency:
    """Milliseconds of a whole detector at one input size, as a sum over stages; parts are measured when first met.

    Graphs of single parts have entries and exits that a whole network has not, so their sum is some 10 % too high.
    The detector of ``config`` is measured whole as well; the ratio to its own sum corrects all predictions.

    Args:
        config: gives neck and head, measured on its own backbone's taps, and the detector to correct by.
        size: height and width of the input, pixels.
        runtime: where to measure.
        table: file of what has been measured, made if missing, appended to as parts are met; None: memory only.

    Raises:
        ConfigError: ``table`` was measured elsewhere, or is no such table.
    """

    def __init__(
        self, config: DamoFDConfig, size: tuple[int, int], runtime: Runtime, table: Path | None = None
    ) -> None:
        self.config = config
        self.size = size
        self.runtime = runtime
        self.table = table
        self._known: dict[str, float] = {} if table is None else _read(table, runtime)

    @cached_property
    def constant(self) -> float:
        """Neck and head."""
        return self._correction * self._head_sum()

    def stage(self, index: int, stage: Stage) -> float:
        """One stage: its first sub-layer, and as many of the later kind as it has."""
        return self._correction * self._stage_sum(index, stage)

    def __call__(self, backbone: Backbone) -> float:
        return total(self, backbone)

    def whole(self, backbone: Backbone) -> float:
        """The detector with ``backbone``, measured whole instead of predicted."""
        graph = detector_graph(replace(self.config, backbone=str(backbone)), self.size)
        return min(self.runtime.measure(graph) for _ in range(ROUNDS))

    def __len__(self) -> int:
        """How many graphs have been measured."""
        return len(self._known)

    @cached_property
    def _correction(self) -> float:
        name = f"detector({self._numbers}){self.config.backbone}"
        whole = self._time(name, lambda: detector_graph(self.config, self.size), self.size, ROUNDS)
        stages = sum(self._stage_sum(index, stage, ROUNDS) for index, stage in enumerate(self.config.net.stages))
        return whole / (self._head_sum() + stages)

    @property
    def _numbers(self) -> str:
        c = self.config
        flags = int(c.head_depthwise), int(c.landmarks)
        return ",".join(map(str, (c.neck_channels, c.head_convs, c.head_channels, c.head_groups, *flags)))

    def _head_sum(self) -> float:
        name = f"head({self._numbers},{','.join(map(str, self.config.net.taps))})"
        return self._time(name, lambda: neck_and_head_graph(self.config, self.size), self.size, ROUNDS)

    def _stage_sum(self, index: int, stage: Stage, rounds: int = 1) -> float:
        outside = stage_size(index, self.size)
        first = replace(stage, layers=1)
        milliseconds = self._time(str(first), lambda: stage_graph(first, outside), outside, rounds)
        if stage.layers == 1:
            return milliseconds
        inside = half(outside)
        later = replace(first, in_channels=stage.out_channels, stride=1)
        each = self._time(f"+{later}", lambda: stage_graph(later, inside, later=True), inside, rounds)
        return milliseconds + (stage.layers - 1) * each

    def _time(self, name: str, graph: Callable[[], bytes], size: tuple[int, int], rounds: int) -> float:
        key = f"{name}@{size[0]}x{size[1]}"
        known = self._known.get(key)
        if known is None:
            model = graph()
            known = self._known[key] = round(min(self.runtime.measure(model) for _ in range(rounds)), 6)
            if self.table is not None:
                with self.table.open("a", encoding="utf-8") as file:
                    file.write(f"{key}\t{known}\n")
        return known


def _read(table: Path, runtime: Runtime) -> dict[str, float]:
    """What an earlier search measured; a last line that it could not finish is dropped, no file begun."""
    head = "# milliseconds of parts\t" + json.dumps(runtime.identity(), sort_keys=True) + "\n"
    text = table.read_text(encoding="utf-8") if table.exists() else ""
    whole = text[: text.rfind("\n") + 1] or head
    if not whole.startswith(head):
        raise ConfigError(
            f"{table}: not measured on this runtime: it begins {text[:160]!r}, here that would be {head!r}; "
            "use another folder, or delete it"
        )
    known = {}
    for number, line in enumerate(whole.splitlines()[1:], 2):
        key, _, milliseconds = line.partition("\t")
        try:
            known[key] = float(milliseconds)
        except ValueError:
            raise ConfigError(f"{table}:{number}: expected a part and its time, got {line!r}") from None
    if whole != text:
        files.write_text(table, whole)
    return known
