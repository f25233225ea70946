"""Face meshes drawn into a picture as shaded, see-through masks (RetinaFace, figure 6: "masks drawn in blue")."""

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.errors import ImageError
from facesmith.media.drawing import Colour

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]

MESH_COLOUR: Colour = (72, 140, 255)

_PIXELS = 1 << 20
"""Pixels that are mixed at a time; bounds the memory that a huge face takes."""

_SHIFT = 4  # OpenCV takes positions in 1/16 pixel
_FARTHEST = 1e7  # pixels; beyond this they would not fit


def draw_meshes(
    image: npt.NDArray[np.uint8],
    vertices: FloatArray,
    triangles: IntArray,
    *,
    colour: Colour = MESH_COLOUR,
    opacity: float = 0.65,
) -> npt.NDArray[np.uint8]:
    """Lay K meshes over a copy of ``image``; later faces lie on top.

    Each triangle has one brightness, by how much it faces the viewer, so that the relief shows. Hidden parts are
    hidden; what lies outside of the picture is cut off.

    Args:
        image: any array that :func:`facesmith.images.read` takes.
        vertices: (K, n, 3): x, y in pixels, z towards the viewer in any unit.
        triangles: (f, 3) vertex numbers.
        colour: RGB of a triangle that faces the viewer.
        opacity: 0 (nothing is seen) … 1 (nothing is seen through).

    Returns:
        (H, W, 3) uint8, RGB; never ``image`` itself.

    Raises:
        ImageError: ``image`` is not usable as one, or arrays have the wrong shape.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ImageError(
            f"meshes are (K, n, 3) vertices and (f, 3) triangles, not {vertices.shape} and {triangles.shape}"
        )
    canvas = images.read(image).copy()
    for face in vertices:
        _draw(canvas, face[triangles].astype(np.float64), np.array(colour), opacity)
    return canvas


def _draw(canvas: npt.NDArray[np.uint8], corners: FloatArray, colour: IntArray, opacity: float) -> None:
    """One mesh, given as (f, 3, 3) corners, painted from the farthest triangle to the nearest."""
    height, width = canvas.shape[:2]
    corners = corners[np.isfinite(corners).all(axis=(1, 2))]
    low, high = corners[..., :2].min(axis=1), corners[..., :2].max(axis=1)
    corners = corners[(high >= 0).all(axis=1) & (low < (width, height)).all(axis=1)]
    if not len(corners):
        return
    left, top = np.maximum(np.floor(corners[..., :2].min(axis=(0, 1))), 0).astype(int)
    right, bottom = np.ceil(corners[..., :2].max(axis=(0, 1))).astype(int)
    canvas = canvas[top : bottom + 1, left : right + 1]  # a view: time and memory go by the face, not the picture
    corners = corners - (left, top, 0)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.abs(normals[:, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    shades = 0.35 + 0.65 * facing
    light = np.zeros(canvas.shape[:2], np.float32)
    places = np.clip(corners[..., :2] - 0.5, -_FARTHEST, _FARTHEST)  # OpenCV counts from pixel centres
    fixed = np.rint(places * (1 << _SHIFT)).astype(np.int32)
    farthest_first = np.argsort(corners[..., 2].mean(axis=1), kind="stable")
    for triangle, shade in zip(fixed[farthest_first], shades[farthest_first].tolist(), strict=True):
        cv2.fillConvexPoly(light, triangle, shade, cv2.LINE_8, _SHIFT)
    rows = max(1, _PIXELS // canvas.shape[1])
    for start in range(0, len(canvas), rows):
        _blend(canvas[start : start + rows], light[start : start + rows], colour, opacity)


def _blend(canvas: npt.NDArray[np.uint8], light: FloatArray, colour: IntArray, opacity: float) -> None:
    covered = light > 0
    drawn = light[covered][:, None] * colour
    canvas[covered] = np.rint((1 - opacity) * canvas[covered] + opacity * drawn).astype(np.uint8)
