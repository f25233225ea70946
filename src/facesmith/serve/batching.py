"""Dynamic batching: what several threads ask of one network at the same time goes through it together.

This happens below the ``Detector``: a network's input is one array, whatever picture, overview or tile it shows, and
those of the same size can be stacked.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from facesmith.meshes import Meshes
from facesmith.runtime import Candidates, Detector
from facesmith.runtime.meshes import MeshRows, MeshSession
from facesmith.runtime.session import FloatArray, ImageBatch, Session

Outputs = tuple[FloatArray, ...]


@dataclass(frozen=True, eq=False)
class _Call:
    """A thread that waits for the outputs of ``images``."""

    images: ImageBatch
    arrived: float = field(default_factory=time.monotonic)
    outputs: "Future[Outputs]" = field(default_factory=Future)


class Batcher:
    """Calls ``run`` for many threads, with as many images as wait for it.

    A batch holds images of one size. It starts when it is full, or when its first image has waited for ``delay``;
    what comes while it runs makes up the next ones.

    Args:
        run: (B, H, W, 3) uint8 to arrays of length B each.
        most: images a batch; 1 runs every call at once in its own thread.
        delay: seconds that an image waits for others.
        observe: is told the size of every batch.
    """

    def __init__(
        self, run: Callable[[ImageBatch], Outputs], *, most: int, delay: float, observe: Callable[[int], None]
    ) -> None:
        self._run, self._most, self._delay, self._observe = run, most, delay, observe
        self._waiting: dict[tuple[int, ...], list[_Call]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="facesmith-batches", daemon=True)
        if most > 1:
            self._thread.start()

    def __call__(self, images: ImageBatch) -> Outputs:
        """The outputs of ``images``, (B, H, W, 3); waits for them.

        Raises:
            whatever ``run`` raises for these images alone.
        """
        if self._most == 1:
            self._observe(len(images))
            return self._run(images)
        call = _Call(images)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.setdefault(images.shape[1:], []).append(call)
            self._changed.notify()
        return call.outputs.result()

    def close(self) -> None:
        """Finish what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while calls := self._next():
            self._serve(calls)

    def _next(self) -> list[_Call]:
        """The calls of the next batch, as soon as it is due; none after the last."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = [calls for calls in self._waiting.values() if self._due(calls) <= now]
                if due:
                    return self._take(min(due, key=lambda calls: calls[0].arrived))
                if not self._waiting and self._closed:
                    return []
                first = min(map(self._due, self._waiting.values()), default=None)
                self._changed.wait(None if first is None else first - now)

    def _due(self, calls: list[_Call]) -> float:
        """When calls of one size shall start, by the monotonic clock."""
        full = sum(len(call.images) for call in calls) >= self._most
        return 0.0 if full or self._closed else calls[0].arrived + self._delay

    def _take(self, calls: list[_Call]) -> list[_Call]:
        """Remove a batch from the calls of one size: those that came first; one call at least."""
        ends = np.cumsum([len(call.images) for call in calls])
        count = max(1, int((ends <= self._most).sum()))
        taken, rest = calls[:count], calls[count:]
        shape = taken[0].images.shape[1:]
        if rest:
            self._waiting[shape] = rest
        else:
            del self._waiting[shape]
        return taken

    def _serve(self, calls: list[_Call]) -> None:
        try:
            outputs = self._run(np.concatenate([call.images for call in calls]))
        except Exception as error:
            if len(calls) == 1:
                calls[0].outputs.set_exception(error)
                return
            for call in calls:  # one of them was too much; the others shall not suffer
                self._serve([call])
            return
        self._observe(sum(len(call.images) for call in calls))
        start = 0
        for call in calls:
            end = start + len(call.images)
            call.outputs.set_result(tuple(array[start:end] for array in outputs))
            start = end


class BatchedSession:
    """A :class:`~facesmith.runtime.session.Session` that batches the calls of its users."""

    def __init__(self, session: Session, *, most: int, delay: float, observe: Callable[[int], None]) -> None:
        self.name, self.device = session.name, session.device
        self.threads, self.usual_size = session.threads, session.usual_size
        self.batcher = Batcher(session.run, most=most, delay=delay, observe=observe)

    def run(self, images: ImageBatch) -> Candidates:
        return Candidates(*self.batcher(images))


class BatchedMeshes:
    """A :class:`~facesmith.runtime.meshes.MeshSession` that batches the calls of its users."""

    def __init__(self, session: MeshSession, *, most: int, delay: float, observe: Callable[[int], None]) -> None:
        def run(images: ImageBatch) -> Outputs:
            candidates, rows = session.run(images)
            return (*candidates, *rows)

        self._session = session
        self.batcher = Batcher(run, most=most, delay=delay, observe=observe)

    def run(self, images: ImageBatch) -> tuple[Candidates, MeshRows]:
        boxes, scores, landmarks, parameters, anchors = self.batcher(images)
        return Candidates(boxes, scores, landmarks), MeshRows(parameters, anchors)

    def decode(self, parameters: FloatArray, anchors: FloatArray) -> Meshes:
        return self._session.decode(parameters, anchors)


def batched(
    detector: Detector, *, most: int, delay: float, observe: Callable[[int], None]
) -> tuple[Detector, list[Batcher]]:
    """The same detector, its calls batched; and the batchers, to be closed at the end."""
    session, meshes = detector.sessions
    network = BatchedSession(session, most=most, delay=delay, observe=observe)
    branch = None if meshes is None else BatchedMeshes(meshes, most=most, delay=delay, observe=observe)
    batchers = [part.batcher for part in (network, branch) if part is not None]
    return Detector(network, checksum=detector.checksum, meshes=branch), batchers
