import numpy as np
import pytest
import torch

from facesmith.detectors.retinaface.mesh.camera import Camera, head_pose, rotation_matrix
from facesmith.detectors.retinaface.mesh.outputs import to_image
from facesmith.detectors.retinaface.mesh.pose import pose_of_vertices
from facesmith.detectors.retinaface.mesh.template import template_vertices
from facesmith.detectors.retinaface.mesh.topology import Level
from facesmith.errors import ConfigError

REFERENCE = template_vertices(Level(8))


def test_turned_faces_of_any_size_and_place() -> None:
    torch.manual_seed(0)
    rotation = rotation_matrix(torch.randn(20, 3, dtype=torch.float64))
    turned = torch.from_numpy(REFERENCE) @ rotation.transpose(1, 2)
    sizes, places = torch.rand(20, 1, 1) * 50 + 5, torch.rand(20, 1, 3) * 500
    seen = (turned * sizes * torch.tensor([1, -1, 1]) + places).numpy()
    assert np.allclose(pose_of_vertices(seen, REFERENCE), head_pose(rotation).numpy(), atol=1e-4)


def test_it_agrees_with_the_camera_but_for_perspective() -> None:
    parameters = torch.zeros(3, 7)
    parameters[:, 3:6] = torch.tensor([[0.0, 0.4, 0.0], [-0.3, 0.0, 0.0], [0.1, -0.3, 0.5]])
    camera = Camera.from_parameters(parameters)
    vertices = torch.from_numpy(REFERENCE).float().expand(3, -1, -1)
    seen = to_image(camera, vertices, torch.tensor([[10.0, 20.0, 110.0, 120.0]]).expand(3, 4))
    assert np.abs(pose_of_vertices(seen.numpy(), REFERENCE) - head_pose(camera.rotation).numpy()).max() < 3


def test_faces_that_differ_in_shape_still_have_a_pose() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, REFERENCE.shape)
    assert np.abs(pose_of_vertices(((REFERENCE + noise) * (1, -1, 1))[None], REFERENCE)).max() < 1


def test_no_faces() -> None:
    assert pose_of_vertices(np.zeros((0, *REFERENCE.shape)), REFERENCE).shape == (0, 3)


def test_another_mesh_fails() -> None:
    with pytest.raises(ConfigError, match="pose needs"):
        pose_of_vertices(np.zeros((1, 5, 3)), REFERENCE)
