"""The 7 camera parameters of RetinaFace: where a mesh lies in the crop, and how the head is turned.

Frames, all in units of 10 cm: the mesh's own (x right, y up, z out of the face); the world, in which the head is
turned by ``pose`` about its centre; the camera's, which is the world's seen from ``location``, looking along -z.
Normalised image coordinates are x right, y **down**, -1 … 1 over the crop.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

CAMERA_PARAMETERS = 7

_DISTANCE = 8.0
_FOCAL = 7.4
_NEAR = 0.5
"""Nearest distance of a vertex; what would be nearer is held there, so that no division overflows."""


@dataclass(frozen=True, eq=False)
class Camera:
    """P_cam = [x_c, y_c, z_c, x'_c, y'_c, z'_c, f_c] of B faces.

    The paper moves the camera around a face that stands still. Here the pose turns the head instead, which is the
    same picture with the turn and the place in the crop kept apart: a better-behaved target for regression.

    Attributes:
        location: (B, 3) camera location in the world.
        pose: (B, 3) rotation vector (axis times angle in radians) that turns the head.
        focal: (B,) focal length in half sides of the crop; 1 / tan(fov / 2).
    """

    location: Tensor
    pose: Tensor
    focal: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> Self:
        """(B, 7) what a head predicts; zeros are a face from the front that fills the crop.

        Location and focal length are relative to a camera 80 cm away: x and y in half sides of the crop, distance
        and focal length by their logarithm.
        """
        half_side = _DISTANCE / _FOCAL
        distance = _DISTANCE * torch.exp(parameters[:, 2].clamp(-2, 2))
        location = torch.cat([parameters[:, :2] * half_side, distance[:, None]], dim=1)
        return cls(location, parameters[:, 3:6], _FOCAL * torch.exp(parameters[:, 6].clamp(-2, 2)))

    @property
    def rotation(self) -> Tensor:
        """(B, 3, 3) matrix R of the pose: world = R · mesh."""
        return rotation_matrix(self.pose)

    def to_world(self, vertices: Tensor) -> Tensor:
        """(B, n, 3) mesh -> (B, n, 3) world."""
        return vertices @ self.rotation.transpose(1, 2)

    def project(self, world: Tensor) -> Tensor:
        """(B, n, 3) world -> (B, n, 3): normalised x, y, and the distance along the viewing axis, above 0."""
        seen = world - self.location[:, None]
        distance = (-seen[..., 2:]).clamp_min(_NEAR)
        flip = seen.new_tensor([1.0, -1.0])
        return torch.cat([seen[..., :2] * flip * self.focal[:, None, None] / distance, distance], dim=-1)


def rotation_matrix(vectors: Tensor) -> Tensor:
    """(B, 3) axis times angle in radians -> (B, 3, 3) (Rodrigues); smooth at 0."""
    angle = (vectors.square().sum(dim=1) + 1e-12).sqrt()[:, None, None]
    x, y, z = vectors.unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return identity + torch.sin(angle) / angle * cross + (1 - torch.cos(angle)) / angle.square() * (cross @ cross)


def head_pose(rotation: Tensor) -> Tensor:
    """(B, 3, 3) -> (B, 3) yaw, pitch, roll in degrees.

    R = Rz(-roll) · Ry(yaw) · Rx(-pitch): yaw is positive for a face turned to the right of the image, pitch for one
    that looks up, roll for one that leans clockwise in the image. Yaw is in [-90, 90], the others in [-180, 180].
    """
    yaw = torch.asin((-rotation[:, 2, 0]).clamp(-1, 1))
    pitch = -torch.atan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = -torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return torch.stack([yaw, pitch, roll], dim=1) * (180 / math.pi)
