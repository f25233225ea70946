"""``Faces``: the one result of every detector, tracker, reader and evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from facesmith.errors import MissingExtraError
from facesmith.meshes import Meshes

if TYPE_CHECKING:
    import supervision

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class Landmark(IntEnum):
    """Order of the five landmarks. Left and right are those **in the image**, not the person's own."""

    LEFT_EYE = 0
    RIGHT_EYE = 1
    NOSE = 2
    LEFT_MOUTH = 3
    RIGHT_MOUTH = 4


LANDMARK_FLIP: tuple[int, ...] = (1, 0, 2, 4, 3)
"""Index order that restores image-left/image-right after a horizontal flip."""

FIVE_OF: dict[int, tuple[int, ...]] = {5: (0, 1, 2, 3, 4), 19: (7, 10, 13, 15, 17)}
"""Number of landmarks K -> where the five are among them.

19 are AFLW's 21 in their order without the ears: brows (0-5), left eye from the outer corner (6-8), right eye from
the inner corner (9-11), nose left, tip, right (12-14), mouth left, centre, right (15-17), chin (18).
"""

LANDMARK_FLIPS: dict[int, tuple[int, ...]] = {
    5: LANDMARK_FLIP,
    19: (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18),
}
"""Number of landmarks -> their order after a horizontal flip."""


@dataclass(frozen=True, eq=False)
class Faces:
    """n faces of one image, column by column; every column has length n.

    Pixels with the origin at the outer corner of the top-left pixel, x right, y down.

    Attributes:
        boxes: (n, 4) float32, x1, y1, x2, y2 with x2 = x1 + width.
        scores: (n,) float32; finite. 1 for ground truth.
        landmarks: (n, 5, 2) float32 in the order of :class:`Landmark`, NaN where a face has none;
            ``None`` where the source gives no landmarks at all.
        track_ids: (n,) int64, -1 where a face belongs to no track; ``None`` where nothing tracks.
        meshes: the n faces' 3D meshes; ``None`` where none were asked for.

    Raises:
        ValueError: a column has a wrong shape or length, or holds non-finite boxes or scores.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None = None
    track_ids: IntArray | None = None
    meshes: Meshes | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        boxes = _column(self.boxes, np.float32, (4,), "boxes")
        n = len(boxes)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", _column(self.scores, np.float32, (), "scores", n))
        if self.landmarks is not None:
            object.__setattr__(self, "landmarks", _column(self.landmarks, np.float32, (5, 2), "landmarks", n))
        if self.track_ids is not None:
            object.__setattr__(self, "track_ids", _column(self.track_ids, np.int64, (), "track_ids", n))
        if self.meshes is not None and len(self.meshes) != n:
            raise ValueError(f"Faces.meshes must be {n}, one for each face, not {len(self.meshes)}")
        for name in ("boxes", "scores"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"Faces.{name} holds NaN or infinity; every face needs a finite one")

    @classmethod
    def empty(cls, *, landmarks: bool = True) -> Self:
        """No faces."""
        points = np.zeros((0, 5, 2), np.float32) if landmarks else None
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), points)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[Any]) -> Self:
        """Faces at ``index`` (an integer gives a ``Faces`` of length one); masks, slices and index arrays work."""
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"face {index} of {len(self)}")
            index = [int(index)]
        return replace(self, **{name: column[index] for name, column in self._columns().items()})

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}={getattr(column, 'shape', column)}" for name, column in self._columns().items())
        return f"Faces(n={len(self)}, {columns})"

    @property
    def widths(self) -> FloatArray:
        """(n,) box widths in pixels."""
        return self.boxes[:, 2] - self.boxes[:, 0]

    @property
    def heights(self) -> FloatArray:
        """(n,) box heights in pixels."""
        return self.boxes[:, 3] - self.boxes[:, 1]

    def above(self, threshold: float) -> Self:
        """The faces whose score is at least ``threshold``."""
        return self[self.scores >= threshold]

    def mapped(self, scale: tuple[float, float], offset: tuple[float, float] = (0.0, 0.0)) -> Self:
        """Boxes, landmarks and meshes after ``x * scale_x + offset_x``, ``y * scale_y + offset_y``."""
        s, o = np.asarray(scale, np.float32), np.asarray(offset, np.float32)
        boxes = (self.boxes.reshape(-1, 2, 2) * s + o).reshape(-1, 4)
        return replace(
            self,
            boxes=boxes,
            landmarks=None if self.landmarks is None else self.landmarks * s + o,
            meshes=None if self.meshes is None else self.meshes.mapped(scale, offset),
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """One JSON-ready dictionary a face: ``box``, ``score`` and, where present, ``landmarks``, ``track_id`` and, of
        meshes, ``pose`` (yaw, pitch, roll in degrees) and ``landmarks68`` (68 x, y, z)."""
        rows: list[dict[str, Any]] = []
        for i in range(len(self)):
            row: dict[str, Any] = {
                "box": [round(float(v), 2) for v in self.boxes[i]],
                "score": round(float(self.scores[i]), 5),
            }
            if self.landmarks is not None and np.isfinite(self.landmarks[i]).all():
                row["landmarks"] = [[round(float(v), 2) for v in point] for point in self.landmarks[i]]
            if self.track_ids is not None:
                row["track_id"] = int(self.track_ids[i])
            if self.meshes is not None:
                row["pose"] = [round(float(v), 1) for v in self.meshes.pose[i]]
                row["landmarks68"] = [[round(float(v), 2) for v in point] for point in self.meshes.landmarks68[i]]
            rows.append(row)
        return rows

    @classmethod
    def from_dicts(cls, rows: Sequence[dict[str, Any]]) -> Self:
        """The inverse of :meth:`to_dicts`, without meshes: what it wrote of them is passed over."""
        n = len(rows)
        landmarks = np.full((n, 5, 2), np.nan, np.float32)
        for i, row in enumerate(rows):
            if row.get("landmarks") is not None:
                landmarks[i] = row["landmarks"]
        tracked = any("track_id" in row for row in rows)
        return cls(
            np.array([row["box"] for row in rows], np.float32).reshape(n, 4),
            np.array([row["score"] for row in rows], np.float32),
            landmarks if any(row.get("landmarks") is not None for row in rows) or n == 0 else None,
            np.array([row.get("track_id", -1) for row in rows], np.int64) if tracked else None,
        )

    def to_supervision(self) -> "supervision.Detections":
        """These faces as ``supervision.Detections``, for its annotators, trackers and zones.

        ``xyxy`` are the boxes in pixels, ``confidence`` the scores, ``class_id`` 0 with the class name ``face``,
        ``tracker_id`` the track ids; ``data["landmarks"]`` (n, 5, 2) in pixels, in the order of :class:`Landmark`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingExtraError("Detections need supervision: pip install 'facesmith[supervision]'") from error
        data: dict[str, Any] = {"class_name": np.full(len(self), "face")}
        if self.landmarks is not None:
            data["landmarks"] = self.landmarks
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=np.zeros(len(self), int),
            tracker_id=self.track_ids,
            data=data,
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Faces"]) -> Self:
        """All faces of ``parts``; a column stays only if every part has it."""
        if not parts:
            return cls.empty()
        columns: dict[str, Any] = {}
        for one in fields(cls):
            values = [getattr(part, one.name) for part in parts]
            if all(v is not None for v in values):
                columns[one.name] = (Meshes if one.name == "meshes" else np).concatenate(values)
        return cls(**columns)

    def _columns(self) -> dict[str, Any]:
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: column for name, column in columns.items() if column is not None}


def _column(
    value: Any, dtype: type[np.generic], tail: tuple[int, ...], name: str, n: int | None = None
) -> npt.NDArray[Any]:
    array = np.ascontiguousarray(value, dtype=dtype)
    if array.size == 0 and array.ndim <= 1:
        array = array.reshape(0, *tail)
    if array.ndim != 1 + len(tail) or array.shape[1:] != tail or (n is not None and len(array) != n):
        wanted = ("n" if n is None else str(n), *map(str, tail))
        raise ValueError(f"Faces.{name} must have shape ({', '.join(wanted)}), not {array.shape}")
    return array
