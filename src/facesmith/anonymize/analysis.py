"""Analysing: from a picture or video to its plan."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePath
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from facesmith import images
from facesmith.anonymize.momentum import Momentum
from facesmith.anonymize.plan import Plan
from facesmith.faces import Faces
from facesmith.runtime import Detector
from facesmith.tracking import Tracker, TrackerConfig

THRESHOLD = 0.3
"""Lowest score of a face to hide: below the everyday 0.5, because a face shown is worse than a lamp hidden."""

_LOW = 0.1  # of a face where a track was a frame ago

Item = TypeVar("Item")
Value = TypeVar("Value")


class Analyst:
    """Finds the faces of pictures and videos; track numbers go on from video to video.

    Args:
        detector: finds the faces; its ``threads`` frames are looked at side by side.
        size: at which size the network sees a picture; see :class:`facesmith.SizeRule`.
        threshold: lowest score of a face; in videos down to 0.1 where one was seen a frame ago.
        momentum: how long faces are expected where they are not seen.

    Raises:
        ConfigError: ``size`` or ``threshold`` is out of range.
    """

    def __init__(
        self, detector: Detector, *, size: str = "auto", threshold: float = THRESHOLD, momentum: Momentum | None = None
    ) -> None:
        detector.detect([], size=size, threshold=threshold)  # wrong settings fail at once
        self._detector = detector
        self._size = size
        self._tracking = TrackerConfig(high=threshold, low=min(_LOW, threshold))
        self._momentum = Momentum() if momentum is None else momentum
        self._next_id = 1

    def picture(self, path: str, name: PurePath) -> Plan:
        """The plan of a picture; several threads may ask at once.

        Raises:
            ImageError: it cannot be read.
        """
        image = images.read(path)
        faces = self._detector.detect(image, size=self._size, threshold=self._tracking.high)
        faces = replace(faces, landmarks=None, track_ids=np.full(len(faces), -1))
        none = np.zeros(len(faces), bool)
        return Plan(path, name, image.shape[1], image.shape[0], None, none.astype(np.int64), faces, none, none)

    def video(self, path: str, name: PurePath) -> Plan:
        """The plan of a video: every frame looked at, faces tracked, and expected where they are missed.

        Raises:
            ImageError: it cannot be read.
            MissingExtraError: PyAV is not installed.
        """
        from facesmith.media.video import Frame, VideoReader

        def work(frame: Frame) -> tuple[float, Faces]:
            return frame.time, self._detector.detect(frame.image, size=self._size, threshold=self._tracking.low)

        tracker = Tracker(self._tracking, first_id=self._next_id)
        times: list[float] = []
        seen: list[Faces] = []
        with VideoReader(path) as reader:
            found = _side_by_side(work, reader, workers=self._detector.threads)
            total = reader.expected_frames or None
            hidden = not sys.stderr.isatty()
            for time, faces in tqdm(found, path, total, leave=False, disable=hidden, unit="frame"):
                tracked = tracker.update(faces)  # by frames, not seconds: the rate that a file tells may be wrong
                assert tracked.track_ids is not None
                seen.append(replace(tracked, landmarks=None)[tracked.track_ids >= 0])
                times.append(time)
            video = reader.format
        self._next_id = tracker.next_id
        frame = np.repeat(np.arange(len(seen)), [len(faces) for faces in seen])
        sightings = self._momentum.filled(frame, Faces.concatenate(seen), len(times))
        none = np.zeros(len(sightings.faces), bool)
        return Plan(path, name, video.width, video.height, tuple(times), *sightings[:2], none, sightings.carried)


def _side_by_side(work: Callable[[Item], Value], items: Iterable[Item], *, workers: int) -> Iterator[Value]:
    """``work`` of each item, in order; ``items`` are taken in this thread, as a decoder wants it."""
    with ThreadPoolExecutor(workers, thread_name_prefix="facesmith") as pool:
        waiting: deque[Future[Value]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
