"""Scoring in one process, in many, or on many machines: :meth:`Workers.scores` is the same for all."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, Self

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.search.bfbox.scoring import Judge, Scorer


class Workers(Protocol):
    """A context in which candidates are scored."""

    def scores(self, architectures: Sequence[str]) -> Iterator[tuple[str, float]]:
        """Architecture and score, as they are finished."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def workers(judge: Judge, *, jobs: int, cluster: str | None) -> Workers:
    """``jobs`` processes here, or every CPU of the Ray cluster at address ``cluster`` (``local`` starts one here).

    Raises:
        ConfigError: ``jobs`` is below 1.
        MissingExtraError: a cluster was asked for and Ray is not installed.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, not {jobs}")
    if cluster is not None:
        return Cluster(judge, cluster)
    return Here(judge) if jobs == 1 else Processes(judge, jobs)


class Here:
    """This process."""

    def __init__(self, judge: Judge) -> None:
        self._scorer = Scorer(judge)

    def scores(self, architectures: Sequence[str]) -> Iterator[tuple[str, float]]:
        """One after the other."""
        for architecture in architectures:
            yield architecture, self._scorer.score(architecture)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Processes:
    """Processes of this machine; pictures are mapped, so they are in memory once."""

    def __init__(self, judge: Judge, jobs: int) -> None:
        # Spawned, since a fork would share the state of this process's threads.
        self._pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start, initargs=(judge,))

    def scores(self, architectures: Sequence[str]) -> Iterator[tuple[str, float]]:
        """As they are finished."""
        waiting = {self._pool.submit(_score, architecture): architecture for architecture in architectures}
        for done in as_completed(waiting):
            yield waiting[done], done.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


class Cluster:
    """An actor for every CPU of a Ray cluster. Machines must see the run's folder at the same path."""

    def __init__(self, judge: Judge, address: str) -> None:
        try:
            import ray  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise MissingExtraError("a cluster needs ray: pip install 'facesmith[cluster]'") from error
        self._ray: Any = ray
        ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
        count = max(int(self._ray.cluster_resources().get("CPU", 1)) // judge.threads, 1)
        actor = ray.remote(num_cpus=judge.threads)(Scorer)
        self._actors = [actor.remote(judge) for _ in range(count)]

    def scores(self, architectures: Sequence[str]) -> Iterator[tuple[str, float]]:
        """As they are finished; an actor has one candidate at a time."""
        left = iter(architectures)
        running: dict[Any, tuple[Any, str]] = {}
        for actor in self._actors:
            self._give(actor, left, running)
        while running:
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            actor, architecture = running.pop(done)
            self._give(actor, left, running)
            yield architecture, self._ray.get(done)

    def _give(self, actor: Any, left: Iterator[str], running: dict[Any, tuple[Any, str]]) -> None:
        architecture = next(left, None)
        if architecture is not None:
            running[actor.score.remote(architecture)] = (actor, architecture)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


_scorer: Scorer | None = None  # of a worker process


def _start(judge: Judge) -> None:
    global _scorer
    _end_with_parent()
    _scorer = Scorer(judge)


def _score(architecture: str) -> float:
    assert _scorer is not None
    return _scorer.score(architecture)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
