"""What happens to a request between its head and its answer: a place, the upload, the queue, a worker."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.runtime import Detector
from facesmith.serve import answers
from facesmith.serve.answers import Answer, Options
from facesmith.serve.batching import batched
from facesmith.serve.config import ServeConfig
from facesmith.serve.metrics import Metrics
from facesmith.serve.refusal import CLIENT_GONE, Refusal, busy
from facesmith.serve.uploads import Held, Upload

try:
    from starlette.requests import Request
except ImportError as error:
    raise MissingExtraError("the service needs FastAPI: pip install 'facesmith[serve]'") from error


@dataclass(frozen=True, eq=False)
class _Job:
    """A picture that waits for a worker, since ``arrived`` by the monotonic clock."""

    detector: Detector
    data: bytes
    options: Options
    arrived: float


class Service:
    """Detectors, and the threads that run them.

    A picture is read from the network and gets one of ``config.places``, or 503. It waits in a queue, and is decoded,
    looked at and answered by one of a fixed number of threads: as many as the CPU has for this, or two batches' worth
    where networks run batches. Thus memory and time are bounded whatever is sent. A client that sends slowly has no
    place yet, so that many of them keep nobody out.

    Args:
        detectors: at least one, each with a name of its own; the first is the default. All run the same way.
        config: the limits.

    Attributes:
        detectors: by name.
        metrics: what was counted.
        stopping: set as soon as the service is about to end.

    Raises:
        ConfigError: no detectors, or two of one name.
    """

    def __init__(self, detectors: "list[Detector]", config: ServeConfig) -> None:
        if not detectors:
            raise ConfigError("the service needs at least one model")
        names = [detector.name for detector in detectors]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"two models are called {twice.pop()!r}; serve one of them")
        self.config, self.metrics, self.stopping = config, Metrics(), False
        pairs = [
            batched(one, most=config.batch, delay=config.batch_delay, observe=self.metrics.batches.observe)
            for one in detectors
        ]
        self.detectors: Mapping[str, Detector] = {detector.name: detector for detector, _ in pairs}
        self._batchers = [batcher for _, batchers in pairs for batcher in batchers]
        threads = detectors[0].threads
        self._workers = ThreadPoolExecutor(
            threads if config.batch == 1 else max(threads, 2 * config.batch), thread_name_prefix="facesmith-work"
        )
        self._decoding = threading.BoundedSemaphore(threads)  # it takes several times the memory of the result
        self._held = Held(config.max_held)
        self._unbatched = detectors
        self._places = self._waiting = 0
        self._triangles: dict[str, Any] = {}
        self.metrics.gauge("facesmith_pictures_in_work", "Pictures that wait or are worked on.", lambda: self._places)
        self.metrics.gauge("facesmith_queue_length", "Pictures that wait for a worker.", lambda: self._waiting)
        self.metrics.gauge("facesmith_held_bytes", "Bytes of pictures not yet worked on.", lambda: self._held.bytes)

    def warm_up(self) -> None:
        """Run every network once, so that what is broken fails now and the first request is not the slowest."""
        blank = np.zeros((160, 160, 3), np.uint8)
        for detector in self._unbatched:
            meshes = detector.detect(blank, meshes=detector.has_meshes).meshes
            self._triangles[detector.name] = None if meshes is None else meshes.triangles.tolist()

    def triangles(self, model: str) -> list[list[int]]:
        """The (f, 3) vertex numbers of a model's meshes.

        Raises:
            Refusal: 404 if there is no such model or it has no meshes.
        """
        self.detector(model, mesh=False)
        found: list[list[int]] | None = self._triangles[model]
        if found is None:
            raise Refusal(404, f"{model} has no meshes")
        return found

    def detector(self, model: str | None, *, mesh: bool) -> Detector:
        """The one that is called ``model``; by default the first, or the first that has meshes if that is asked for.

        Raises:
            Refusal: 404 if there is none.
        """
        if model is None:
            fitting = (one for one in self.detectors.values() if one.has_meshes or not mesh)
            return next(fitting, next(iter(self.detectors.values())))
        if model not in self.detectors:
            raise Refusal(404, f"no model is called {model!r} here; there are: {', '.join(self.detectors)}")
        return self.detectors[model]

    async def detect(self, request: Request, detector: Detector, options: Options) -> Answer:
        """Answer ``request``, whose body is a picture.

        Raises:
            Refusal: 4xx if something about it is wrong, 503 if there is too much to do.
        """
        answers.check(detector, options)
        self._check_room()
        with Upload(request, self.config, self._held) as upload:
            job = _Job(detector, await upload.read(), options, time.monotonic())
            with self._place():
                answer = await self._worked(request, job)
        self.metrics.faces.add(answer.faces, (detector.name,))
        return answer

    def close(self) -> None:
        """Finish what is in the queue and end the threads."""
        self._workers.shutdown()
        for batcher in self._batchers:
            batcher.close()

    def _check_room(self) -> None:
        if self._places >= self.config.places:
            raise busy(f"{self._places} pictures are waiting or worked on, which is the limit; try again later")

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        self._check_room()
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    async def _worked(self, request: Request, job: _Job) -> Answer:
        """What a worker answers; given up if the client goes before its turn comes."""
        loop = asyncio.get_running_loop()
        self._waiting += 1
        began = partial(loop.call_soon_threadsafe, self._begin)
        work = self._workers.submit(self._work, job, began)
        answer = asyncio.wrap_future(work)
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and work.cancel():
                self._begin()
                raise Refusal(CLIENT_GONE, "the client has gone")
            return await answer
        finally:
            gone.cancel()

    def _begin(self) -> None:
        self._waiting -= 1

    def _work(self, job: _Job, began: Callable[[], object]) -> Answer:
        began()
        waited = time.monotonic() - job.arrived
        if waited > self.config.timeout:
            raise busy(f"the picture waited for {waited:.0f} seconds and its turn had not come; try again later")
        with self._decoding:
            image = answers.read(job.data, self.config)
        return answers.answer(job.detector, image, job.options, self.config)


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
