"""Analysing: from a picture or video to its plan."""

import contextlib
import sys
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import PurePath

import numpy as np
from tqdm import tqdm

from facesmith import images
from facesmith.anonymize import outlines
from facesmith.anonymize.momentum import Momentum
from facesmith.anonymize.plan import Plan
from facesmith.faces import Faces, FloatArray
from facesmith.images import RGB
from facesmith.media.frames import Frame
from facesmith.media.watch import Sight, Watcher
from facesmith.runtime import Detector
from facesmith.tracking import Tracker, TrackerConfig

THRESHOLD = 0.3
"""Lowest score of a face to hide: below the everyday 0.5, because a face shown is worse than a lamp hidden."""

_LOW = 0.1  # of a face where a track was a frame ago


class Analyst:
    """Finds the faces of pictures and videos; track numbers go on from video to video.

    Args:
        detector: finds the faces; its ``threads`` frames are looked at side by side.
        size: at which size the network sees a picture; see :class:`facesmith.SizeRule`.
        threshold: lowest score of a face; in videos down to 0.1 where one was seen a frame ago.
        momentum: how long faces are expected where they are not seen.
        masks: plan the faces' outlines as well; needs a detector with meshes.

    Raises:
        ConfigError: ``size`` or ``threshold`` is out of range, or the detector has no meshes to give.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        size: str = "auto",
        threshold: float = THRESHOLD,
        momentum: Momentum | None = None,
        masks: bool = False,
    ) -> None:
        detector.detect([], size=size, threshold=threshold, meshes=masks)  # wrong settings fail at once
        self._detector = detector
        self._size = size
        self._tracking = TrackerConfig(high=threshold, low=min(_LOW, threshold))
        self._momentum = Momentum() if momentum is None else momentum
        self._masks = masks
        self._next_id = 1

    def picture(self, path: str, name: PurePath) -> Plan:
        """The plan of a picture; several threads may ask at once.

        Raises:
            ImageError: it cannot be read.
        """
        image = images.read(path)
        faces = self._detect(image, self._tracking.high)
        curves = self._outlines_of(faces)
        faces = replace(faces, landmarks=None, meshes=None, track_ids=np.full(len(faces), -1))
        none = np.zeros(len(faces), bool)
        size = image.shape[1], image.shape[0]
        return Plan(path, name, *size, None, none.astype(np.int64), faces, none, none, self._kept(curves))

    def video(self, path: str, name: PurePath) -> Plan:
        """The plan of a video: every frame looked at, faces tracked, and expected where they are missed.

        Raises:
            VideoError: it cannot be read.
            MissingExtraError: PyAV is not installed.
        """
        from facesmith.media.video import VideoReader

        tracker = Tracker(self._tracking, first_id=self._next_id)
        times: list[float] = []
        seen: list[Faces] = []
        curves: list[FloatArray] = []
        with VideoReader(path) as reader, contextlib.closing(self._watched(reader, tracker)) as sights:
            total = reader.expected_frames or None
            hidden = not sys.stderr.isatty()
            for sight in tqdm(sights, path, total, leave=False, disable=hidden, unit="frame"):
                curves.append(self._outlines_of(sight.faces))
                seen.append(replace(sight.faces, landmarks=None, meshes=None))
                times.append(sight.frame.time)
            video = reader.format
        self._next_id = tracker.next_id
        frame = np.repeat(np.arange(len(seen)), [len(faces) for faces in seen])
        known = Faces.concatenate(seen)
        filled = self._momentum.filled(frame, known, len(times))
        none = np.zeros(len(filled.faces), bool)
        curve = outlines.moved(np.concatenate(curves)[filled.source], known.boxes[filled.source], filled.faces.boxes)
        return Plan(
            path,
            name,
            video.width,
            video.height,
            tuple(times),
            filled.frame,
            filled.faces,
            none,
            filled.carried,
            self._kept(curve),
        )

    def _kept(self, curves: FloatArray) -> tuple[FloatArray, ...] | None:
        return tuple(curves) if self._masks else None

    def _watched(self, frames: Iterable[Frame], tracker: Tracker) -> Generator[Sight]:
        # by frames, not seconds: the rate that a file tells may be wrong
        return Watcher(tracker).watch(
            lambda image: self._detect(image, self._tracking.low), frames, workers=self._detector.threads
        )

    def _detect(self, image: RGB, threshold: float) -> Faces:
        return self._detector.detect(image, size=self._size, threshold=threshold, meshes=self._masks)

    def _outlines_of(self, faces: Faces) -> FloatArray:
        """(n, 64, 2); without points where nobody asked for outlines."""
        if faces.meshes is None:
            return np.zeros((len(faces), 0, 2), np.float32)
        return outlines.outlines(faces.meshes.vertices)
