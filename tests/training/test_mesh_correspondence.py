import numpy as np
import pytest

from facesmith.detectors.retinaface.mesh.template import face_plane, landmarks68
from facesmith.detectors.retinaface.mesh.topology import Level
from facesmith.errors import LabelError
from facesmith.training.mesh_correspondence import FlatMesh, boundary_loops, resampling_matrix, thin_plate_spline

OURS, OTHER = Level(32), Level(40)
PLANE = face_plane(OTHER) * (0.4, -0.3) + (0.5, 0.5)
"""Somebody's texture plane: scaled, shifted and upside down."""


def test_spline_goes_through_its_points_and_keeps_affine_maps() -> None:
    generator = np.random.default_rng(0)
    sources, targets = generator.random((9, 2)), generator.random((9, 2))
    assert np.allclose(thin_plate_spline(sources, targets, sources), targets)
    matrix, points = np.array([(2.0, 1.0), (-0.5, 3.0)]), generator.random((5, 2))
    assert np.allclose(thin_plate_spline(sources, sources @ matrix + 4, points), points @ matrix + 4)


def test_boundaries() -> None:
    level = Level(3)
    (outline,) = boundary_loops(level.triangles, len(level))
    assert set(outline.ravel()) == set(np.flatnonzero(np.isclose(np.linalg.norm(level.disc, axis=1), 1)))
    middle = level.index(np.array([0, 0]))
    holed = level.triangles[(level.triangles != middle).all(axis=1)]
    loops = sorted(boundary_loops(holed, len(level)), key=len)
    assert [len(loop) for loop in loops] == [6, 18]
    assert np.allclose(np.linalg.norm(level.disc[loops[0][:, 0]], axis=1), 1 / 3)


def test_the_same_face_on_another_mesh() -> None:
    matrix = resampling_matrix(OURS, FlatMesh(PLANE, OTHER.triangles, landmarks68(OTHER)))
    assert matrix.shape == (len(OURS), len(OTHER))
    assert np.allclose(matrix.sum(axis=1), 1)
    assert matrix.data.min() >= 0
    landed = matrix @ face_plane(OTHER)
    assert np.linalg.norm(landed - face_plane(OURS), axis=1).max() < 0.06  # landmarks differ by up to a vertex
    assert np.allclose(landed[landmarks68(OURS)], face_plane(OTHER)[landmarks68(OTHER)], atol=1e-6)


def test_holes_are_closed() -> None:
    eye = np.linalg.norm(face_plane(OTHER) - (-0.3, 0.3), axis=1) < 0.07
    triangles = OTHER.triangles[~eye[OTHER.triangles].any(axis=1)]
    matrix = resampling_matrix(OURS, FlatMesh(PLANE, triangles, landmarks68(OTHER)))
    assert np.allclose(matrix.sum(axis=1), 1)
    assert abs(matrix[:, eye]).sum() == 0  # nothing is read from vertices that are not there
    inside = np.linalg.norm(face_plane(OURS) - (-0.3, 0.3), axis=1) < 0.05
    assert np.linalg.norm((matrix @ face_plane(OTHER) - face_plane(OURS))[inside], axis=1).max() < 0.06


def test_closed_meshes_fail() -> None:
    tetrahedron = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
    with pytest.raises(LabelError, match="closed"):
        resampling_matrix(OURS, FlatMesh(np.zeros((4, 2)), tetrahedron, np.zeros(68, np.int64)))
