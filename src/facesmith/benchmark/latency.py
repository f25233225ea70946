"""How long one picture takes, from file to faces, and where the time goes."""

import time
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.runtime import Candidates, Detector, SizeRule
from facesmith.runtime.session import ImageBatch, Session
from facesmith.runtime.views import Reach

FloatArray = npt.NDArray[np.float64]

STAGES = ("read", "resize", "network", "suppress")
"""File to pixels; pixels to the network's input; the network, with what its file has inside; the rest up to faces."""

WARM_UP = 3
LEAST = 20
"""Calls that are not counted, and that are made at least."""


class Percentiles(NamedTuple):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float


class Latency(NamedTuple):
    """One picture at a time.

    Attributes:
        calls: how many were measured.
        detect: pixels to faces.
        whole: file to faces.
        cpu: CPU time of the process from pixels to faces; above ``detect`` where threads share the work.
        stages: by the names of :data:`STAGES`.
    """

    calls: int
    detect: Percentiles
    whole: Percentiles
    cpu: Percentiles
    stages: dict[str, Percentiles]


def latency(detector: Detector, files: Sequence[bytes], *, size: SizeRule, seconds: float) -> Latency:
    """Detect in ``files`` (encoded pictures), one after the other and again, for ``seconds``.

    Raises:
        ImageError: a picture cannot be read.
        ConfigError: ``size`` does not suit the model.
    """
    session, meshes = detector.sessions
    network = _Timed(session)
    timed = Detector(network, checksum=detector.checksum, meshes=meshes)
    reach = Reach(timed.size_rule(size))
    rows: list[tuple[float, ...]] = []
    end = time.perf_counter() + seconds
    for number, file in enumerate(cycle(files)):
        if number >= WARM_UP + LEAST and time.perf_counter() >= end:
            break
        started = time.perf_counter()
        image = images.read(file)
        opened = time.perf_counter()
        for view in reach.views(image.shape[1], image.shape[0]):
            view.look(image)
        seen, cpu, network.seconds = time.perf_counter(), time.process_time(), 0.0
        timed.detect(image, size=size)
        detect, cpu = time.perf_counter() - seen, time.process_time() - cpu
        if number >= WARM_UP:
            read, resize = opened - started, seen - opened
            rest = max(detect - resize - network.seconds, 0.0)
            rows.append((detect, read + detect, cpu, read, resize, network.seconds, rest))
    columns = [percentiles(column) for column in np.array(rows).T]
    return Latency(len(rows), columns[0], columns[1], columns[2], dict(zip(STAGES, columns[3:], strict=True)))


def percentiles(seconds: FloatArray) -> Percentiles:
    """Of (n,) seconds."""
    return Percentiles(*(float(value) for value in np.percentile(seconds * 1e3, (50, 90, 99))))


class _Timed:
    """A session that adds up the time that it takes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.name, self.device = session.name, session.device
        self.threads, self.usual_size = session.threads, session.usual_size
        self.seconds = 0.0

    def run(self, images: ImageBatch) -> Candidates:
        start = time.perf_counter()
        found = self._session.run(images)
        self.seconds += time.perf_counter() - start
        return found
