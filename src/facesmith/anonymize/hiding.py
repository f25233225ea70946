"""Faces in a picture made unrecognisable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.anonymize.outlines import scaled
from facesmith.errors import ConfigError
from facesmith.faces import FloatArray
from facesmith.images import RGB

Method = Literal["blur", "pixelate", "box", "mask"]

CELLS = 6
"""What is left of a face, whatever its size: a mosaic with this many cells along its longer side, in which people
hardly recognise anybody. Networks may do better: only a box or mask leaves nothing."""


@dataclass(frozen=True)
class Hiding:
    """How faces are hidden.

    Attributes:
        method: ``blur`` smears an ellipse, ``pixelate`` makes a mosaic, ``box`` paints a black rectangle, ``mask`` all
            within the face's outline black.
        margin: how far it reaches beyond the face's box or outline on each side, in shares of its size. With the usual
            0.2 the ellipse passes through the box's corners, and the mask covers all 51 landmarks of brows, eyes, nose
            and mouth and 97% of the 17 along the jaw (100 video frames; with 0.1: 99.9% and 69%).

    Raises:
        ConfigError: ``margin`` is not in 0 to 2.
    """

    method: Method = "blur"
    margin: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 2:
            raise ConfigError(f"the margin must lie between 0 and 2, not {self.margin}")

    def hide(self, image: RGB, boxes: npt.ArrayLike, outlines: Sequence[FloatArray] | None = None) -> RGB:
        """A copy of ``image`` with faces hidden; parts of them that lie outside are ignored.

        Args:
            image: (H, W, 3).
            boxes: (n, 4), where the faces are.
            outlines: for ``mask``: of each of the n faces (k, 2) points of its outline. Where there are less than 3,
                the mask is the ellipse that ``blur`` smears.

        Raises:
            ConfigError: ``mask`` needs outlines.
        """
        canvas = image.copy()
        faces = np.asarray(boxes, np.float32).reshape(-1, 4)
        if self.method == "mask":
            if outlines is None and len(faces):
                raise ConfigError("a mask needs the faces' outlines, which only a model with meshes gives")
            for face, outline in zip(faces, outlines or (), strict=True):
                self._mask_one(canvas, face, outline)
            return canvas
        for face, area in zip(faces, grown(faces, self.margin), strict=True):
            self._hide_one(canvas, face, area)
        return canvas

    def _mask_one(self, canvas: RGB, face: FloatArray, outline: FloatArray) -> None:
        if len(outline) >= 3:
            curve = scaled(outline, self.margin)
        else:
            area = grown(face[None], self.margin)[0]
            angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            circle = np.stack((np.cos(angle), np.sin(angle)), axis=1)
            curve = (area[:2] + area[2:]) / 2 + circle * (area[2:] - area[:2]) / 2
        near = np.clip(curve, -1e5, 1e5)  # OpenCV's fixed-point positions overflow far outside
        fixed = np.round((near - 0.5) * 16).astype(np.int32)  # it counts from a pixel's centre
        cv2.fillPoly(canvas, [fixed], (0, 0, 0), cv2.LINE_8, 4)

    def _hide_one(self, canvas: RGB, face: FloatArray, area: FloatArray) -> None:
        limits = np.tile(canvas.shape[1::-1], 2)
        whole = np.concatenate((np.floor(area[:2]), np.ceil(area[2:])))
        x1, y1, x2, y2 = np.clip(whole, 0, limits).astype(int).tolist()
        if x1 >= x2 or y1 >= y2:
            return
        part = canvas[y1:y2, x1:x2]
        if self.method == "box":
            part[:] = 0
            return
        cell = max(1.0, float((face[2:] - face[:2]).max()) / CELLS)
        cover = _mosaic(part, cell, smooth=self.method == "blur")
        if self.method == "pixelate":
            part[:] = cover
            return
        x, y = np.arange(x1, x2) + 0.5, np.arange(y1, y2)[:, None] + 0.5
        centre, radius = (area[:2] + area[2:]) / 2, (area[2:] - area[:2]) / 2
        inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 <= 1
        part[inside] = cover[inside]


def grown(boxes: FloatArray, shares: npt.ArrayLike) -> FloatArray:
    """``boxes`` (n, 4) with ``shares`` (one number or (n,)) of their width and height added on every side."""
    more = (boxes[:, 2:] - boxes[:, :2]) * np.reshape(np.asarray(shares, np.float32), (-1, 1))
    return np.concatenate((boxes[:, :2] - more, boxes[:, 2:] + more), axis=1)


def _mosaic(part: RGB, cell: float, *, smooth: bool) -> RGB:
    """``part`` in means over cells of about ``cell`` pixels; ``smooth`` blurs them by a cell and fades between them.

    Blurring the few cells costs nothing, and leaves what a Gaussian of that width leaves of the picture.
    """
    height, width = part.shape[:2]
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    small: Any = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    if smooth:
        small = cv2.GaussianBlur(small, (0, 0), 0.8)
    cover: Any = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST)
    pixels: RGB = cover
    return pixels
