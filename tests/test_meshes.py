import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facesmith import geometry
from facesmith.faces import Faces
from facesmith.meshes import Meshes


def meshes(n: int, seed: int = 0) -> Meshes:
    rng = np.random.default_rng(seed)
    return Meshes(
        vertices=rng.uniform(0, 100, (n, 4, 3)),
        triangles=np.array([[0, 1, 2], [1, 3, 2]]),
        colours=rng.uniform(0, 1, (n, 4, 3)),
        landmarks68=rng.uniform(0, 100, (n, 68, 3)),
        pose=rng.uniform(-90, 90, (n, 3)),
    )


def faces(n: int, seed: int = 0) -> Faces:
    boxes = np.arange(4 * n).reshape(n, 4)
    return Faces(boxes, np.linspace(1, 0.5, n), np.ones((n, 5, 2)), meshes=meshes(n, seed))


def test_types_and_length() -> None:
    some = meshes(3)
    assert len(some) == 3
    assert {some.vertices.dtype, some.colours.dtype, some.landmarks68.dtype, some.pose.dtype} == {np.dtype(np.float32)}
    assert some.triangles.dtype == np.int64
    assert repr(some) == "Meshes(n=3, vertices=4, triangles=2)"


@pytest.mark.parametrize(
    "change",
    [
        {"vertices": np.zeros((3, 4, 2))},
        {"vertices": np.zeros(3)},
        {"colours": np.zeros((3, 5, 3))},
        {"landmarks68": np.zeros((3, 5, 3))},
        {"pose": np.zeros((2, 3))},
        {"triangles": np.zeros((2, 4))},
    ],
)
def test_wrong_shapes(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Meshes\.\w+ must have shape"):
        replace(meshes(3), **change)


@pytest.mark.parametrize("index", [[2, 0], slice(1, 3), np.array([True, False, True]), np.array([], int)])
def test_faces_take_their_meshes_along(index: Any) -> None:
    some = faces(3)
    assert some.meshes is not None
    chosen = some[index]
    assert chosen.meshes is not None
    for name in ("vertices", "colours", "landmarks68", "pose"):
        assert np.array_equal(getattr(chosen.meshes, name), getattr(some.meshes, name)[index])
    assert len(chosen.meshes.triangles) == 2
    assert "Meshes(n=3" in repr(some)


def test_one_face() -> None:
    assert [len(face.meshes or ()) for face in faces(3)] == [1, 1, 1]


def test_a_mesh_a_face() -> None:
    with pytest.raises(ValueError, match=r"Faces\.meshes must be 3"):
        replace(faces(3), meshes=meshes(2))


def test_mapped() -> None:
    some = faces(2)
    mapped = some.mapped((2.0, 8.0), (5.0, -1.0)).meshes
    assert some.meshes is not None
    assert mapped is not None
    np.testing.assert_allclose(mapped.vertices, some.meshes.vertices * (2, 8, 4) + (5, -1, 0), rtol=1e-6)
    np.testing.assert_allclose(mapped.landmarks68, some.meshes.landmarks68 * (2, 8, 4) + (5, -1, 0), rtol=1e-6)
    assert np.array_equal(mapped.pose, some.meshes.pose)


def test_mapped_by_a_scale_for_each() -> None:
    some = meshes(2)
    mapped = some.mapped([[1, 1], [3, 3]])
    np.testing.assert_allclose(mapped.vertices, some.vertices * np.array([1, 3])[:, None, None], rtol=1e-6)


def test_concatenate() -> None:
    a, b = faces(2), faces(1, seed=1)
    both = Faces.concatenate([a, b])
    assert both.meshes is not None
    assert b.meshes is not None
    assert np.array_equal(both.meshes.vertices[2:], b.meshes.vertices)
    assert Faces.concatenate([a, replace(b, meshes=None)]).meshes is None
    other = replace(b.meshes, triangles=np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="different topologies"):
        Faces.concatenate([a, replace(b, meshes=other)])


def test_dictionaries() -> None:
    some = faces(2)
    assert some.meshes is not None
    rows = json.loads(json.dumps(some.to_dicts()))
    np.testing.assert_allclose([row["pose"] for row in rows], some.meshes.pose, atol=0.051)
    np.testing.assert_allclose([row["landmarks68"] for row in rows], some.meshes.landmarks68, atol=0.0051)
    again = Faces.from_dicts(rows)
    assert again.meshes is None
    assert np.array_equal(again.boxes, some.boxes)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 4])
def test_turned_with_the_picture(turns: int) -> None:
    """x and y as those of landmarks; z, yaw and pitch stay; after a left turn a face leans less to the right."""
    some = faces(3)
    assert some.meshes is not None
    points = Faces(some.boxes, some.scores, some.meshes.landmarks68[:, :5, :2])
    turned = geometry.rotate90(some, 640, 480, turns).meshes
    wanted = geometry.rotate90(points, 640, 480, turns).landmarks
    assert turned is not None
    np.testing.assert_array_equal(turned.landmarks68[:, :5, :2], wanted)
    np.testing.assert_array_equal(turned.vertices[..., 2], some.meshes.vertices[..., 2])
    np.testing.assert_array_equal(turned.pose[:, :2], some.meshes.pose[:, :2])
    lean = (some.meshes.pose[:, 2] - turned.pose[:, 2] - 90 * turns) % 360
    assert np.minimum(lean, 360 - lean).max() < 1e-3
    assert np.abs(turned.pose[:, 2]).max() <= 180
    back = geometry.rotate90(geometry.rotate90(some, 640, 480, 1), 480, 640, -1).meshes
    assert back is not None
    np.testing.assert_allclose(back.vertices, some.meshes.vertices, atol=1e-3)
