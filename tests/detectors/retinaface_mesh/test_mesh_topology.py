import numpy as np
import pytest

from facesmith.detectors.retinaface.mesh.template import (
    face_plane,
    landmark_places,
    landmarks68,
    template_vertices,
)
from facesmith.detectors.retinaface.mesh.topology import Level, Topology
from facesmith.errors import ConfigError

FULL = Topology.build()
SMALL = Topology.build(2, 2)


def test_sizes_of_the_usual_mesh() -> None:
    assert [len(level) for level in FULL.levels] == [3169, 817, 217, 61, 19]
    assert [len(level.triangles) for level in FULL.levels] == [6144, 1536, 384, 96, 24]


def test_a_hexagon_is_a_disc_of_triangles_turned_to_the_viewer() -> None:
    for level in SMALL.levels:
        assert len(level) == len(level.lattice) == level.triangles.max() + 1
        assert len(level) - len(level.edges) + len(level.triangles) == 1  # Euler: a disc
        a, b, c = level.disc[level.triangles].transpose(1, 0, 2)
        area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        assert (area > 0).all()
        assert np.isclose(np.linalg.norm(level.disc, axis=1).max(), 1)


def test_vertices_are_numbered_from_the_bottom_and_the_left() -> None:
    assert Level(1).lattice.tolist() == [[0, -1], [1, -1], [-1, 0], [0, 0], [1, 0], [-1, 1], [0, 1]]
    assert Level(1).index(Level(1).lattice).tolist() == list(range(7))


def test_mirroring_swaps_sides_and_keeps_triangles() -> None:
    level = SMALL.finest
    assert (level.mirrored[level.mirrored] == np.arange(len(level))).all()
    assert np.allclose(level.disc[level.mirrored], level.disc * (-1, 1))
    flipped = {frozenset(t) for t in level.mirrored[level.triangles].tolist()}
    assert flipped == {frozenset(t) for t in level.triangles.tolist()}


def test_triangles_around_vertices() -> None:
    level = SMALL.finest
    for vertex, around in enumerate(level.vertex_triangles):
        real = around[around < len(level.triangles)]
        assert sorted(real) == np.flatnonzero((level.triangles == vertex).any(axis=1)).tolist()


def test_laplacian_against_its_definition() -> None:
    level = Level(2)
    adjacency = np.zeros((19, 19))
    for a, b, c in level.triangles:
        adjacency[[a, b, c, b, c, a], [b, c, a, a, b, c]] = 1
    degree = adjacency.sum(axis=1)
    assert sorted(degree) == [3] * 6 + [4] * 6 + [6] * 7
    expected = np.eye(19) - adjacency / np.sqrt(degree[:, None] * degree)
    assert np.allclose(level.laplacian.toarray(), expected)
    assert np.allclose(level.scaled_laplacian.toarray(), expected - np.eye(19))
    values = np.linalg.eigvalsh(level.laplacian.toarray())
    assert values.min() > -1e-9
    assert values.max() < 2


@pytest.mark.parametrize("topology", [SMALL, FULL], ids=["small", "full"])
def test_pooling_selects_and_unpooling_puts_vertices_on_edges(topology: Topology) -> None:
    for pooling, (fine, coarse) in enumerate(zip(topology.levels, topology.levels[1:], strict=False)):
        down, up = topology.down(pooling), topology.up(pooling)
        assert (fine.lattice[fine.kept] == 2 * coarse.lattice).all()
        assert abs((down @ up).toarray() - np.eye(len(coarse))).max() == 0
        assert np.allclose(up.sum(axis=1), 1)
        assert np.allclose(up @ coarse.lattice * 2, fine.lattice)  # linear functions survive
        middle = up.tocoo().data == 0.5
        pairs = up.tocoo().col[middle].reshape(-1, 2)
        assert {tuple(sorted(p)) for p in pairs.tolist()} == {tuple(e) for e in coarse.edges.tolist()}


def test_built_once_and_only_with_sensible_sizes() -> None:
    assert Topology.build(2, 2) is SMALL
    with pytest.raises(ConfigError, match="at least 1 ring"):
        Topology.build(0, 2)


def test_template_is_symmetric_and_does_not_fold() -> None:
    level = FULL.finest
    plane = face_plane(level)
    a, b, c = plane[level.triangles].transpose(1, 0, 2)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).all()
    vertices = template_vertices(level)
    assert np.allclose(vertices[level.mirrored], vertices * (-1, 1, 1))
    assert np.allclose(vertices.mean(axis=0), 0)


def test_landmarks_are_different_near_and_mirrored_vertices() -> None:
    level = FULL.finest
    places, vertices = landmark_places(), landmarks68(level)
    assert len(set(vertices.tolist())) == 68
    apart = np.linalg.norm(face_plane(level)[vertices] - places, axis=1)
    assert apart.max() < 0.03  # 3 mm, a vertex apart
    mirror = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    mirror += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    mirror += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    assert np.allclose(places[mirror], places * (-1, 1))
    assert (level.mirrored[vertices] == vertices[mirror]).all()


def test_the_nose_is_what_comes_nearest() -> None:
    level = FULL.finest
    vertices, points = template_vertices(level), landmarks68(level)
    assert np.linalg.norm(vertices[vertices[:, 2].argmax()] - vertices[points[30]]) < 0.05
    assert (vertices[points[36:48], 1] > vertices[points[30], 1]).all()  # eyes above
    assert (vertices[points[48:], 1] < vertices[points[30], 1]).all()  # mouth below
