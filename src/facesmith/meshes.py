"""``Meshes``: the coloured 3D meshes of the faces of one image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Meshes:
    """n faces as meshes of one topology, in pixels of their image as :class:`facesmith.Faces` are.

    Attributes:
        vertices: (n, V, 3) float32: x right, y down, and z towards the viewer in pixels, 0 at the head's centre.
        triangles: (f, 3) int64 vertex numbers, the same for all faces; counter-clockwise from outside where y is
            **up**.
        colours: (n, V, 3) float32, r, g, b of the skin without the light, 0 … 1.
        landmarks68: (n, 68, 3) float32, the vertices at the 68 landmarks in 300-W's order.
        pose: (n, 3) float32, yaw (above 0: turned to the right of the image), pitch (above 0: looks up), roll (above
            0: leans clockwise in the image) in degrees.

    Raises:
        ValueError: a column has a wrong shape.
    """

    vertices: FloatArray
    triangles: IntArray
    colours: FloatArray
    landmarks68: FloatArray
    pose: FloatArray

    def __post_init__(self) -> None:
        kinds = {"triangles": np.int64}
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), kinds.get(name, np.float32)))
        n, count = (self.vertices.shape + (0, 0))[:2]
        wanted = {"vertices": (n, count, 3), "colours": (n, count, 3), "landmarks68": (n, 68, 3), "pose": (n, 3)}
        wanted["triangles"] = (self.triangles.shape[0] if self.triangles.ndim else 0, 3)
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"Meshes.{name} must have shape {shape}, not {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.vertices)

    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[Any]) -> Self:
        """The meshes at ``index``: a mask, a slice or an index array."""
        return replace(self, **{name: getattr(self, name)[index] for name in _COLUMNS})

    def __repr__(self) -> str:
        return f"Meshes(n={len(self)}, vertices={self.vertices.shape[1]}, triangles={len(self.triangles)})"

    def mapped(self, scale: npt.ArrayLike, offset: tuple[float, float] = (0.0, 0.0)) -> Self:
        """After ``x * scale_x + offset_x``, ``y * scale_y + offset_y``; z by the scales' geometric mean.

        ``scale`` is (2,), or (n, 2) with one for each face. The pose stays.
        """
        x, y = np.broadcast_to(np.asarray(scale, np.float32), (len(self), 2)).T
        scales = np.stack([x, y, np.sqrt(x * y)], axis=1)[:, None]
        shift = np.array([*offset, 0], np.float32)
        return replace(self, vertices=self.vertices * scales + shift, landmarks68=self.landmarks68 * scales + shift)

    def rotated90(self, width: float, height: float, turns: int) -> Self:
        """After their picture, of ``width`` × ``height`` pixels, was turned by quarters counter-clockwise, as
        ``np.rot90`` turns it. Roll turns with the picture; yaw and pitch are those of the face and stay."""
        turns %= 4
        if turns == 0:
            return self

        def turned(points: FloatArray) -> FloatArray:
            x, y, z = np.moveaxis(points, -1, 0)
            x, y = [(y, width - x), (width - x, height - y), (height - y, x)][turns - 1]
            return np.stack([x, y, z], axis=-1)

        pose = self.pose.copy()
        pose[:, 2] = (pose[:, 2] - 90 * turns + 180) % 360 - 180
        return replace(self, vertices=turned(self.vertices), landmarks68=turned(self.landmarks68), pose=pose)

    @classmethod
    def concatenate(cls, parts: Sequence["Meshes"]) -> Self:
        """All meshes of ``parts``, at least one, in their order.

        Raises:
            ValueError: they have different topologies.
        """
        triangles = parts[0].triangles
        if any(not np.array_equal(part.triangles, triangles) for part in parts):
            raise ValueError("meshes of different topologies cannot be put together")
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(triangles=triangles, **columns)


_COLUMNS = ("vertices", "colours", "landmarks68", "pose")
