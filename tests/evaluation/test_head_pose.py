from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import torch

from facesmith.detectors.retinaface.mesh.camera import head_pose
from facesmith.errors import LabelError
from facesmith.evaluation import landmarks
from facesmith.evaluation.head_pose import in_labels_convention, pose_figures
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces
from facesmith.meshes import Meshes

Array = npt.NDArray[np.float64]


def theirs(pitch: float, yaw: float, roll: float) -> Array:
    """3DDFA's rotation matrix of angles in degrees, written out."""
    x, y, z = np.radians([pitch, yaw, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.array(rx @ ry @ rz)


def ours(rotation: Array) -> Array:
    """Yaw, pitch, roll that a mesh has whose head is turned so."""
    return head_pose(torch.from_numpy(rotation)[None])[0].numpy()


def test_single_turns() -> None:
    np.testing.assert_allclose(in_labels_convention([[20.0, 0, 0]]), [[0, -20, 0]], atol=1e-9)
    np.testing.assert_allclose(in_labels_convention([[0.0, 20, 0]]), [[20, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(in_labels_convention([[0.0, 0, 20]]), [[0, 0, 20]], atol=1e-9)


def test_what_the_labels_angles_mean() -> None:
    """A nose that points out of the picture: to the left at a yaw above 0, up at a pitch above 0."""
    nose = np.array([0.0, 0, 1])
    assert (theirs(0, 30, 0) @ nose)[0] < 0
    assert (theirs(30, 0, 0) @ nose)[1] > 0
    assert (theirs(0, 0, 30) @ np.array([1.0, 0, 0]))[1] < 0


@pytest.mark.parametrize("angles", np.random.default_rng(0).uniform(-70, 70, (8, 3)).tolist())
def test_there_and_back(angles: list[float]) -> None:
    found = in_labels_convention(ours(theirs(*angles)))
    np.testing.assert_allclose(found, [angles], atol=1e-5)


def test_figures_by_hand() -> None:
    labelled = np.array([[0.0, 0, 0], [10, 20, -175 + 100], [0, 120, 0], [5, 5, 5]])
    found = np.array([[1.0, 2, 3], [13, 20, -75], [0, 0, 0], [np.nan] * 3])
    figures = pose_figures(found, labelled)
    assert figures == pytest.approx({"pose_pitch": 2, "pose_yaw": 1, "pose_roll": 1.5, "pose_mean": 1.5})
    assert pose_figures(np.array([[-179.0, 0, 0]]), np.array([[90.0, 0, 0]]))["pose_pitch"] == pytest.approx(91)
    assert pose_figures(found[2:], labelled[2:]) == {}


class TestFolder:
    """Labels as AFLW2000-3D's .mat files, predictions as a detector's faces."""

    def truth(self, folder: Path, angles: list[list[float]]) -> landmarks.Truth:
        rng = np.random.default_rng(0)
        for i, one in enumerate(angles):
            pose = np.array([[*np.radians(one), 0, 0, 0, 1]])
            points = rng.uniform(100, 200, (3, 68))
            scipy.io.savemat(folder / f"image{i:05}.mat", {"pt3d_68": points, "Pose_Para": pose})
        return landmarks.load_truth(folder, landmarks.AFLW2000_3D)

    def faces(self, truth: landmarks.Truth, row: int, angles: list[float]) -> Faces:
        """The labelled face, and one beside it that looks elsewhere and must not be judged."""
        points = np.stack([truth.points[row] + 500, truth.points[row]]).astype(np.float32)
        meshes = Meshes(
            vertices=np.zeros((2, 4, 3), np.float32),
            triangles=np.array([[0, 1, 2]]),
            colours=np.zeros((2, 4, 3), np.float32),
            landmarks68=np.dstack([points, np.zeros((2, 68), np.float32)]),
            pose=np.stack([[80.0, 80, 80], ours(theirs(*angles))]).astype(np.float32),
        )
        boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        return Faces(boxes, np.array([0.9, 0.8], np.float32), meshes=meshes)

    def test_poses_of_meshes(self, tmp_path: Path) -> None:
        truth = self.truth(tmp_path, [[10, -40, 5], [0, 70, 0]])
        found = {
            "image00000": self.faces(truth, 0, [12, -40, 5]),
            "image00001": self.faces(truth, 1, [0, 66, 0]),
        }
        metrics = landmarks.evaluate(found, truth, provenance=Provenance("test")).metrics
        expected = {"pose_pitch": 1, "pose_yaw": 2, "pose_roll": 0, "pose_mean": 1}
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-3)
        part = truth.subset(["image00001"])
        one = landmarks.evaluate({"image00001": found["image00001"]}, part, provenance=Provenance("test")).metrics
        assert one["pose_yaw"] == pytest.approx(4, abs=1e-3)

    def test_points_alone_have_no_pose(self, tmp_path: Path) -> None:
        truth = self.truth(tmp_path, [[10, -40, 5]])
        found = {"image00000": truth.points[0]}
        assert not any("pose" in name for name in landmarks.evaluate(found, truth, provenance=Provenance("x")).metrics)

    def test_labels_without_angles(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="Pose_Para must begin with finite pitch, yaw and roll"):
            self.truth(tmp_path, [[10, np.nan, 5]])
