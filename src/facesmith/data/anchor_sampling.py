"""Data-anchor-sampling (Tang et al. 2018, PyramidBox, section 3.3), as BFBox trains.

A random face of the image is brought near the side of a random anchor, at most one anchor larger than its own. So large
faces become small ones, of which there are never enough, and hardly ever the other way round.

What the paper leaves out follows public ports (facts/bfbox).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ANCHORS = (16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Sides of BFBox's anchors, pixels."""

SQUARES = (0.3, 0.45, 0.6, 0.8, 1.0)
"""Sides of the squares that are cut where no window is found, as shares of the image's short side."""

_TRIES = 50
_LEAST_IOU = 0.7


class Window(NamedTuple):
    """A square window: ``corner`` (2,) float64, x and y of its top-left corner in pixels of the image scaled by
    ``scale``."""

    scale: float
    corner: npt.NDArray[np.float64]


def anchor_window(
    boxes: npt.NDArray[np.float32],
    extent: tuple[int, int],
    side: int,
    rng: np.random.Generator,
    anchors: tuple[float, ...] = ANCHORS,
) -> Window:
    """A window of ``side`` pixels around a random face.

    The face of side s = √(w·h) is nearest to anchor i; the wanted side is that of an anchor drawn from 0 … i + 1, times
    2^U(−1, 1). Of 50 windows around the face that lie on the picture, as far as it is large enough, the first one is
    taken that holds a whole face or has an IoU over .7 with one. Where there is none (the face is larger than the
    window), and in pictures without faces, it is a random square of the picture.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 of the faces to choose from, pixels; n may be 0.
        extent: width and height of the image.
        side: of the window.
        rng: source of all randomness.
        anchors: sides, rising.
    """
    if len(boxes):
        face = boxes[rng.integers(len(boxes))].astype(np.float64)
        size = np.sqrt((face[2] - face[0]) * (face[3] - face[1]))
        nearest = int(np.abs(np.array(anchors) - size).argmin())
        target = anchors[rng.integers(min(nearest + 1, len(anchors) - 1) + 1)]
        scale = float(target / size * 2 ** rng.uniform(-1, 1))
        corners = _around(face * scale, np.array(extent) * scale, side, rng)
        good = _useful(corners, boxes.astype(np.float64) * scale, side)
        if good.any():
            return Window(scale, corners[good.argmax()])
    length = rng.choice(SQUARES) * min(extent)
    corner = rng.uniform(0, 1, 2) * (np.array(extent) - length)
    return Window(float(side / length), corner * (side / length))


def _around(
    face: npt.NDArray[np.float64], extent: npt.NDArray[np.float64], side: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(50, 2) corners of windows that hold ``face`` (or lie within it where it is larger), on the picture if they
    fit."""
    ends = np.stack((face[:2], face[2:] - side))
    corners = rng.uniform(ends.min(axis=0), ends.max(axis=0), (_TRIES, 2))
    room = extent - side
    return np.clip(corners, np.minimum(room, 0), np.maximum(room, 0))


def _useful(corners: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.bool_]:
    """(k,) bool: the window at each corner (k, 2) holds a box (n, 4) whole, or has an IoU over .7 with one."""
    low = np.maximum(corners[:, None], boxes[None, :, :2])
    high = np.minimum(corners[:, None] + side, boxes[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    whole = ((corners[:, None] <= boxes[None, :, :2]) & (corners[:, None] + side >= boxes[None, :, 2:])).all(axis=2)
    useful: npt.NDArray[np.bool_] = (whole | (shared > _LEAST_IOU * (areas + side**2 - shared))).any(axis=1)
    return useful
