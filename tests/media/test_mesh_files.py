import json
import struct
from pathlib import Path

import numpy as np
import pytest

from facesmith.errors import ConfigError
from facesmith.media.mesh_files import Mesh, upright, vertex_normals, write_mesh
from facesmith.meshes import Meshes

CORNERS = np.array([(0, 0, 0), (2, 0, 0), (0, 3, 0), (0, 0, 0.5)])
TRIANGLES = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
COLOURS = np.array([(0, 0, 0), (1, 0.5, 0.25), (0.2, 0.4, 0.6), (1, 1, 1)])
MESH = Mesh(CORNERS, TRIANGLES, COLOURS)


def test_obj(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.obj", MESH)
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    assert np.allclose(vertices, np.hstack([CORNERS, COLOURS]))
    assert [[int(number) for number in line[1:]] for line in lines if line[0] == "f"] == (TRIANGLES + 1).tolist()
    assert len(lines) == 8


def test_ply(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.ply", MESH)
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    assert header.decode().split("\n") == [
        "ply",
        "format binary_little_endian 1.0",
        "element vertex 4",
        "property float x",
        "property float y",
        "property float z",
        "property uchar red",
        "property uchar green",
        "property uchar blue",
        "element face 4",
        "property list uchar int vertex_indices",
        "",
    ]
    vertices = list(struct.iter_unpack("<fff3B", body[: 4 * 15]))
    assert np.allclose([v[:3] for v in vertices], CORNERS)
    assert [v[3:] for v in vertices] == [(0, 0, 0), (255, 128, 64), (51, 102, 153), (255, 255, 255)]
    assert list(struct.iter_unpack("<B3i", body[4 * 15 :])) == [(3, *t) for t in TRIANGLES.tolist()]


def test_glb(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.glb", MESH)
    data = (tmp_path / "a.glb").read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    assert size % 4 == 0
    about = json.loads(data[20 : 20 + size])
    left, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0"
    binary = data[28 + size :]
    assert len(binary) == left == about["buffers"][0]["byteLength"]

    def read(number: int) -> np.ndarray:
        accessor = about["accessors"][number]
        view = about["bufferViews"][accessor["bufferView"]]
        piece = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        array = np.frombuffer(piece, {5126: "<f4", 5125: "<u4"}[accessor["componentType"]])
        array = array.reshape(-1, {"VEC3": 3, "SCALAR": 1}[accessor["type"]])
        assert len(array) == accessor["count"]
        return array

    primitive = about["meshes"][about["nodes"][0]["mesh"]]["primitives"][0]
    attributes = primitive["attributes"]
    assert np.allclose(read(attributes["POSITION"]), CORNERS)
    assert about["accessors"][attributes["POSITION"]]["max"] == [2, 3, 0.5]
    assert np.allclose(np.linalg.norm(read(attributes["NORMAL"]), axis=1), 1)
    # half of full sRGB is 21 % of the light
    assert read(attributes["COLOR_0"])[1] == pytest.approx([1, 0.2140, 0.0509], abs=1e-3)
    assert read(primitive["indices"]).reshape(-1, 3).tolist() == TRIANGLES.tolist()


def test_normals_point_outwards() -> None:
    inwards = CORNERS.mean(axis=0) - CORNERS
    normals = vertex_normals(MESH)
    assert ((normals * inwards).sum(axis=1) < 0).all()
    flat = Mesh(np.vstack([CORNERS[:3], CORNERS[3:]]), np.array([(0, 1, 2)]), COLOURS)
    assert vertex_normals(flat).tolist() == [[0, 0, 1]] * 4  # the last belongs to no triangle


def test_other_formats_fail(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.obj, \.ply or \.glb"):
        write_mesh(tmp_path / "a.stl", MESH)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("vertices", "triangles", "colours", "message"),
    [
        (CORNERS[:, :2], TRIANGLES, COLOURS, r"\(n, 3\) vertices"),
        (CORNERS, TRIANGLES, COLOURS[:2], r"\(n, 3\) colours"),
        (CORNERS, TRIANGLES + 1, COLOURS, "outside of 0 … 3"),
        (CORNERS * np.nan, TRIANGLES, COLOURS, "finite"),
    ],
)
def test_arrays_that_do_not_fit(vertices: np.ndarray, triangles: np.ndarray, colours: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mesh(vertices, triangles, colours)


def test_meshes_of_a_picture_stand_upright() -> None:
    """What is high in the picture is high in the file, and each head is at the origin."""
    vertices = np.array([[[10, 20, 3], [30, 60, 5]], [[0, 0, 0], [4, 4, 4]]])
    found = Meshes(vertices, np.zeros((0, 3)), np.ones((2, 2, 3)), np.zeros((2, 68, 3)), np.zeros((2, 3)))
    first, second = upright(found)
    assert first.vertices.tolist() == [[-10, 20, -1], [10, -20, 1]]
    assert second.vertices.tolist() == [[-2, 2, -2], [2, -2, 2]]
