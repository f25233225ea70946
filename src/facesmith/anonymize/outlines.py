"""The outline of a face in the picture, from its 3D mesh."""

import numpy as np

from facesmith.faces import FloatArray

POINTS = 64
"""Of an outline. More would tell more of the face's shape and hide no more of it."""


def outlines(vertices: FloatArray) -> FloatArray:
    """Closed curves without holes around meshes that are seen from the front.

    A curve has a point in each of 64 directions from the middle of its mesh, as far out as the mesh reaches anywhere
    near: the projected triangles lie inside, and a hollow between nose and mouth of a face in profile is covered.

    Args:
        vertices: (n, V, 3) or (n, V, 2) pixels; V is large enough for vertices in all directions.

    Returns:
        (n, 64, 2) float32 pixels, clockwise in the image.
    """
    flat = vertices[..., :2].astype(np.float64)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-3)
    unit = (flat - centre) / half  # a long face becomes round, so that directions are even along it
    turn = np.arctan2(unit[..., 1], unit[..., 0]) / (2 * np.pi) % 1
    sector = np.minimum((turn * POINTS).astype(np.int64), POINTS - 1)
    reach = np.zeros((len(flat), POINTS))
    np.maximum.at(reach, (np.arange(len(flat))[:, None], sector), np.hypot(unit[..., 0], unit[..., 1]))
    # each point lies between two sectors; the chord to the next one has to pass outside of all of the sector
    radius = np.maximum(reach, np.roll(reach, 1, axis=1)) / np.cos(np.pi / POINTS)
    angle = np.arange(POINTS) * (2 * np.pi / POINTS)
    around = np.stack((np.cos(angle), np.sin(angle)), axis=1) * radius[..., None]
    curves: FloatArray = (centre + around * half).astype(np.float32)
    return curves


def moved(curves: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """``curves`` (n, k, 2) of faces with boxes ``before`` (n, 4), when these are at ``after``."""
    old, new = before[:, None], after[:, None]
    scale = (new[..., 2:] - new[..., :2]) / np.maximum(old[..., 2:] - old[..., :2], 1e-3)
    shifted: FloatArray = (curves - old[..., :2]) * scale + new[..., :2]
    return shifted


def scaled(curve: FloatArray, margin: float) -> FloatArray:
    """``curve`` (k, 2), larger by ``margin`` of its width and height on every side."""
    centre = (curve.min(axis=0) + curve.max(axis=0)) / 2
    larger: FloatArray = (centre + (curve - centre) * (1 + 2 * margin)).astype(np.float32)
    return larger
