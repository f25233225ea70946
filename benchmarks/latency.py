"""Speed beside OpenCV's YuNet: one machine, one run, turn by turn.

    python benchmarks/latency.py --yunet face_detection_yunet_2023mar.onnx
    python benchmarks/latency.py --yunet-replica          # needs pip install facesmith[export]
    python benchmarks/latency.py                          # ours alone

``network`` is input array to raw tensors (YuNet: ``cv2.dnn`` with the blob ready made; ours takes the uint8
picture and has normalisation, decoding and top-K inside). ``end to end`` is picture array to faces after NMS
(YuNet: ``cv2.FaceDetectorYN``). Every repeat runs all of them one after the other and ratios are taken pair
by pair, so that other work on the machine disturbs all alike; what is printed are medians over the repeats.
"""

import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import tyro

import facesmith

Picture = npt.NDArray[np.uint8]


class Times(NamedTuple):
    """Milliseconds of one call."""

    wall: float
    cpu: float


class Contestant(NamedTuple):
    """What is timed: ``stage`` is ``network`` or ``end to end``."""

    stage: str
    name: str
    call: Callable[[], object]


@dataclass(frozen=True)
class Latency:
    """Time a model, alone or beside YuNet."""

    model: str | None = None
    """Name or file, as for `facesmith detect`."""

    yunet: Path | None = None
    """OpenCV's YuNet as ONNX."""

    yunet_replica: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Build a network of YuNet's structure with random weights in its place: for timing only."""

    size: str = "640x480"
    """Width x height of the picture, which the networks see as it is."""

    threads: int = 1
    """CPU threads of either side."""

    repeats: int = 30
    """How often each is timed."""

    def run(self) -> int:
        """Time and print."""
        if not (match := re.fullmatch(r"(\d+)x(\d+)", self.size)):
            raise SystemExit(f"--size is WIDTHxHEIGHT, such as 640x480, not {self.size}")
        if self.yunet and self.yunet_replica:
            raise SystemExit("--yunet and --yunet-replica exclude each other")
        width, height = int(match[1]), int(match[2])
        cv2.setNumThreads(self.threads)
        picture = test_picture(width, height)
        contestants = ours(self.model, self.threads, picture)
        with tempfile.TemporaryDirectory() as folder:
            if self.yunet_replica:
                from yunet_replica import export_replica

                export_replica(file := Path(folder) / "replica.onnx", width, height)
                contestants += yunet(file, "YuNet structure replica", picture)
            elif self.yunet:
                contestants += yunet(self.yunet, "YuNet", picture)
            times = measure([contestant.call for contestant in contestants], self.repeats)
        print(self._report(contestants, times))
        return 0

    def _report(self, contestants: list[Contestant], times: list[list[Times]]) -> str:
        engines = f"onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}"
        versions = f"facesmith {facesmith.__version__}, {engines}"
        lines = [
            f"{_cpu()}, {platform.system()}, Python {platform.python_version()}, {versions}",
            f"{self.size}, {self.threads} thread(s), medians of {self.repeats} alternating repeats",
            f"{'stage':<11}{'detector':<40}{'wall ms':>9}{'CPU ms':>9}   ours / this (wall; CPU)",
        ]
        reference: dict[str, list[Times]] = {}
        for (stage, name, _), row in zip(contestants, times, strict=True):
            first = reference.setdefault(stage, row)
            wall, cpu = (statistics.median(t[i] for t in row) for i in (0, 1))
            ratios = [statistics.median(a[i] / b[i] for a, b in zip(first, row, strict=True)) for i in (0, 1)]
            ratio = "" if row is first else f"   {ratios[0]:.2f}; {ratios[1]:.2f}"
            lines.append(f"{stage:<11}{name:<40}{wall:>9.2f}{cpu:>9.2f}{ratio}")
        if self.yunet_replica:
            lines.append("YuNet structure replica with random weights (75,856 parameters): timing only")
        return "\n".join(lines)


def ours(model: str | None, threads: int, picture: Picture) -> list[Contestant]:
    """Our detector's two stages."""
    detector = facesmith.load(model, threads=threads)
    return [
        Contestant("network", detector.name, lambda: detector.raw(picture[None])),
        Contestant("end to end", detector.name, lambda: detector.detect(picture, size="original")),
    ]


def yunet(file: Path, name: str, picture: Picture) -> list[Contestant]:
    """YuNet's two stages in OpenCV, and its network in onnxruntime, to tell structure from engine."""
    height, width = picture.shape[:2]
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    padded = cv2.copyMakeBorder(bgr, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
    blob = cv2.dnn.blobFromImage(padded)
    net = cv2.dnn.readNetFromONNX(str(file))
    outputs = [f"{output}_{stride}" for output in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    detector = cv2.FaceDetectorYN.create(str(file), "", (width, height), 0.5)

    def network() -> object:
        net.setInput(blob)
        return net.forward(outputs)

    contestants = [
        Contestant("network", f"{name} (OpenCV)", network),
        Contestant("end to end", f"{name} (OpenCV)", lambda: detector.detect(bgr)),
    ]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = cv2.getNumThreads(), 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    if all(isinstance(want, str) or want == have for want, have in zip(source.shape, blob.shape, strict=True)):
        run = Contestant("network", f"{name} (onnxruntime)", lambda: session.run(None, {source.name: blob}))
        contestants.insert(1, run)
    return contestants


def measure(calls: list[Callable[[], object]], repeats: int) -> list[list[Times]]:
    """Times of each call, taken in turns; three rounds go before to warm up."""
    times: list[list[Times]] = [[] for _ in calls]
    for repeat in range(-3, repeats):
        for call, row in zip(calls, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            taken = Times((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)
            if repeat >= 0:
                row.append(taken)
    return times


def test_picture(width: int, height: int) -> Picture:
    """A smooth random picture: textured like a photograph, and without faces."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 32 + 2, width // 32 + 2, 3), np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _cpu() -> str:
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(tyro.cli(Latency).run())
