"""Dynamic batching: the same results, in fewer calls."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from facesmith import load
from facesmith.serve.batching import Batcher, Outputs, batched


class Doubling:
    """(B, h, w, 3) -> twice the first number of each image; waits for its gate; -1 is too much for it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: npt.NDArray[np.uint8]) -> Outputs:
        assert self.gate.wait(20)
        self.shapes.append(images.shape[:2])
        if (images == 255).any():
            raise MemoryError("too much")
        return (2 * images[:, 0, 0, 0].astype(np.float32),)


@pytest.fixture
def run() -> Doubling:
    return Doubling()


@pytest.fixture
def make(run: Doubling) -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def make(most: int, delay: float = 0.02) -> Batcher:
        made.append(Batcher(run, most=most, delay=delay, observe=lambda _: None))
        return made[-1]

    yield make
    run.gate.set()
    for batcher in made:
        batcher.close()


def numbered(value: int, height: int = 2, count: int = 1) -> npt.NDArray[np.uint8]:
    return np.full((count, height, 2, 3), value, np.uint8)


def test_what_comes_together_runs_together(run: Doubling, make: Callable[..., Batcher]) -> None:
    batcher = make(4, delay=5.0)
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(batcher, numbered(i)) for i in range(8)]
        run.gate.set()
        assert [answer.result(20)[0].tolist() for answer in answers] == [[2 * i] for i in range(8)]
    assert run.shapes == [(4, 2), (4, 2)]


def test_sizes_do_not_mix(run: Doubling, make: Callable[..., Batcher]) -> None:
    batcher = make(3, delay=5.0)
    run.gate.set()
    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(batcher, numbered(i, height=2 + i % 2)) for i in range(6)]
        assert [answer.result(20)[0].tolist() for answer in answers] == [[2 * i] for i in range(6)]
    assert sorted(run.shapes) == [(3, 2), (3, 3)]


def test_one_alone_waits_for_the_delay_only(run: Doubling, make: Callable[..., Batcher]) -> None:
    run.gate.set()
    batcher = make(8, delay=0.05)
    began = time.monotonic()
    assert batcher(numbered(3))[0].tolist() == [6]
    assert 0.05 <= time.monotonic() - began < 5


def test_stacks_are_kept_together(run: Doubling, make: Callable[..., Batcher]) -> None:
    batcher = make(4, delay=0.01)
    run.gate.set()
    assert batcher(numbered(1, count=6))[0].tolist() == [2] * 6
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(batcher, numbered(i, count=3)) for i in (1, 2)]
        assert [answer.result(20)[0].tolist() for answer in answers] == [[2] * 3, [4] * 3]
    assert run.shapes == [(6, 2), (3, 2), (3, 2)]


def test_one_that_fails_takes_no_other_with_it(run: Doubling, make: Callable[..., Batcher]) -> None:
    batcher = make(3, delay=5.0)
    run.gate.set()
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(batcher, numbered(value)) for value in (1, 255, 2)]
        assert answers[0].result(20)[0].tolist() == [2]
        with pytest.raises(MemoryError, match="too much"):
            answers[1].result(20)
        assert answers[2].result(20)[0].tolist() == [4]


def test_closing_finishes_what_waits(run: Doubling, make: Callable[..., Batcher]) -> None:
    batcher = make(8, delay=60)
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(batcher, numbered(i)) for i in range(3)]
        while sum(map(len, batcher._waiting.values())) < 3:
            time.sleep(0.001)
        run.gate.set()
        batcher.close()
        assert [answer.result(20)[0].tolist() for answer in answers] == [[0], [2], [4]]
    with pytest.raises(RuntimeError, match="closed"):
        batcher(numbered(1))


def test_a_batched_detector_finds_the_same(tiny_model: Path) -> None:
    detector = load(tiny_model, threads=1)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (160, 160 + 16 * (i % 2), 3), np.uint8) for i in range(8)]
    sizes: list[int] = []
    same, batchers = batched(detector, most=4, delay=5.0, observe=sizes.append)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda picture: same.detect(picture, size="original", threshold=0.4), pictures))
    for picture, faces in zip(pictures, found, strict=True):
        expected = detector.detect(picture, size="original", threshold=0.4)
        assert np.array_equal(faces.boxes, expected.boxes)
        assert np.allclose(faces.scores, expected.scores, atol=1e-6)
    assert sum(sizes) == 8
    assert max(sizes) > 1
    assert (same.name, same.device, same.checksum) == (detector.name, detector.device, detector.checksum)
    for batcher in batchers:
        batcher.close()
