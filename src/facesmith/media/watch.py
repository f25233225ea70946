"""Watching a video or camera: its faces frame by frame, with track numbers."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.images import RGB
from facesmith.media.frames import Frame
from facesmith.runtime.ordered import ordered_map
from facesmith.tracking import Tracker


class Sight(NamedTuple):
    """What is known of one frame.

    Attributes:
        frame: the frame.
        faces: those on a track, with its number.
        looked: whether the detector saw this frame; if not, the faces are where their tracks expect them.
    """

    frame: Frame
    faces: Faces
    looked: bool


class Watcher:
    """Tracks the faces of one video or camera.

    Args:
        tracker: gives the numbers.
        every: look at each such frame and carry the faces over those between.

    Raises:
        ConfigError: ``every`` is below 1.
    """

    def __init__(self, tracker: Tracker, *, every: int = 1) -> None:
        if every < 1:
            raise ConfigError(f"every must be 1 frame or more, not {every}")
        self._tracker = tracker
        self._every = every
        self._next = 0  # frame to look at
        self._last, self._faces = -1, Faces.empty()  # the frame looked at last, and its faces

    def watch(self, detect: Callable[[RGB], Faces], frames: Iterable[Frame], *, workers: int) -> Generator[Sight]:
        """Each of ``frames``, in order, with its faces.

        Frames are read in one thread, looked at in ``workers`` others and tracked in the caller's, so that all overlap;
        ``2 * workers`` of them are held at a time.

        Args:
            detect: finds the faces of a frame, down to the lowest score that carries on a track.
            frames: of rising index; indices may be left out, as live cameras do when nobody has time to look.
            workers: threads that look.
        """

        def work(planned: tuple[Frame, bool]) -> tuple[Frame, Faces | None]:
            frame, look = planned
            return frame, rounded(detect(frame.image)) if look else None

        with contextlib.closing(ordered_map(work, self._planned(frames), workers=workers)) as results:
            for frame, found in results:
                yield self.sight(frame, found)

    def looks_at(self, index: int) -> bool:
        """Whether the detector is to see the frame that comes next, given its ``index``."""
        return index >= self._next

    def sight(self, frame: Frame, found: Faces | None) -> Sight:
        """Go on to ``frame``, with the faces ``found`` in it, or ``None`` where nobody looked."""
        if found is None:
            return Sight(frame, self._tracker.carried(self._faces, frame.index - self._last), False)
        tracked = self._tracker.update(found, elapsed=frame.index - self._last)
        assert tracked.track_ids is not None
        self._last, self._faces = frame.index, tracked[tracked.track_ids >= 0]
        self._next = frame.index + self._every
        return Sight(frame, self._faces, True)

    def _planned(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
        """Each frame, and whether to look at it."""
        due = self._next
        for frame in frames:
            look = frame.index >= due
            if look:
                due = frame.index + self._every
            yield frame, look


def rounded(faces: Faces) -> Faces:
    """``faces`` as :meth:`Faces.to_dicts` writes them, so that who goes on from a file goes on from the same."""
    landmarks = None if faces.landmarks is None else np.round(faces.landmarks, 2)
    return replace(faces, boxes=np.round(faces.boxes, 2), scores=np.round(faces.scores, 5), landmarks=landmarks)
