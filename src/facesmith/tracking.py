"""Tracking: which face of this frame is which of the last, by ByteTrack on the boxes alone.

ByteTrack (Zhang et al., ECCV 2022, algorithm 1): faces of high score are matched to the tracks first; tracks left
over then take faces of low score, which on their own would be too doubtful, so that a face that turns away or is
half hidden keeps its number. Between frames every track moves on with the speed that it had (a Kalman filter).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from facesmith.errors import ConfigError
from facesmith.faces import Faces, IntArray
from facesmith.geometry import iou

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrackerConfig:
    """When a face is taken for one seen before.

    Attributes:
        high: lowest score that starts a track.
        low: lowest score that carries one on.
        min_iou: lowest overlap of a face of high score with where its track is expected.
        min_iou_low: the same for a face of low score.
        patience: frames for which a track that is not seen is kept.

    Raises:
        ConfigError: a value is out of range.
    """

    high: float = 0.5
    low: float = 0.1
    min_iou: float = 0.2
    min_iou_low: float = 0.5
    patience: float = 30

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"a tracker's scores need 0 <= low <= high <= 1, not {self.low} and {self.high}")
        if not (0 < self.min_iou <= 1 and 0 < self.min_iou_low <= 1):
            raise ConfigError(f"overlaps lie above 0, up to 1, not {self.min_iou} and {self.min_iou_low}")
        if self.patience < 0:
            raise ConfigError(f"patience is 0 frames or more, not {self.patience}")


class Tracker:
    """Gives the faces of successive frames their track numbers. One for each video; not for several threads.

    Args:
        config: when a face is taken for one seen before.
        first_id: number of the first track; the others follow.

    Attributes:
        next_id: number of the next new track.
    """

    def __init__(self, config: TrackerConfig | None = None, *, first_id: int = 1) -> None:
        self.config = TrackerConfig() if config is None else config
        self.next_id = first_id
        self._ids: IntArray = np.zeros(0, np.int64)
        self._unseen: Array = np.zeros(0)  # frames since each was seen
        self._motion = _Motion.of(np.zeros((0, 4)))

    def update(self, faces: Faces, *, elapsed: float = 1.0) -> Faces:
        """The ``faces`` of the next frame with ``track_ids``, in their order.

        Args:
            faces: those of one frame, down to ``config.low``; lower ones take no part.
            elapsed: frames since the last update; above 1 where frames are left out.

        Returns:
            ``faces`` with their track numbers, -1 where a face is too doubtful to be one: its score is below
            ``high`` and it lies on no track.

        Raises:
            ConfigError: ``elapsed`` is not positive.
        """
        if not elapsed > 0:
            raise ConfigError(f"elapsed must be above 0 frames, not {elapsed}")
        self._motion = self._motion.predicted(elapsed)
        recent = self._unseen == 0
        self._unseen = self._unseen + elapsed
        seen = self._matched(faces, recent)  # (n,) position of each face's track, -1 without

        found, tracks = np.flatnonzero(seen >= 0), seen[seen >= 0]
        self._motion = self._motion.corrected(tracks, _centred(faces.boxes[found]))
        self._unseen[tracks] = 0

        new = np.flatnonzero((seen < 0) & (faces.scores >= self.config.high))
        seen[new] = len(self._ids) + np.arange(len(new))
        self._ids = np.concatenate((self._ids, self.next_id + np.arange(len(new))))
        self._unseen = np.concatenate((self._unseen, np.zeros(len(new))))
        self._motion = self._motion.joined(_Motion.of(_centred(faces.boxes[new])))
        self.next_id += len(new)

        ids = np.append(self._ids, -1)[seen]
        kept = self._unseen <= self.config.patience
        self._ids, self._unseen, self._motion = self._ids[kept], self._unseen[kept], self._motion[kept]
        return replace(faces, track_ids=ids)

    def carried(self, faces: Faces, frames: float) -> Faces:
        """``faces`` where they are expected ``frames`` after the last update, while nobody looks; changes no track.

        Args:
            faces: what that update returned, or some of it.
            frames: how many frames later.

        Returns:
            Those of ``faces`` on a track, moved by its speed, landmarks with their box; without meshes, which do not
            follow from a box.

        Raises:
            ValueError: ``faces`` are not tracked, or one is on a track that is not (or no longer) there.
        """
        if faces.track_ids is None:
            raise ValueError("only tracked faces can be carried on; they have no track ids")
        faces = replace(faces, meshes=None)[faces.track_ids >= 0]
        assert faces.track_ids is not None
        if not np.isin(faces.track_ids, self._ids).all():
            raise ValueError(f"no such tracks: {sorted(set(faces.track_ids.tolist()) - set(self._ids.tolist()))}")
        old = _centred(faces.boxes)
        new = old + frames * self._motion.speed[np.searchsorted(self._ids, faces.track_ids)]  # ids rise
        new[:, 2:] = np.maximum(new[:, 2:], 1e-3)
        if faces.landmarks is not None:
            scale = new[:, None, 2:] / np.maximum(old[:, None, 2:], 1e-3)
            landmarks = (faces.landmarks - old[:, None, :2]) * scale + new[:, None, :2]
            faces = replace(faces, landmarks=landmarks.astype(np.float32))
        return replace(faces, boxes=_corners(new).astype(np.float32))

    def _matched(self, faces: Faces, recent: npt.NDArray[np.bool_]) -> IntArray:
        """(n,) position of the track of each face, -1 where it has none; the two stages of ByteTrack."""
        config = self.config
        overlaps = iou(faces.boxes, _corners(self._motion.mean))  # (n, t)
        high = faces.scores >= config.high
        low = ~high & (faces.scores >= config.low)
        seen = np.full(len(faces), -1, np.int64)
        free = np.ones(len(self._ids), bool)
        # a doubtful face carries on only what was there a frame ago: it is no reason to bring back a lost one
        for rows, columns, least in ((high, free, config.min_iou), (low, free & recent, config.min_iou_low)):
            columns = columns & free
            i, j = _assignment(overlaps[np.ix_(rows, columns)], least)
            i, j = np.flatnonzero(rows)[i], np.flatnonzero(columns)[j]
            seen[i] = j
            free[j] = False
        return seen


@dataclass(frozen=True)
class _Motion:
    """A Kalman filter of constant speed for each of cx, cy, w and h of each track.

    Noise is in proportion to the face's size, as in ByteTrack, but the same for all four, and nothing couples them.
    So the 8 x 8 covariance falls apart into four equal ones of 2 x 2, which need no matrix inverse, and in units of
    the face's size they do not even depend on it.

    Attributes:
        mean, speed: (t, 4) pixels, pixels a frame.
        p, q, r: (t, 1) variance of ``mean``, covariance of both, variance of ``speed``, in squares of the size.
    """

    mean: Array
    speed: Array
    p: Array
    q: Array
    r: Array

    # DeepSORT's and ByteTrack's deviations: 1/20 of a face's height for where it is, 1/160 for its speed
    POSITION = (1 / 20) ** 2
    SPEED = (1 / 160) ** 2

    @classmethod
    def of(cls, boxes: Array) -> "_Motion":
        """New tracks: where they are is known to 1/10 of the size, their speed hardly (1/16 a frame)."""
        ones = np.ones((len(boxes), 1))
        return cls(boxes, np.zeros_like(boxes), 4 * cls.POSITION * ones, 0 * ones, 100 * cls.SPEED * ones)

    def __getitem__(self, kept: npt.NDArray[np.bool_]) -> "_Motion":
        return _Motion(self.mean[kept], self.speed[kept], self.p[kept], self.q[kept], self.r[kept])

    def joined(self, other: "_Motion") -> "_Motion":
        """The tracks of both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Motion(*(np.concatenate(pair) for pair in pairs))

    def predicted(self, frames: float) -> "_Motion":
        """Where the tracks are ``frames`` later."""
        mean = self.mean + frames * self.speed
        mean[:, 2:] = np.maximum(mean[:, 2:], 1e-3)  # a face that shrinks does not turn inside out
        p = self.p + 2 * frames * self.q + frames**2 * self.r + frames * self.POSITION
        return _Motion(mean, self.speed, p, self.q + frames * self.r, self.r + frames * self.SPEED)

    def corrected(self, tracks: IntArray, boxes: Array) -> "_Motion":
        """The same after ``tracks`` (k,) were seen at ``boxes`` (k, 4)."""
        new = _Motion(*(column.copy() for column in vars(self).values()))
        p, q = self.p[tracks], self.q[tracks]
        error, total = boxes - self.mean[tracks], p + self.POSITION
        new.mean[tracks] += p / total * error
        new.speed[tracks] += q / total * error
        new.p[tracks] -= p * p / total
        new.q[tracks] -= p * q / total
        new.r[tracks] -= q * q / total
        return new


def _assignment(overlaps: npt.NDArray[np.float32], least: float) -> tuple[IntArray, IntArray]:
    """Rows and columns matched so that the sum of overlaps is greatest; none below ``least``."""
    gated = np.where(overlaps >= least, overlaps, 0)
    rows, columns = linear_sum_assignment(gated, maximize=True)
    good = gated[rows, columns] > 0
    return rows[good].astype(np.int64), columns[good].astype(np.int64)


def _centred(boxes: npt.NDArray[np.float32]) -> Array:
    """x1, y1, x2, y2 -> cx, cy, w, h."""
    corners = boxes.astype(np.float64)
    return np.concatenate(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), axis=1)


def _corners(boxes: Array) -> Array:
    """The inverse of :func:`_centred`."""
    return np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), axis=1)
