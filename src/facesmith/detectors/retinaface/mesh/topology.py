"""The mesh that every face shares: a hexagon of the triangular lattice, which halves exactly, level by level.

A hexagon of radius r holds all lattice points at most r steps from its centre. The points with even coordinates are
a hexagon of radius r/2, and every other point is the midpoint of an edge between two of those: pooling keeps a
quarter of the vertices, and un-pooling puts vertices on the middle of edges, as CoMA's (Ranjan et al. 2018) decimated
levels do with barycentric weights that need a search there. Nothing is read from a file and nothing is random.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from facesmith.errors import ConfigError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
SparseMatrix = Any  # scipy.sparse.csr_array; its stubs name no element type that fits all uses here

_STEPS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)])


@dataclass(frozen=True, eq=False)
class Level:
    """One triangulated hexagon of the hierarchy.

    A vertex has lattice coordinates (q, r): r counts rows upwards, q along a row. Vertices are numbered row by
    row, bottom first, left to right, so vertex numbers do not depend on how many levels there are.

    Attributes:
        radius: rings around the centre; there are 3·radius·(radius + 1) + 1 vertices and 6·radius² triangles.
    """

    radius: int

    @cached_property
    def lattice(self) -> IntArray:
        """(n, 2) lattice coordinates q, r."""
        line = np.arange(-self.radius, self.radius + 1)
        r, q = np.meshgrid(line, line, indexing="ij")
        inside = np.abs(q + r) <= self.radius
        return np.stack([q[inside], r[inside]], axis=1)

    @cached_property
    def _numbers(self) -> IntArray:
        side = 2 * self.radius + 3  # one more around, so that neighbours of the rim can be looked up
        table = np.full((side, side), -1, np.int64)
        q, r = (self.lattice + self.radius + 1).T
        table[r, q] = np.arange(len(self))
        return table

    def __len__(self) -> int:
        return 3 * self.radius * (self.radius + 1) + 1

    def index(self, points: IntArray) -> IntArray:
        """(..., 2) lattice coordinates -> vertex numbers; -1 just outside."""
        found: IntArray = self._numbers[points[..., 1] + self.radius + 1, points[..., 0] + self.radius + 1]
        return found

    @cached_property
    def triangles(self) -> IntArray:
        """(f, 3) vertex numbers, counter-clockwise seen by the viewer (x right, y up, z towards the viewer)."""
        upward = np.array([(0, 0), (1, 0), (0, 1)])
        downward = np.array([(0, 0), (0, 1), (-1, 1)])
        corners = (self.lattice[:, None, None] + np.stack([upward, downward])).reshape(-1, 3, 2)
        numbers = self.index(corners)
        return numbers[(numbers >= 0).all(axis=1)]

    @cached_property
    def edges(self) -> IntArray:
        """(e, 2) vertex numbers, the smaller first."""
        pairs = self.triangles[:, [(0, 1), (1, 2), (2, 0)]].reshape(-1, 2)
        unique: IntArray = np.unique(np.sort(pairs, axis=1), axis=0)
        return unique

    @cached_property
    def vertex_triangles(self) -> IntArray:
        """(n, 6) the triangles around each vertex; the number of triangles (one too many) where there are fewer."""
        vertices = self.triangles.ravel()
        order = np.argsort(vertices, kind="stable")
        owners = vertices[order]
        slot = np.arange(len(owners)) - np.searchsorted(owners, owners)
        around = np.full((len(self), 6), len(self.triangles), np.int64)
        around[owners, slot] = order // 3
        return around

    @cached_property
    def adjacency(self) -> SparseMatrix:
        """(n, n) 0/1, symmetric."""
        a, b = self.edges.T
        rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
        return sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(self), len(self)))

    @cached_property
    def laplacian(self) -> SparseMatrix:
        """(n, n) normalised Laplacian I - D^-1/2 E D^-1/2; eigenvalues in [0, 2].

        The paper writes D - E; CoMA and Defferrard et al., which it follows, compute with the normalised one.
        """
        scale = sp.diags_array(1 / np.sqrt(self.adjacency.sum(axis=1)))
        return sp.csr_array(sp.eye_array(len(self)) - scale @ self.adjacency @ scale)

    @cached_property
    def scaled_laplacian(self) -> SparseMatrix:
        """(n, n) 2 L / λmax - I with λmax = 2: what Chebyshev polynomials are evaluated at; eigenvalues in [-1, 1]."""
        matrix = sp.csr_array(self.laplacian - sp.eye_array(len(self)))
        matrix.eliminate_zeros()
        return matrix

    @cached_property
    def disc(self) -> FloatArray:
        """(n, 2) places in the unit disc, x right and y up: rings of the hexagon become circles."""
        q, r = self.lattice.T
        plane = np.stack([q + r / 2, r * np.sqrt(0.75)], axis=1)
        length = np.linalg.norm(plane, axis=1)
        ring = np.abs(np.stack([q, r, q + r])).max(axis=0) / self.radius
        places: FloatArray = plane * (ring / np.where(length > 0, length, 1))[:, None]
        return places

    @cached_property
    def mirrored(self) -> IntArray:
        """(n,) the vertex on the other side of the middle; applying it twice changes nothing."""
        q, r = self.lattice.T
        return self.index(np.stack([-q - r, r], axis=1))

    @cached_property
    def kept(self) -> IntArray:
        """(n/4,) the vertices that the next coarser level keeps, in its order."""
        return np.flatnonzero((self.lattice % 2 == 0).all(axis=1))


@dataclass(frozen=True, eq=False)
class Topology:
    """A mesh and its pooling hierarchy, the finest level first.

    Attributes:
        levels: hexagons, each of half the radius of the one before.
    """

    levels: tuple[Level, ...]

    @classmethod
    def build(cls, coarsest: int = 2, poolings: int = 4) -> "Topology":
        """The hierarchy whose coarsest hexagon has ``coarsest`` rings; cached, since it is the same each time.

        2 rings and 4 poolings give 3,169 - 817 - 217 - 61 - 19 vertices.

        Raises:
            ConfigError: a number is out of range.
        """
        if coarsest < 1 or poolings < 0:
            raise ConfigError(f"a mesh needs at least 1 ring and 0 poolings, not {coarsest} and {poolings}")
        return _build(coarsest, poolings)

    @property
    def finest(self) -> Level:
        """The level that faces are given on."""
        return self.levels[0]

    def down(self, pooling: int) -> SparseMatrix:
        """(coarse, fine) 0/1 matrix from level ``pooling`` to the next: the vertices that stay."""
        fine, coarse = self.levels[pooling], self.levels[pooling + 1]
        shape = (len(coarse), len(fine))
        return sp.csr_array((np.ones(len(coarse)), (np.arange(len(coarse)), fine.kept)), shape=shape)

    def up(self, pooling: int) -> SparseMatrix:
        """(fine, coarse) matrix from level ``pooling + 1`` to ``pooling``: old vertices, and middles of old edges."""
        fine, coarse = self.levels[pooling], self.levels[pooling + 1]
        odd_q, odd_r = (fine.lattice % 2 == 1).T
        step = np.stack([odd_q, np.where(odd_q, -1 * odd_r, odd_r)], axis=1).astype(np.int64)
        ends = np.stack([fine.lattice + step, fine.lattice - step], axis=1) // 2  # twice itself where it stays
        columns = coarse.index(ends).ravel()
        rows = np.repeat(np.arange(len(fine)), 2)
        return sp.csr_array((np.full(len(rows), 0.5), (rows, columns)), shape=(len(fine), len(coarse)))


@lru_cache(maxsize=8)
def _build(coarsest: int, poolings: int) -> Topology:
    return Topology(tuple(Level(coarsest << n) for n in reversed(range(poolings + 1))))
