"""Coloured triangle meshes as files that 3D programs open: OBJ, PLY, GLB."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith import files
from facesmith.errors import ConfigError
from facesmith.meshes import Meshes

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh with coloured vertices.

    Coordinates are x right, y **up**, z towards the viewer, as the formats expect; flip the sign of y of vertices in
    image pixels. Units are the caller's (GLB readers take them for metres).

    Attributes:
        vertices: (n, 3) finite.
        triangles: (f, 3) vertex numbers, counter-clockwise from outside.
        colours: (n, 3) sRGB in 0 … 1; what lies outside is cut off.

    Raises:
        ConfigError: arrays do not fit together.
    """

    vertices: FloatArray
    triangles: npt.NDArray[np.integer]
    colours: FloatArray

    def __post_init__(self) -> None:
        count = len(self.vertices)
        shapes = (self.vertices.shape, self.colours.shape, self.triangles.shape[1:])
        if shapes != ((count, 3), (count, 3), (3,)):
            raise ConfigError(
                "a mesh has (n, 3) vertices, (f, 3) triangles and (n, 3) colours, not "
                f"{self.vertices.shape}, {self.triangles.shape} and {self.colours.shape}"
            )
        if len(self.triangles) and not 0 <= self.triangles.min() <= self.triangles.max() < count:
            raise ConfigError(f"triangles name vertices outside of 0 … {count - 1}")
        if not np.isfinite(self.vertices).all():
            raise ConfigError("a mesh's vertices must be finite")


def upright(meshes: Meshes) -> Iterator[Mesh]:
    """Meshes in image pixels as meshes for files: y up, each head's centre (the mean of its vertices) at 0."""
    vertices = (meshes.vertices - meshes.vertices.mean(axis=1, keepdims=True)) * np.array([1, -1, 1], np.float32)
    for places, colours in zip(vertices, meshes.colours, strict=True):
        yield Mesh(places, meshes.triangles, colours)


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write ``mesh`` in the format of the file name: .obj (text), .ply (binary), .glb (binary glTF 2.0).

    Raises:
        ConfigError: the name ends in none of these.
    """
    encode = {".obj": _obj, ".ply": _ply, ".glb": _glb}.get(path.suffix.lower())
    if encode is None:
        raise ConfigError(f"{path}: meshes are written as .obj, .ply or .glb")
    files.write_bytes(path, encode(mesh))


def _obj(mesh: Mesh) -> bytes:
    """Vertex colours follow the coordinates, as most programs read and write them."""
    rows = np.hstack([mesh.vertices, mesh.colours.clip(0, 1)]).tolist()
    vertices = [f"v {x:.6g} {y:.6g} {z:.6g} {r:.4f} {g:.4f} {b:.4f}\n" for x, y, z, r, g, b in rows]
    triangles = [f"f {a} {b} {c}\n" for a, b, c in (mesh.triangles + 1).tolist()]
    return "".join(vertices + triangles).encode()


def _ply(mesh: Mesh) -> bytes:
    vertex = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
    triangle = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
    vertices = np.empty(len(mesh.vertices), vertex)
    vertices["place"], vertices["colour"] = mesh.vertices, np.rint(255 * mesh.colours.clip(0, 1))
    triangles = np.empty(len(mesh.triangles), triangle)
    triangles["count"], triangles["corners"] = 3, mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return "\n".join([*header, ""]).encode() + vertices.tobytes() + triangles.tobytes()


def _glb(mesh: Mesh) -> bytes:
    """One primitive with positions, normals and (linear, as the format demands) colours."""
    srgb = mesh.colours.clip(0, 1)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    parts = [
        mesh.vertices.astype("<f4"),
        vertex_normals(mesh).astype("<f4"),
        linear.astype("<f4"),
        mesh.triangles.astype("<u4"),
    ]
    sizes = [part.nbytes for part in parts]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    extremes = {"min": parts[0].min(axis=0).tolist(), "max": parts[0].max(axis=0).tolist()}
    accessors = [
        {"bufferView": i, "componentType": 5126, "count": len(mesh.vertices), "type": "VEC3"} for i in range(3)
    ]
    indices = {"bufferView": 3, "componentType": 5125, "count": mesh.triangles.size, "type": "SCALAR"}
    description = {
        "asset": {"version": "2.0", "generator": "facesmith"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}, "indices": 3, "material": 0}]}
        ],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}],
        "accessors": [accessors[0] | extremes, *accessors[1:], indices],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": size, "target": 34963 if i == 3 else 34962}
            for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
        ],
        "buffers": [{"byteLength": sum(sizes)}],
    }
    text = json.dumps(description, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    data = b"".join(part.tobytes() for part in parts)  # each a multiple of 4 bytes
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def vertex_normals(mesh: Mesh) -> npt.NDArray[np.float64]:
    """(n, 3) unit normals, the area-weighted mean of the triangles around each vertex; (0, 0, 1) where none are."""
    corners = mesh.vertices.astype(np.float64)[mesh.triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    numbers = mesh.triangles.ravel()
    owners = np.repeat(faces, 3, axis=0)
    sums = np.stack([np.bincount(numbers, owners[:, i], len(mesh.vertices)) for i in range(3)], axis=1)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    normals: npt.NDArray[np.float64] = np.where(length > 0, sums / np.where(length > 0, length, 1), (0.0, 0.0, 1.0))
    return normals
