"""Pictures a second: over batch sizes, and of pictures side by side."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.runtime import Detector, SizeRule
from facesmith.runtime.views import resized

Picture = npt.NDArray[np.uint8]


class Rate(NamedTuple):
    """Pictures a second.

    Attributes:
        threads: CPU threads of the detector.
        batch: pictures that the network takes at a time; ``None``: a list of single ones, as many at a time as there
            are threads, from pixels to faces.
        pictures_per_second: best of the runs.
    """

    threads: int
    batch: int | None
    pictures_per_second: float


def rates(
    detector: Detector, pictures: Sequence[Picture], *, batches: Sequence[int], size: SizeRule, seconds: float
) -> list[Rate]:
    """Throughput of ``detector`` with its number of threads, ``seconds`` a figure.

    Batches are of the first picture's size at network size, and are timed from the network's input to its candidates.

    Raises:
        ModelError: a batch is too large for the memory.
    """
    rule = detector.size_rule(size)
    height, width = pictures[0].shape[:2]
    target = rule.target(width, height)
    found = []
    for batch in batches:
        stack = np.stack([resized(pictures[i % len(pictures)], target) for i in range(batch)])
        found.append(Rate(detector.threads, batch, _rate(partial(detector.raw, stack), batch, seconds)))
    several = [pictures[i % len(pictures)] for i in range(4 * detector.threads)]
    call = partial(detector.detect, several, size=size)
    found.append(Rate(detector.threads, None, _rate(call, len(several), seconds)))
    return found


def _rate(call: Callable[[], object], pictures: int, seconds: float) -> float:
    """Pictures a second of the fastest call, after one that is not counted; at least three are."""
    call()
    best, count, end = float("inf"), 0, time.perf_counter() + seconds
    while count < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best, count = min(best, time.perf_counter() - start), count + 1
    return pictures / best
