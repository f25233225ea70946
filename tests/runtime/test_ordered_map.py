import gc
import threading
import time
from collections.abc import Iterator

import pytest

from facesmith.runtime.ordered import ordered_map


def test_order_is_kept_though_later_items_are_faster() -> None:
    def work(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(ordered_map(work, range(20), workers=4)) == [i * i for i in range(20)]


def test_nothing() -> None:
    assert list(ordered_map(str, [], workers=2)) == []


def test_items_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)  # breaks unless three workers wait at once
    assert len(list(ordered_map(lambda _: together.wait(), range(6), workers=3))) == 6


def test_reading_ahead_is_bounded() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = ordered_map(lambda item: item, items(), workers=2)
    for expected in range(1, 11):
        assert next(results) == expected
        time.sleep(0.005)
        assert taken <= expected + 2 * 2 + 1
    results.close()
    time.sleep(0.05)
    stopped = taken
    time.sleep(0.05)
    assert taken == stopped


def test_results_do_not_wait_for_slow_items() -> None:
    more = threading.Event()

    def items() -> Iterator[str]:
        yield "first"
        assert more.wait(10)
        yield "second"

    results = ordered_map(str.upper, items(), workers=2)
    assert next(results) == "FIRST"  # while the second item is not there yet
    more.set()
    assert list(results) == ["SECOND"]


def test_memory_is_given_back() -> None:
    class Big:
        alive = 0

        def __init__(self, _: int) -> None:
            with lock:
                Big.alive += 1

        def __del__(self) -> None:
            with lock:
                Big.alive -= 1

    lock = threading.RLock()
    most = 0
    for _ in ordered_map(Big, range(100), workers=2):
        most = max(most, Big.alive)
    gc.collect()
    assert most <= 2 * 2 + 2


def test_errors_come_at_their_place() -> None:
    results = ordered_map(lambda item: 1 // item, [1, 0, 1], workers=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)

    def items() -> Iterator[int]:
        yield 1
        raise OSError("the pipe broke")

    results = ordered_map(lambda item: item, items(), workers=2)
    assert next(results) == 1
    with pytest.raises(OSError, match="the pipe broke"):
        next(results)
