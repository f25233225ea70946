"""Coloured meshes, cameras and lights -> pictures, differentiable in all of them (RetinaFace, section 3.2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from facesmith.detectors.retinaface.mesh.camera import Camera
from facesmith.detectors.retinaface.mesh.lighting import Illumination, shade, vertex_normals
from facesmith.detectors.retinaface.mesh.rasteriser import rasterise
from facesmith.detectors.retinaface.mesh.topology import Level


class Rendering(NamedTuple):
    """B pictures.

    Attributes:
        colours: (B, 3, S, S); about 0 … 1, not clipped; 0 where no mesh is.
        mask: (B, S, S) bool; where the mesh is seen.
        distance: (B, S, S) from the camera along its axis in units of 10 cm; 0 where no mesh is.
    """

    colours: Tensor
    mask: Tensor
    distance: Tensor


class Renderer(nn.Module):
    """Draws meshes of one topology.

    Position, normal and albedo are interpolated over each triangle and then shaded pixel by pixel, as in Genova et
    al. 2018. Gradients reach vertices, colours, camera and light; the choice of the triangle has none.
    """

    triangles: Tensor
    vertex_triangles: Tensor

    def __init__(self, level: Level) -> None:
        super().__init__()
        self.register_buffer("triangles", torch.from_numpy(level.triangles), persistent=False)
        self.register_buffer("vertex_triangles", torch.from_numpy(level.vertex_triangles), persistent=False)

    def forward(self, faces: Tensor, camera: Camera, illumination: Illumination, size: int) -> Rendering:
        """(B, n, 6) x, y, z, r, g, b -> pictures of ``size`` × ``size`` pixels."""
        world = camera.to_world(faces[..., :3])
        normals = vertex_normals(world, self.triangles, self.vertex_triangles)
        projected = camera.project(world)
        fragments = rasterise(projected, self.triangles, size, size)
        attributes = torch.cat([world, normals, faces[..., 3:], projected[..., 2:]], dim=-1)
        interpolated = fragments.interpolate(attributes)
        position, normal, albedo, distance = torch.split_with_sizes(interpolated, [3, 3, 3, 1], dim=1)
        light = Illumination(*(part[fragments.face] for part in vars(illumination).values()))
        values = torch.cat([shade(position, normal, albedo, light), distance], dim=1)
        where = fragments.face * (size * size) + fragments.pixel
        canvas = values.new_zeros(len(faces) * size * size, 4).index_copy(0, where, values)
        picture = canvas.reshape(len(faces), size, size, 4)
        mask = torch.zeros(len(canvas), dtype=torch.bool, device=faces.device)
        mask[where] = True
        return Rendering(picture[..., :3].permute(0, 3, 1, 2), mask.reshape(-1, size, size), picture[..., 3])
