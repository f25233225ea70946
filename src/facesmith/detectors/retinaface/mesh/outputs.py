"""144 parameters a face -> what a user of the mesh wants: places in image pixels, landmarks, pose.

Plain tensor code: it is exported inside a detector's graph.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from facesmith.detectors.retinaface.mesh.camera import CAMERA_PARAMETERS, Camera, head_pose
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.lighting import ILLUMINATION_PARAMETERS, Illumination
from facesmith.detectors.retinaface.mesh.loss import squares
from facesmith.detectors.retinaface.mesh.template import landmarks68


class Parameters(NamedTuple):
    """What a head predicts for K faces, taken apart.

    Attributes:
        face: (K, 128) shape and texture, P_ST.
        camera: P_cam.
        illumination: P_ill.
    """

    face: Tensor
    camera: Camera
    illumination: Illumination


class DenseFaces(NamedTuple):
    """K faces in their images.

    Attributes:
        vertices: (K, n, 3) x, y in image pixels; z in pixels too, towards the viewer, 0 at the head's centre.
        colours: (K, n, 3) albedo r, g, b of the vertices, 0 … 1.
        landmarks68: (K, 68, 3) the vertices of the 68 landmarks in 300-W's order.
        landmarks: (K, 5, 2) left eye, right eye, nose, left mouth corner, right mouth corner (left in the image).
        pose: (K, 3) yaw, pitch, roll in degrees (``camera.head_pose``).
    """

    vertices: Tensor
    colours: Tensor
    landmarks68: Tensor
    landmarks: Tensor
    pose: Tensor


def parameter_count(latent: int) -> int:
    """Numbers that describe a face in its picture: P_ST, P_cam and P_ill; 144."""
    return latent + CAMERA_PARAMETERS + ILLUMINATION_PARAMETERS


def split_parameters(parameters: Tensor, latent: int = 128) -> Parameters:
    """(K, latent + 7 + 9) -> its three parts."""
    sizes = [latent, CAMERA_PARAMETERS, ILLUMINATION_PARAMETERS]
    face, camera, light = torch.split_with_sizes(parameters, sizes, dim=1)
    return Parameters(face, Camera.from_parameters(camera), Illumination.from_parameters(light))


def five_landmarks(points: Tensor) -> Tensor:
    """(K, 68, d) -> (K, 5, d): eye centres, nose tip, mouth corners."""
    eyes = [points[:, 36:42].mean(dim=1), points[:, 42:48].mean(dim=1)]
    return torch.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], dim=1)


def to_image(camera: Camera, vertices: Tensor, boxes: Tensor) -> Tensor:
    """(K, n, 3) mesh vertices seen by ``camera`` in the squares of (K, 4) ``boxes`` -> (K, n, 3) image pixels.

    z is scaled as lengths at the head's centre are.
    """
    centre, half = squares(boxes)
    world = camera.to_world(vertices)
    plane = camera.project(world)[..., :2] * half[:, None, None] + centre[:, None]
    pixels = half * camera.focal / camera.location[:, 2]
    return torch.cat([plane, world[..., 2:] * pixels[:, None, None]], dim=-1)


class DenseOutput(nn.Module):
    """Decoder, camera and landmarks in one: parameters and boxes -> :class:`DenseFaces`."""

    landmark_vertices: Tensor

    def __init__(self, decoder: MeshDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        vertices = torch.from_numpy(landmarks68(decoder.config.topology.finest))
        self.register_buffer("landmark_vertices", vertices, persistent=False)

    def forward(self, parameters: Tensor, boxes: Tensor) -> DenseFaces:
        """(K, 144) and the (K, 4) boxes that the camera parameters refer to (the anchors), in pixels."""
        split = split_parameters(parameters, self.decoder.config.latent)
        faces = self.decoder(split.face)
        vertices = to_image(split.camera, faces[..., :3], boxes)
        points = vertices[:, self.landmark_vertices]
        pose = head_pose(split.camera.rotation)
        return DenseFaces(vertices, faces[..., 3:].clamp(0, 1), points, five_landmarks(points)[..., :2], pose)
