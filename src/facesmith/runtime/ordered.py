"""Work on many items at once, results in the order of the items, memory bounded."""

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def ordered_map(work: Callable[[Item], Value], items: Iterable[Item], *, workers: int) -> Generator[Value]:
    """Yield ``work(item)`` in the order of ``items``, each as soon as it and all before it are done.

    ``items`` may be endless or slow (a pipe): it is read in a thread of its own, never further ahead than
    ``2 * workers`` results that nobody has taken yet. What ``work`` or ``items`` raises is raised at its
    place. Closing the iterator drops what has not begun.
    """
    results: SimpleQueue[Future[Value] | None] = SimpleQueue()
    room = threading.Semaphore(2 * workers)
    closed = threading.Event()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="facesmith")

    def feed() -> None:
        try:
            for item in items:
                room.acquire()
                if closed.is_set():
                    return
                results.put(executor.submit(work, item))
            results.put(None)
        except BaseException as error:
            if not closed.is_set():  # else it is only the executor saying that it has been shut down
                failed: Future[Value] = Future()
                failed.set_exception(error)
                results.put(failed)

    # a daemon: it may be stuck in reading a pipe when the program wants to end
    threading.Thread(target=feed, name="facesmith-feed", daemon=True).start()
    try:
        while (result := results.get()) is not None:
            yield result.result()
            del result  # the value is the caller's alone now
            room.release()
    finally:
        closed.set()
        room.release()
        executor.shutdown(wait=False, cancel_futures=True)
