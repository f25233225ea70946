"""Speed and accuracy beside other detectors: one machine, one run, the same pictures, turn by turn.

    python benchmarks/latency.py --data ../shared/data/dev --images DIR --peers ONNX-FILES --plot speed.svg
    python benchmarks/latency.py                          # times alone, on a picture without faces

PEERS holds ONNX files: OpenCV's YuNet (face_detection_yunet_2023mar.onnx), SCRFD's, ours, others. Where YuNet or SCRFD
is not among them, a network of its published structure with random weights is timed and called so (needs
facesmith[export]); those have no accuracy.

``network`` is input array to raw tensors (YuNet, SCRFD: with the blob ready made; ours takes the uint8 picture and has
normalisation, decoding and top-K inside). ``faces`` is picture array to faces after NMS (YuNet in OpenCV:
``cv2.FaceDetectorYN``). Every repeat runs all of them one after the other and ratios are taken pair by pair, so that
other work on the machine disturbs all alike; what is printed are medians over the repeats, of wall and of CPU time. AP
is WIDER FACE's on the photographs that are in DIR, at long side 640, faces from score 0.02 on.
"""

import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import tyro

import facesmith
from facesmith import files, images
from facesmith.benchmark.chart import chart
from facesmith.errors import FacesmithError
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import find_pictures, walk_pictures
from facesmith.evaluation.result import Provenance
from facesmith.runtime import EVALUATION_THRESHOLD, EVERYDAY_THRESHOLD, SizeRule
from facesmith.runtime.views import resized
from latency_peers import NMS, Peer, ours, peers

Picture = npt.NDArray[np.uint8]
VGA = SizeRule.parse(640)


class Times(NamedTuple):
    """Milliseconds of one call."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Latency:
    """Time models beside others."""

    models: tuple[str, ...] = ("retinaface-mobilenet0.25", "damofd-0.5g")
    """Names or files, as for `facesmith detect`; ratios are to the first."""

    peers: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """ONNX files of other detectors."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Photographs: 16 of them are timed, cut to --size."""

    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with ground-truth, for AP on those of --images that are WIDER FACE's."""

    size: str = "640x480"
    """Width x height of the pictures, which the networks see as they are."""

    threads: int = 1
    """CPU threads of every detector."""

    repeats: int = 30
    """How often each is timed."""

    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.svg")] = None
    """Draw AP over time; needs --data."""

    def run(self) -> int:
        """Time, judge, print."""
        if not (match := re.fullmatch(r"(\d+)x(\d+)", self.size)):
            raise SystemExit(f"--size is WIDTHxHEIGHT, such as 640x480, not {self.size}")
        if (self.data is not None and self.images is None) or (self.plot is not None and self.data is None):
            raise SystemExit("--data needs --images, and --plot needs --data")
        width, height = int(match[1]), int(match[2])
        cv2.setNumThreads(self.threads)
        pictures = [test_picture(width, height)] if self.images is None else cut(self.images, width, height)
        found = [ours(model, self.threads) for model in self.models]
        found += peers(self.peers, self.threads, width, height)
        print(self._heading(len(pictures)))
        network = measure([[peer.network(picture) for picture in pictures] for peer in found], self.repeats)
        known = [peer for peer in found if peer.detect is not None]
        whole = measure([[_detect(peer, picture) for picture in pictures] for peer in known], self.repeats)
        print(_table("network", found, network))
        print(_table("faces", known, whole))
        if self.data is not None and self.images is not None:
            accuracy = {peer.name: judge(peer, self.data, self.images) for peer in known if peer.trained}
            print(f"\n{'AP, long side 640':<52}{'easy':>7}{'medium':>8}{'hard':>7}")
            for name, values in accuracy.items():
                print(f"{name:<52}{values[0]:>7.3f}{values[1]:>8.3f}{values[2]:>7.3f}")
            if self.plot is not None:
                times = {p.name: statistics.median(t.cpu for t in row) for p, row in zip(known, whole, strict=True)}
                points = {name: [(times[name], values[1])] for name, values in accuracy.items()}
                title = f"CPU ms, pixels to faces, {self.size}, {self.threads} thread(s)"
                text = chart(points, x=title, y="WIDER FACE AP medium, long side 640", from_zero=False)
                files.write_text(self.plot, text)
        return 0

    def _heading(self, pictures: int) -> str:
        engines = f"onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}"
        source = "a picture without faces" if self.images is None else f"{pictures} photographs in turn"
        return (
            f"{_cpu()}, {platform.system()}, Python {platform.python_version()}, facesmith {facesmith.__version__}, "
            f"{engines}\n{self.size}, {self.threads} thread(s), {source}, medians of {self.repeats} alternating repeats"
        )


def _detect(peer: Peer, picture: Picture) -> Callable[[], object]:
    assert peer.detect is not None
    detect = peer.detect
    return lambda: detect(picture, EVERYDAY_THRESHOLD)


def measure(calls: Sequence[Sequence[Callable[[], object]]], repeats: int) -> list[list[Times]]:
    """Times of each detector, taken in turns, a picture a repeat; three rounds go before to warm up."""
    times: list[list[Times]] = [[] for _ in calls]
    for repeat in range(-3, repeats):
        for several, row in zip(calls, times, strict=True):
            call = several[repeat % len(several)]
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            taken = Times((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)
            if repeat >= 0:
                row.append(taken)
    return times


def _table(stage: str, found: Sequence[Peer], times: Sequence[Sequence[Times]]) -> str:
    first = times[0]
    lines = [f"\n{stage:<52}{'wall ms':>9}{'CPU ms':>9}   this / {found[0].name} (wall; CPU)"]
    for peer, row in zip(found, times, strict=True):
        wall, cpu = (statistics.median(t[i] for t in row) for i in (0, 1))
        ratios = [statistics.median(b[i] / a[i] for a, b in zip(first, row, strict=True)) for i in (0, 1)]
        ratio = "" if row is first else f"   {ratios[0]:.2f}; {ratios[1]:.2f}"
        lines.append(f"{peer.name:<52}{wall:>9.2f}{cpu:>9.2f}{ratio}")
    return "\n".join(lines)


def judge(peer: Peer, data: Path, folder: Path) -> tuple[float, float, float]:
    """AP easy, medium, hard on the photographs of ``folder`` that WIDER FACE's validation set has."""
    assert peer.detect is not None
    task = Development(data, folder).wider()
    pictures = find_pictures(folder, task.images)
    found = {}
    for name, path in pictures.items():
        image = images.read(path)
        small = resized(image, VGA.target(image.shape[1], image.shape[0]))
        scale = image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]
        found[name] = peer.detect(small, EVALUATION_THRESHOLD).mapped(scale)
    source = Provenance(peer.name, size_rule=str(VGA), score_threshold=EVALUATION_THRESHOLD, nms=NMS)
    metrics = task.evaluate(found, task.subset(pictures).truth, source).metrics
    easy, medium, hard = (metrics[name] for name in ("easy", "medium", "hard"))
    return easy, medium, hard


def cut(folder: Path, width: int, height: int) -> list[Picture]:
    """16 photographs, scaled to cover ``width`` × ``height`` and cut to it at the middle."""
    found = []
    for path in islice(walk_pictures(folder), 16):
        image = images.read(path)
        scale = max(width / image.shape[1], height / image.shape[0])
        covering = max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))
        scaled = resized(image, covering)
        left, top = (scaled.shape[1] - width) // 2, (scaled.shape[0] - height) // 2
        found.append(np.ascontiguousarray(scaled[top : top + height, left : left + width]))
    if not found:
        raise SystemExit(f"{folder}: no pictures in it")
    return found


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
    try:
        raise SystemExit(tyro.cli(Latency, description=__doc__).run())
    except FacesmithError as error:
        raise SystemExit(str(error)) from error
