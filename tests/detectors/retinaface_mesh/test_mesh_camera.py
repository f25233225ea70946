import math

import pytest
import torch

from facesmith.detectors.retinaface.mesh.camera import Camera, head_pose, rotation_matrix


def camera(**values: list[float]) -> Camera:
    places = {"location": (0, 3), "pose": (3, 6), "focal": (6, 7)}
    parameters = torch.zeros(1, 7)
    for name, value in values.items():
        parameters[0, slice(*places[name])] = torch.tensor(value)
    return Camera.from_parameters(parameters)


def test_rotations_are_rotations_and_match_the_exponential() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(8, 3, dtype=torch.float64)
    x, y, z = vectors.T
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    assert torch.allclose(rotation_matrix(vectors), torch.linalg.matrix_exp(cross), atol=1e-9)


def test_rotation_is_smooth_at_no_turn() -> None:
    vector = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(rotation_matrix(vector)[0], torch.eye(3, dtype=torch.float64))
    assert torch.autograd.gradcheck(rotation_matrix, (vector,), eps=1e-4, atol=1e-6)


@pytest.mark.parametrize(("axis", "number", "sign"), [(1, 0, 1), (0, 1, -1), (2, 2, -1)], ids=["yaw", "pitch", "roll"])
def test_head_pose_of_single_turns(axis: int, number: int, sign: int) -> None:
    vectors = torch.zeros(3, 3)
    vectors[:, axis] = torch.tensor([-60.0, 10.0, 60.0]) * math.pi / 180
    expected = torch.zeros(3, 3)
    expected[:, number] = sign * torch.tensor([-60.0, 10.0, 60.0])
    assert torch.allclose(head_pose(rotation_matrix(vectors)), expected, atol=1e-3)


def test_head_pose_undoes_the_three_turns() -> None:
    torch.manual_seed(0)
    angles = (torch.rand(16, 3) - 0.5) * torch.tensor([170.0, 340.0, 340.0])
    yaw, pitch, roll = angles.T * math.pi / 180
    none = torch.zeros_like(yaw)
    turns = [(none, none, -roll), (none, yaw, none), (-pitch, none, none)]
    z, y, x = (rotation_matrix(torch.stack(turn, dim=1)) for turn in turns)
    assert torch.allclose(head_pose(z @ y @ x), angles, atol=0.02)


def test_what_turning_means_in_the_picture() -> None:
    nose, top = torch.tensor([[[0.0, 0.0, 1.0]]]), torch.tensor([[[0.0, 1.0, 0.0]]])
    right = camera(pose=[0, 0.5, 0])
    assert right.project(right.to_world(nose))[0, 0, 0] > 0.3
    assert head_pose(right.rotation)[0, 0] > 0
    up = camera(pose=[-0.5, 0, 0])
    assert up.project(up.to_world(nose))[0, 0, 1] < -0.3
    assert head_pose(up.rotation)[0, 1] > 0
    clockwise = camera(pose=[0, 0, -0.5])
    assert clockwise.project(clockwise.to_world(top))[0, 0, 0] > 0.3
    assert head_pose(clockwise.rotation)[0, 2] > 0


def test_projection_by_hand() -> None:
    one = Camera(torch.tensor([[1.0, 2.0, 10.0]]), torch.zeros(1, 3), torch.tensor([3.0]))
    projected = one.project(torch.tensor([[[1.0, 2.0, 0.0], [2.0, 4.0, 4.0], [1.0, 2.0, 11.0]]]))
    assert torch.allclose(projected[0, :2], torch.tensor([[0.0, 0.0, 10.0], [0.5, -1.0, 6.0]]))
    assert projected[0, 2, 2] > 0  # behind the camera: kept finite


def test_zero_parameters_fill_the_crop() -> None:
    corners = torch.tensor([[[-0.75, -1.05, 0.0], [0.75, 1.05, 0.0]]])
    x, y, distance = camera().project(corners)[0].T
    assert 0.6 < x[1] < 1
    assert 0.9 < y[0] < 1.05
    assert torch.allclose(distance, torch.tensor(8.0))


def test_moving_the_camera() -> None:
    centre = torch.zeros(1, 1, 3)
    assert torch.allclose(camera(location=[0.5, 0, 0]).project(centre)[0, 0, :2], torch.tensor([-0.5, 0.0]))
    assert torch.allclose(camera(location=[0, 0.5, 0]).project(centre)[0, 0, :2], torch.tensor([0.0, 0.5]))
    assert camera(location=[0, 0, 9.0]).location[0, 2] < 100  # held
    assert camera(focal=[1.0]).focal > camera().focal
