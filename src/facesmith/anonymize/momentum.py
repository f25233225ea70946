"""Faces carried over frames in which the detector missed them, so that none shows for a moment."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from facesmith.anonymize.hiding import grown
from facesmith.errors import ConfigError
from facesmith.faces import Faces, IntArray

_SPEED_OVER = 4
"""A track's speed at its ends is the mean over this many sightings; from one to the next it is mostly noise."""


class Sightings(NamedTuple):
    """Tracked faces of a video, frame by frame.

    Attributes:
        frame: (n,) int64, rising.
        faces: n faces with track ids.
        carried: (n,) bool, where a face was not seen but is expected.
        source: (n,) int64, which of the faces that were seen each is or stems from.
    """

    frame: IntArray
    faces: Faces
    carried: "np.typing.NDArray[np.bool_]"
    source: IntArray


@dataclass(frozen=True)
class Momentum:
    """How long faces are expected where they are not seen.

    Attributes:
        frames: how many frames before a track's first sighting and after its last. Between two sightings it is
            always expected.
        growth: how much an expected box grows on every side with each frame away from a sighting, in shares of
            its size.

    Raises:
        ConfigError: a value is negative.
    """

    frames: int = 10
    growth: float = 0.03

    def __post_init__(self) -> None:
        if self.frames < 0 or not self.growth >= 0:
            raise ConfigError(f"momentum needs 0 or more frames and growth, not {self.frames} and {self.growth}")

    def filled(self, frame: IntArray, faces: Faces, frames: int) -> Sightings:
        """The ``faces`` seen in each ``frame`` (n,) of a video of ``frames``, and those expected besides.

        Faces without a track (-1) are left out. Between sightings boxes move evenly, at the ends of a track with its
        speed there.

        Raises:
            ValueError: ``faces`` are not tracked.
        """
        if faces.track_ids is None:
            raise ValueError("momentum needs faces with track ids")
        order = np.lexsort((frame, faces.track_ids))
        order = order[faces.track_ids[order] >= 0]
        frame, faces = frame[order], replace(faces, landmarks=None)[order]
        parts = [
            (frame, faces, np.arange(len(frame))),
            self._between(frame, faces),
            self._beyond(frame, faces, frames, forwards=True),
            self._beyond(frame, faces, frames, forwards=False),
        ]
        all_frames = np.concatenate([part[0] for part in parts])
        all_faces = Faces.concatenate([part[1] for part in parts])
        source = order[np.concatenate([part[2] for part in parts])]
        by_time = np.argsort(all_frames, kind="stable")
        return Sightings(all_frames[by_time], all_faces[by_time], by_time >= len(frame), source[by_time])

    def _between(self, frame: IntArray, faces: Faces) -> tuple[IntArray, Faces, IntArray]:
        """Frames and faces between successive sightings of a track, and the sighting before each."""
        assert faces.track_ids is not None
        missed = np.where(np.diff(faces.track_ids) == 0, np.diff(frame) - 1, 0)
        before, step = _steps(missed)
        length = missed[before] + 1
        share = (step / length).astype(np.float32)[:, None]
        boxes = (1 - share) * faces.boxes[before] + share * faces.boxes[before + 1]
        boxes = grown(boxes, self.growth * np.minimum(step, length - step))
        return frame[before] + step, replace(faces[before], boxes=boxes), before

    def _beyond(
        self, frame: IntArray, faces: Faces, frames: int, *, forwards: bool
    ) -> tuple[IntArray, Faces, IntArray]:
        """Frames and faces after the last sighting of each track, or before the first; and that sighting."""
        ids = faces.track_ids
        assert ids is not None
        if forwards:
            ends, inner = np.flatnonzero(np.diff(ids, append=-1)), -_SPEED_OVER
            room = frames - 1 - frame[ends]
        else:
            ends, inner = np.flatnonzero(np.diff(ids, prepend=-1)), _SPEED_OVER
            room = frame[ends]
        other = np.clip(ends + inner, np.searchsorted(ids, ids[ends]), np.searchsorted(ids, ids[ends], "right") - 1)
        moved = (faces.boxes[ends] - faces.boxes[other]).reshape(-1, 2, 2).mean(axis=1)  # of the centre
        speed = moved / np.maximum(abs(frame[ends] - frame[other]), 1)[:, None]  # a frame, away from the track
        track, step = _steps(np.minimum(room, self.frames))
        boxes = faces.boxes[ends[track]] + np.tile(speed[track] * step[:, None], 2).astype(np.float32)
        found = frame[ends[track]] + (step if forwards else -step)
        return found, replace(faces[ends[track]], boxes=grown(boxes, self.growth * step)), ends[track]


def _steps(counts: IntArray) -> tuple[IntArray, IntArray]:
    """For counts (2, 0, 3): whose (0, 0, 2, 2, 2), and the number within each (1, 2, 1, 2, 3)."""
    whose = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return whose, step
