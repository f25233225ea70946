"""Face meshes drawn into a picture as shaded, see-through masks (RetinaFace, figure 6: "masks drawn in blue")."""

import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.errors import ImageError
from facesmith.media.drawing import Colour

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]

MESH_COLOUR: Colour = (72, 140, 255)

_POINTS = 1 << 21
"""Points that are drawn at a time; bounds the memory that a huge face takes."""


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
    """One mesh, given as (f, 3, 3) corners: the nearest of many points in each pixel."""
    height, width = canvas.shape[:2]
    corners = corners[np.isfinite(corners).all(axis=(1, 2))]
    low, high = corners[..., :2].min(axis=1), corners[..., :2].max(axis=1)
    corners = corners[(high >= 0).all(axis=1) & (low < (width, height)).all(axis=1)]
    if not len(corners):
        return
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.abs(normals[:, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    shades = 0.35 + 0.65 * facing
    depth, light = np.full(height * width, -np.inf), np.zeros(height * width)
    points = _barycentric_grid(corners)
    step = max(1, _POINTS // len(points))
    for start in range(0, len(corners), step):
        some = np.einsum("pc,fcd->fpd", points, corners[start : start + step]).reshape(-1, 3)
        shade = np.repeat(shades[start : start + step], len(points))
        inside = ((some[:, :2] >= 0) & (some[:, :2] < (width, height))).all(axis=1)
        some, shade = some[inside], shade[inside]
        order = np.argsort(some[:, 2], kind="stable")  # of several values for a pixel, the last and nearest stays
        some, shade = some[order], shade[order]
        pixel = some[:, 1].astype(np.int64) * width + some[:, 0].astype(np.int64)
        nearer = some[:, 2] > depth[pixel]
        depth[pixel[nearer]], light[pixel[nearer]] = some[nearer, 2], shade[nearer]
    covered = np.isfinite(depth).reshape(height, width)
    drawn = light.reshape(height, width)[covered][:, None] * colour
    canvas[covered] = np.rint((1 - opacity) * canvas[covered] + opacity * drawn).astype(np.uint8)


def _barycentric_grid(corners: FloatArray) -> FloatArray:
    """(p, 3) barycentric coordinates that sample every triangle at least once a pixel along each direction."""
    edges = np.linalg.norm(corners[..., :2] - np.roll(corners[..., :2], 1, axis=1), axis=2)
    steps = min(int(np.ceil(1.5 * edges.max())) + 1, 1000)
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    kept = i + j <= steps
    a, b = i[kept] / steps, j[kept] / steps
    grid: FloatArray = np.stack([a, b, 1 - a - b], axis=1)
    return grid
