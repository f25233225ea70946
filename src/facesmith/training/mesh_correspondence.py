"""Carry faces from somebody else's triangulation onto our mesh.

The other mesh must be flattened (texture coordinates without overlap) and know its 68 landmarks. A thin-plate spline
takes our plane to theirs, exactly at the landmarks and along the outline; each of our vertices then is a fixed
mixture of the three corners of the triangle that it lands in. Holes (eyes, mouth) are closed by fans around the mean
of their rim, since our mesh has skin, or rather texture, there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.spatial import cKDTree

from facesmith.detectors.retinaface.mesh.template import face_plane, landmarks68
from facesmith.detectors.retinaface.mesh.topology import Level, SparseMatrix
from facesmith.errors import LabelError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_OUTLINE = 48
_CANDIDATES = 48


@dataclass(frozen=True, eq=False)
class FlatMesh:
    """Somebody's face mesh in the plane.

    Attributes:
        plane: (m, 2) texture coordinates, x right in the image and y up.
        triangles: (f, 3) vertex numbers.
        landmarks68: (68,) vertex numbers in 300-W's order.
    """

    plane: FloatArray
    triangles: IntArray
    landmarks68: IntArray


def resampling_matrix(level: Level, other: FlatMesh) -> SparseMatrix:
    """(n, m) non-negative rows of sum 1: values at the other mesh's vertices -> values at ours.

    Raises:
        LabelError: the other mesh has no outline around its landmarks.
    """
    loops = boundary_loops(other.triangles, len(other.plane))
    if not loops:
        raise LabelError("the mesh to resample from is closed: it has no outline to align")
    outer = int(np.argmax([np.ptp(other.plane[loop[:, 0]], axis=0).prod() for loop in loops]))
    holes = [loop for number, loop in enumerate(loops) if number != outer]
    extend, triangles = _close(other.triangles, holes, len(other.plane))
    targets = _warp(level, other, loops[outer])
    return sp.csr_array(_locate(targets, extend @ other.plane, triangles) @ extend)


def boundary_loops(triangles: IntArray, vertices: int) -> list[IntArray]:
    """Each boundary as (e, 2) directed edges in no order: the edges that only one triangle has."""
    directed = triangles[:, [(0, 1), (1, 2), (2, 0)]].reshape(-1, 2)
    undirected = np.sort(directed, axis=1)
    _, first, counts = np.unique(undirected, axis=0, return_index=True, return_counts=True)
    edges = directed[first[counts == 1]]
    graph = sp.csr_array((np.ones(len(edges)), tuple(edges.T)), shape=(vertices, vertices))
    _, names = sp.csgraph.connected_components(graph, directed=False)
    return [edges[names[edges[:, 0]] == name] for name in np.unique(names[edges[:, 0]])]


def thin_plate_spline(sources: FloatArray, targets: FloatArray, points: FloatArray) -> FloatArray:
    """The smoothest map of the plane that takes ``sources`` (k, 2) to ``targets`` (k, 2), at ``points`` (p, 2)."""

    def kernel(distance: FloatArray) -> FloatArray:
        return distance**2 * np.log(np.maximum(distance, 1e-12))

    def between(a: FloatArray, b: FloatArray) -> FloatArray:
        distance: FloatArray = np.linalg.norm(a[:, None] - b, axis=2)
        return distance

    affine = np.hstack([np.ones((len(sources), 1)), sources])
    system = np.block([[kernel(between(sources, sources)), affine], [affine.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.vstack([targets, np.zeros((3, 2))]))
    basis = np.hstack([kernel(between(points, sources)), np.ones((len(points), 1)), points])
    mapped: FloatArray = basis @ weights
    return mapped


def _warp(level: Level, other: FlatMesh, outline: IntArray) -> FloatArray:
    """(n, 2) our vertices in the other mesh's plane."""
    ours = face_plane(level)
    vertices = landmarks68(level)
    rough = thin_plate_spline(ours[vertices], other.plane[other.landmarks68], ours)
    rim = np.flatnonzero(np.abs(np.linalg.norm(level.disc, axis=1) - 1) < 1e-9)
    rim = rim[np.argsort(np.arctan2(level.disc[rim, 1], level.disc[rim, 0]))]
    rim = rim[np.linspace(0, len(rim), _OUTLINE, endpoint=False).astype(int)]
    centre = other.plane[other.landmarks68].mean(axis=0)
    goal = _on_outline(other.plane, outline, centre, rough[rim] - centre)
    sources = np.vstack([ours[vertices], ours[rim]])
    return thin_plate_spline(sources, np.vstack([other.plane[other.landmarks68], goal]), ours)


def _on_outline(plane: FloatArray, outline: IntArray, centre: FloatArray, directions: FloatArray) -> FloatArray:
    """(k, 2) where rays from ``centre`` cross the outline (the farthest crossing), a hair inside."""
    start = plane[outline[:, 0]] - centre
    step = plane[outline[:, 1]] - plane[outline[:, 0]]
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cross = step[:, 0] * unit[:, 1:] - step[:, 1] * unit[:, :1]  # (k, e)
    safe = np.where(np.abs(cross) < 1e-15, np.inf, cross)
    along = (step[:, 0] * start[:, 1] - step[:, 1] * start[:, 0]) / safe
    share = (unit[:, :1] * start[:, 1] - unit[:, 1:] * start[:, 0]) / safe
    hit = (np.abs(share - 0.5) <= 0.5 + 1e-6) & np.isfinite(safe)  # a ray through a corner must not slip between edges
    if not (hit & (along > 0)).any(axis=1).all():
        raise LabelError("the outline of the mesh to resample from does not surround its landmarks")
    reach = np.where(hit, along, 0).max(axis=1)
    crossings: FloatArray = centre + unit * reach[:, None] * 0.995
    return crossings


def _close(triangles: IntArray, holes: list[IntArray], vertices: int) -> tuple[SparseMatrix, IntArray]:
    """A matrix that appends the mean of each hole's rim as a vertex, and triangles with the holes filled."""
    rows = [np.eye(1, vertices)[:0]]
    fans = [triangles]
    for number, loop in enumerate(holes):
        rows.append(np.bincount(loop[:, 0], minlength=vertices)[None] / len(loop))
        fans.append(np.column_stack([loop[:, ::-1], np.full(len(loop), vertices + number)]))
    return sp.csr_array(sp.vstack([sp.eye_array(vertices), sp.csr_array(np.vstack(rows))])), np.vstack(fans)


def _locate(points: FloatArray, plane: FloatArray, triangles: IntArray) -> SparseMatrix:
    """(p, m) barycentric weights of points in the triangle that holds them; outside of all, in the nearest one."""
    corners = plane[triangles]
    near: IntArray = np.asarray(cKDTree(corners.mean(axis=1)).query(points, k=min(_CANDIDATES, len(triangles)))[1])
    a, b, c = np.moveaxis(corners[near], 2, 0)  # (p, k, 2)
    p = points[:, None]

    def cross(u: FloatArray, v: FloatArray) -> FloatArray:
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    area = cross(b - a, c - a)
    parts = np.stack([cross(b - p, c - p), cross(c - p, a - p), cross(a - p, b - p)], axis=-1)
    usable = np.abs(area) > 1e-14
    weights = np.where(usable[..., None], parts / np.where(usable, area, 1)[..., None], -np.inf)
    best = weights.min(axis=-1).argmax(axis=1)
    each = np.arange(len(points))
    chosen: FloatArray = weights[each, best].clip(0)
    chosen /= chosen.sum(axis=1, keepdims=True)
    rows = np.repeat(each, 3)
    columns = triangles[near[each, best]].ravel()
    return sp.csr_array((chosen.ravel(), (rows, columns)), shape=(len(points), len(plane)))
