"""Where a face's features lie on the mesh, and a head-like surface to start from.

The face is flattened to a plane of (u, v): u runs along the skin to the right in the image, v up, both in units of
10 cm, with the origin on the bridge of the nose. All numbers here are plain proportions of an adult's face, chosen
by hand; statistics of real faces come with trained weights.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from facesmith.detectors.retinaface.mesh.topology import IntArray, Level
from facesmith.errors import ConfigError

FloatArray = npt.NDArray[np.float64]

_CENTRE = np.array([0.0, -0.02])
_RADII = np.array([1.0, 1.03])
_DENSITY = 0.7
"""Spacing at the middle of the face relative to an even one: features deserve more vertices than cheeks."""


def face_plane(level: Level) -> FloatArray:
    """(n, 2) u, v of the vertices."""
    disc = level.disc
    spread = _DENSITY + (1 - _DENSITY) * (disc**2).sum(axis=1, keepdims=True)
    plane: FloatArray = disc * spread * _RADII + _CENTRE
    return plane


def landmark_places() -> FloatArray:
    """(68, 2) u, v of the 68 landmarks in the usual (300-W) order, mirror-symmetric; left is left in the image."""
    places = np.zeros((68, 2))
    angle = np.linspace(np.pi, 2 * np.pi, 17)
    places[:17] = np.stack([0.87 * np.cos(angle), 0.3 + 1.1 * np.sin(angle)], axis=1)
    places[17:22] = [(-0.62, 0.48), (-0.50, 0.54), (-0.37, 0.56), (-0.24, 0.55), (-0.11, 0.51)]
    places[27:31] = [(0, 0.33), (0, 0.22), (0, 0.11), (0, 0.0)]
    places[31:34] = [(-0.16, -0.13), (-0.08, -0.145), (0, -0.155)]
    places[36:42] = [(-0.48, 0.3), (-0.39, 0.36), (-0.29, 0.36), (-0.19, 0.3), (-0.29, 0.26), (-0.39, 0.26)]
    places[48:52] = [(-0.27, -0.365), (-0.17, -0.295), (-0.07, -0.265), (0, -0.275)]
    places[[57, 58, 59]] = [(0, -0.49), (-0.09, -0.48), (-0.18, -0.44)]
    places[60:63] = [(-0.22, -0.365), (-0.1, -0.335), (0, -0.335)]
    places[[66, 67]] = [(0, -0.4), (-0.1, -0.4)]
    places[_RIGHT] = places[_LEFT] * (-1, 1)
    return places


_LEFT = [*range(17, 22), 31, 32, 36, 37, 38, 39, 40, 41, 48, 49, 50, 58, 59, 60, 61, 67]
_RIGHT = [26, 25, 24, 23, 22, 35, 34, 45, 44, 43, 42, 47, 46, 54, 53, 52, 56, 55, 64, 63, 65]


@lru_cache(maxsize=8)
def landmarks68(level: Level) -> IntArray:
    """(68,) the vertices nearest to :func:`landmark_places`; as symmetric as the mesh itself.

    Raises:
        ConfigError: two landmarks share a vertex, because the mesh is too coarse.
    """
    plane, places = face_plane(level), landmark_places()
    distance = np.linalg.norm(plane - places[:, None], axis=2)
    on_middle = np.abs(plane[:, 0]) < 1e-9
    distance[np.abs(places[:, 0]) < 1e-9] += np.where(on_middle, 0, np.inf)
    vertices: IntArray = distance.argmin(axis=1)
    vertices[_RIGHT] = level.mirrored[vertices[_LEFT]]
    right = np.arange(9, 17)
    vertices[right] = level.mirrored[vertices[16 - right]]
    if len(np.unique(vertices)) < len(vertices):
        raise ConfigError(f"a mesh of {len(level)} vertices is too coarse for 68 landmarks; take more rings")
    return vertices


def template_vertices(level: Level) -> FloatArray:
    """(n, 3) a smooth, head-like surface in units of 10 cm: x right, y up, z towards the viewer, mean at 0."""
    u, v = face_plane(level).T
    width = 0.75
    angle = u / width
    nose = 0.28 * np.exp(-((u / 0.13) ** 2)) * np.exp(-((v / 0.16) ** 2))
    bridge = 0.1 * np.exp(-((u / 0.13) ** 2)) * np.exp(-(((v - 0.2) / 0.22) ** 2))
    sockets = 0.07 * np.exp(-(((np.abs(u) - 0.34) / 0.15) ** 2) - ((v - 0.31) / 0.1) ** 2)
    lips = 0.06 * np.exp(-((u / 0.25) ** 2) - ((v + 0.37) / 0.1) ** 2)
    x = width * np.sin(angle)
    z = width * np.cos(angle) - 0.35 * v**2 + nose + bridge + lips - sockets
    vertices: FloatArray = np.stack([x, v, z], axis=1)
    vertices -= vertices.mean(axis=0)
    return vertices
