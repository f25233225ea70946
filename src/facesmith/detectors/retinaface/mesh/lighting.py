"""The 9 illumination parameters of RetinaFace: one point light and ambient light; normals and shading."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

ILLUMINATION_PARAMETERS = 9


@dataclass(frozen=True, eq=False)
class Illumination:
    """P_ill = [x_l, y_l, z_l, r_l, g_l, b_l, r_a, g_a, b_a] of B faces.

    Attributes:
        location: (B, 3) place of the light in the world (units of 10 cm).
        colour: (B, 3) of the light, at least 0.
        ambient: (B, 3) colour of the light from everywhere, at least 0.
    """

    location: Tensor
    colour: Tensor
    ambient: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> Self:
        """(B, 9) what a head predicts; zeros are weak white light from the camera over strong ambient light."""
        start = parameters.new_tensor([0.0, 2.0, 8.0])
        shift = parameters.new_tensor([-1.0, 0.5])  # softplus gives 0.31 and 0.97
        return cls(
            start + 4 * parameters[:, :3],
            F.softplus(parameters[:, 3:6] + shift[0]),
            F.softplus(parameters[:, 6:] + shift[1]),
        )


def vertex_normals(vertices: Tensor, triangles: Tensor, vertex_triangles: Tensor) -> Tensor:
    """Unit normals, each the area-weighted mean of the triangles around the vertex.

    Args:
        vertices: (B, n, 3).
        triangles: (f, 3) vertex numbers, counter-clockwise from outside.
        vertex_triangles: (n, d) triangles around each vertex, f where there are fewer (``Level.vertex_triangles``).

    Returns:
        (B, n, 3).
    """
    a, b, c = (vertices[:, triangles[:, i]] for i in range(3))
    faces = torch.linalg.cross(b - a, c - a, dim=-1)
    faces = F.pad(faces, (0, 0, 0, 1))  # the triangle that is not there
    return F.normalize(faces[:, vertex_triangles].sum(dim=2), dim=-1, eps=1e-12)


def shade(position: Tensor, normal: Tensor, albedo: Tensor, illumination: Illumination) -> Tensor:
    """Diffuse shading of Genova et al. 2018: ambient · albedo + albedo · max(n · l, 0) · light.

    Args:
        position: (B, ..., 3) in the world.
        normal: (B, ..., 3) in the world, any length above 0.
        albedo: (B, ..., 3).
        illumination: of the B faces.

    Returns:
        (B, ..., 3) colours, not clipped.
    """
    shape = (len(position), *(1,) * (position.ndim - 2), 3)
    light = F.normalize(illumination.location.reshape(shape) - position, dim=-1, eps=1e-6)
    cosine = (F.normalize(normal, dim=-1, eps=1e-6) * light).sum(dim=-1, keepdim=True).clamp_min(0)
    return albedo * (illumination.ambient.reshape(shape) + cosine * illumination.colour.reshape(shape))
