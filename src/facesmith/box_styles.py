"""What a data set calls a face's box, as a transform of the square that the five landmarks imply.

Every set of labels frames faces in its own way: WIDER FACE's boxes are tall, FDDB's ellipses taller still. A
:class:`BoxStyle` says how, so that landmarks alone give boxes in any of them (KPNet, section 3: "no matter how
we define it"). `facesmith box-style` fits the constants here, and those of any other labels.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from facesmith import files
from facesmith.errors import ConfigError, LabelError
from facesmith.faces import Faces
from facesmith.geometry import box_from_landmarks

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BoxStyle:
    """Moves and scales the square of :func:`facesmith.geometry.box_from_landmarks`.

    Attributes:
        dx, dy: from the square's centre to the box's, in shares of the square's side; y points down.
        sx, sy: the box's width and height, in shares of the square's side.

    Raises:
        ValueError: a number is not finite, or ``sx`` or ``sy`` is not positive.
    """

    dx: float
    dy: float
    sx: float
    sy: float

    def __post_init__(self) -> None:
        finite = np.isfinite([self.dx, self.dy, self.sx, self.sy]).all()
        if not finite or self.sx <= 0 or self.sy <= 0:
            raise ValueError(f"a box style has finite numbers, sx and sy above 0; not {self}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """A style as it is written on the command line: one of :data:`STYLES`, a name that `facesmith box-style`
        keeps (:func:`keep`), or the ``dx,dy,sx,sy`` that it prints.

        Raises:
            ConfigError: ``text`` is none of them, or the file of kept styles is damaged.
        """
        styles = {**kept(), **STYLES}
        if text in styles:
            return cls(*astuple(styles[text]))
        if text in TO_FIT:
            raise ConfigError(
                f"box style {text} is not fitted here yet: run `facesmith box-style {text} LABELS --images DIR` once"
            )
        try:
            return cls(*(float(number) for number in text.split(",")))
        except (TypeError, ValueError):
            known = ", ".join((*styles, *(name for name in TO_FIT if name not in styles)))
            raise ConfigError(
                f"no such box style: {text!r}; write {known}, or dx,dy,sx,sy as `facesmith box-style` prints them"
            ) from None

    def boxes(self, landmarks: npt.ArrayLike) -> FloatArray:
        """Boxes (n, 4) float32 x1, y1, x2, y2 around (n, 5, 2) ``landmarks``, in the landmarks' pixels.

        NaN where landmarks are NaN or coincide.
        """
        square = box_from_landmarks(landmarks)
        centre, side = (square[:, :2] + square[:, 2:]) / 2, square[:, 2:] - square[:, :2]
        centre, half = centre + side * np.array([self.dx, self.dy]), side * np.array([self.sx, self.sy]) / 2
        return np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)

    def restyled(self, faces: Faces) -> Faces:
        """``faces`` with the boxes that their landmarks imply; landmarks that coincide imply none, so such a face
        keeps its box.

        Raises:
            ConfigError: a face has no landmarks.
        """
        if not len(faces):
            return faces
        if faces.landmarks is None or not np.isfinite(faces.landmarks).all():
            raise ConfigError("a box style makes boxes from landmarks, but this detector gives faces without them")
        boxes = self.boxes(faces.landmarks)
        return replace(faces, boxes=np.where(np.isfinite(boxes), boxes, faces.boxes))

    def __str__(self) -> str:
        return f"dx {self.dx:g}, dy {self.dy:g}, sx {self.sx:g}, sy {self.sy:g}"


def offsets(boxes: npt.ArrayLike, landmarks: npt.ArrayLike) -> FloatArray:
    """(n, 4) float32: each face's own dx, dy, sx, sy; see :class:`BoxStyle`.

    Args:
        boxes: (n, 4), as labelled.
        landmarks: (n, 5, 2).

    Returns:
        NaN where landmarks are NaN or coincide.
    """
    labelled, square = np.asarray(boxes, np.float32).reshape(-1, 4), box_from_landmarks(landmarks)
    side = square[:, 2:] - square[:, :2]
    shift = ((labelled[:, :2] + labelled[:, 2:]) - (square[:, :2] + square[:, 2:])) / 2 / side
    scale = (labelled[:, 2:] - labelled[:, :2]) / side
    return np.concatenate((shift, scale), axis=1)


def fit(boxes: npt.ArrayLike, landmarks: npt.ArrayLike) -> BoxStyle:
    """The style of labelled ``boxes`` (n, 4) around faces with ``landmarks`` (n, 5, 2): medians of
    :func:`offsets` over the faces whose landmarks are known.

    Raises:
        LabelError: no face has landmarks, or the boxes have no area.
    """
    rows = offsets(boxes, landmarks)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise LabelError("a box style is fitted to faces with a box and five landmarks; there is none")
    dx, dy, sx, sy = np.median(rows, axis=0).tolist()
    if sx <= 0 or sy <= 0:
        raise LabelError("a box style is fitted to boxes with an area; most of these have none")
    return BoxStyle(dx, dy, sx, sy)


SQUARE = BoxStyle(0.0, 0.0, 1.0, 1.0)
"""The landmarks' own square."""

WIDER = BoxStyle(0.0, -0.115, 1.177, 1.496)
"""WIDER FACE: medians over 11,108 labelled faces of its training set (dx by symmetry)."""

FDDB = BoxStyle(0.0, -0.263, 1.182, 1.775)
"""FDDB: the rectangles that overlap its ellipses most; medians over 621 faces of 350 images, whose landmarks are
those of retinaface-mobilenet0.25 (dx by symmetry)."""

STYLES: Mapping[str, BoxStyle] = {"square": SQUARE, "wider": WIDER, "fddb": FDDB}
"""By the names that the command line takes."""

TO_FIT = ("afw", "pascal", "malf")
"""Names without constants, since their pictures were not at hand: `facesmith box-style` fits and keeps them."""


def kept() -> dict[str, BoxStyle]:
    """The styles that :func:`keep` kept for this user.

    Raises:
        ConfigError: their file is damaged.
    """
    path = kept_file()
    try:
        return {name: BoxStyle(*numbers) for name, numbers in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be read as kept box styles; correct or delete it: {error}") from error


def keep(name: str, style: BoxStyle) -> Path:
    """Keep ``style`` under ``name`` for :meth:`BoxStyle.parse`; the file that now has it.

    Raises:
        ConfigError: the name is one of :data:`STYLES`, or could be taken for numbers.
    """
    if name in STYLES or not name.isidentifier():
        raise ConfigError(
            f"a box style cannot be kept as {name!r}; choose letters, digits and _, and none of {', '.join(STYLES)}"
        )
    path = kept_file()
    everything = {**kept(), name: style}
    files.write_text(path, json.dumps({key: astuple(value) for key, value in everything.items()}, indent=1) + "\n")
    return path


def kept_file() -> Path:
    """Where this user's own styles lie: ``facesmith/box_styles.json`` in the folder for settings."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA") or Path.home() / ".config"
    return Path(folder) / "facesmith" / "box_styles.json"
