"""What every label format is read into and written from: :class:`LabelledImage` and :class:`LabelSet`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.box_styles import WIDER
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF

FloatArray = npt.NDArray[np.float32]
Size = tuple[int, int]


class LabelledImage(NamedTuple):
    """One image's labels, in pixels of the upright picture, origin at the outer corner of its top-left pixel.

    ``path`` is relative to the folder of pictures, with forward slashes; ``boxes`` (n, 4) float32 x1, y1, x2, y2,
    which may stick out of the picture; ``landmarks`` (n, K, 2) float32, all NaN where a face has none, K 5 or 19 and
    the same in all of a file; ``ignored`` (n,) bool, faces that are neither learnt nor punished.
    """

    path: str
    boxes: FloatArray
    landmarks: FloatArray
    ignored: npt.NDArray[np.bool_]

    @property
    def has_landmarks(self) -> npt.NDArray[np.bool_]:
        """(n,) which faces have landmarks."""
        return np.asarray(np.isfinite(self.landmarks).all(axis=(1, 2)))


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels of one origin.

    Attributes:
        name: of the label file without suffix, or of the folder.
        root: the folder that the images' paths start from.
        images: every labelled image once; one without faces is a background.
        sizes: path -> width and height as the label file states them.
    """

    name: str
    root: Path
    images: list[LabelledImage]
    sizes: Mapping[str, Size] = field(default_factory=dict)

    def size(self, path: str) -> Size:
        """Width and height of an image: as stated, else of the upright picture.

        Raises:
            ImageError: the size is not stated and the picture cannot be read.
        """
        return self.sizes.get(path) or images.size(self.root / path)

    @property
    def points(self) -> int:
        """K, the number of landmarks a face."""
        return self.images[0].landmarks.shape[1] if self.images else 5


class Face(NamedTuple):
    """A face as a file has it.

    Attributes:
        box: x1, y1, x2, y2; ``None`` where it shall be inferred from the landmarks.
        points: (K, 2) landmarks; ``None`` where there are none. If one is NaN, the face counts as having none: a loss
            needs them all.
        ignored: see :class:`LabelledImage`.
    """

    box: npt.ArrayLike | None
    points: npt.ArrayLike | None = None
    ignored: bool = False


def labelled_images(path: str | Path, faces: Mapping[str, Sequence[Face]]) -> list[LabelledImage]:
    """Image path -> its faces, as arrays.

    Boxes without area are dropped (WIDER FACE has a few). A face without box gets it from its landmarks, in WIDER
    FACE's style.

    Args:
        path: the file they come from, for messages.

    Raises:
        LabelError: faces differ in their number of landmarks.
    """
    counts = {len(np.asarray(face.points)) for rows in faces.values() for face in rows if face.points is not None}
    if len(counts) > 1 or not counts <= set(FIVE_OF):
        listed = " and ".join(map(str, sorted(counts)))
        raise LabelError(f"{path}: faces with {listed} landmarks; a file has one number of them, 5 or 19")
    points = next(iter(counts), 5)
    return [_labelled(name, rows, points) for name, rows in faces.items()]


def _labelled(name: str, faces: Sequence[Face], count: int) -> LabelledImage:
    boxes = np.full((len(faces), 4), np.nan, np.float32)
    points = np.full((len(faces), count, 2), np.nan, np.float32)
    for i, face in enumerate(faces):
        if face.box is not None:
            boxes[i] = face.box
        if face.points is not None:
            points[i] = face.points
    points[np.isnan(points).any(axis=(1, 2))] = np.nan
    boxless = np.isnan(boxes).any(axis=1) & np.isfinite(points).all(axis=(1, 2))
    if boxless.any():
        boxes[boxless] = WIDER.boxes(points[boxless][:, FIVE_OF[count]])
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    ignored = np.array([face.ignored for face in faces], np.bool_)
    return LabelledImage(name, boxes[real], points[real], ignored[real])
