"""Outlines hold their mesh and little else; they move with their face."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facesmith.anonymize.outlines import moved, outlines, scaled


def sphere(rows: int = 40, columns: int = 60) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The front half of a ball of radius 1: vertices (V, 3) and triangles (f, 3)."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi / 2, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    points = np.stack((np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)), axis=-1)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]))
    return points.reshape(-1, 3), np.concatenate((np.stack((a, b, c), 1), np.stack((b, c, d), 1)))


def union(vertices: npt.NDArray[np.float64], triangles: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """(400, 400), what the projected triangles cover."""
    covered = np.zeros((400, 400), np.uint8)
    for triangle in vertices[triangles, :2]:
        cv2.fillConvexPoly(covered, np.round((triangle - 0.5) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    return covered > 0


def filled(curve: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    covered = np.zeros((400, 400), np.uint8)
    cv2.fillPoly(covered, [np.round((curve - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return covered > 0


def head(yaw: float, roll: float) -> npt.NDArray[np.float64]:
    """A face-like relief: a ball with a nose, longer than wide, turned."""
    vertices, _ = sphere()
    nose = np.exp(-((vertices[:, 0] / 0.15) ** 2) - ((vertices[:, 1] / 0.3) ** 2))
    vertices = vertices * (0.75, 1, 0.7) + np.outer(nose, (0, 0, 0.5))
    y, r = np.radians((yaw, roll))
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turned: npt.NDArray[np.float64] = vertices @ (about_z @ about_y).T * (120, 120, 120) + (200, 190, 0)
    return turned


@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (30, 0), (-60, 20), (85, -70), (0, 180)])
def test_the_outline_holds_the_mesh_and_little_else(yaw: float, roll: float) -> None:
    vertices, (_, triangles) = head(yaw, roll), sphere()
    mesh = union(vertices, triangles)
    curve = outlines(vertices[None].astype(np.float32))[0]
    inside = filled(curve)
    assert (mesh & ~inside).sum() < 0.002 * mesh.sum()
    hull = filled(cv2.convexHull(vertices[:, :2].astype(np.float32))[:, 0])
    assert inside.sum() < 1.06 * hull.sum()
    components, _ = cv2.connectedComponents(1 - inside.astype(np.uint8))
    assert components == 2  # inside and one outside: no holes
    assert curve.shape == (64, 2)


def test_many_at_once_are_as_one_by_one() -> None:
    meshes = np.stack([head(0, 0), head(40, 10), head(-20, 90) * 0.3]).astype(np.float32)
    together = outlines(meshes)
    for mesh, curve in zip(meshes, together, strict=True):
        assert outlines(mesh[None])[0] == pytest.approx(curve)
    assert outlines(np.zeros((0, 9, 3), np.float32)).shape == (0, 64, 2)


def test_outlines_move_with_their_box() -> None:
    curve = np.array([[[10, 10], [20, 10], [15, 30]]], np.float32)
    before, after = np.array([[10, 10, 20, 30]], np.float32), np.array([[100, 50, 120, 60]], np.float32)
    assert moved(curve, before, after).tolist() == [[[100, 50], [120, 50], [110, 60]]]
    assert moved(curve, before, before) == pytest.approx(curve)


def test_scaled() -> None:
    curve = np.array([[10, 10], [20, 10], [15, 30]], np.float32)
    larger = scaled(curve, 0.1)
    assert larger.tolist() == [pytest.approx(point) for point in ([9, 8], [21, 8], [15, 32])]
    assert scaled(curve, 0) == pytest.approx(curve)
