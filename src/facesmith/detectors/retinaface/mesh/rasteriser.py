"""Which triangle is seen in each pixel, and where in it the pixel lies.

The first question has no gradient and is answered with a z-buffer; the second is differentiable. As in Genova et
al. 2018 gradients flow through the barycentric coordinates with the triangle held fixed, so silhouettes have none.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_FRAGMENTS = 1 << 22
"""Pixel candidates that are tested at a time: about 300 MB."""

_LEAST_AREA = 1e-6
"""Square pixels (twice the area) below which a triangle is seen edge-on and skipped."""

_EDGE = -1e-5
"""Barycentric coordinate still counted as inside, so that rounding opens no gap between neighbours."""


class Fragments(NamedTuple):
    """The P pixels of B pictures in which a mesh is seen.

    Attributes:
        face: (P,) number of the picture.
        pixel: (P,) row · width + column.
        vertices: (P, 3) vertex numbers of the triangle that is seen there.
        weights: (P, 3) perspective-correct barycentric coordinates; they sum to 1. Differentiable.
    """

    face: Tensor
    pixel: Tensor
    vertices: Tensor
    weights: Tensor

    def interpolate(self, attributes: Tensor) -> Tensor:
        """(B, n, C) values at vertices -> (P, C) values at pixels."""
        corners = attributes[self.face[:, None], self.vertices]
        return (corners * self.weights[..., None]).sum(dim=1)


def rasterise(projected: Tensor, triangles: Tensor, height: int, width: int) -> Fragments:
    """The nearest triangle of each pixel, of both orientations; pixel (0, 0) has its centre at (.5, .5).

    Args:
        projected: (B, n, 3) normalised x, y (-1 … 1 over the picture, y down) and distance above 0.
        triangles: (f, 3) vertex numbers.
        height: of the pictures in pixels.
        width: of the pictures in pixels.
    """
    half = projected.new_tensor([width / 2, height / 2])
    points = (projected[..., :2] + 1) * half
    distance = projected[..., 2]
    seen = visible_triangles(points.detach(), distance.detach(), triangles, height, width)
    place = seen.flatten().ge(0).nonzero().squeeze(1)
    face, pixel = place // (height * width), place % (height * width)
    vertices = triangles[seen.flatten()[place]]
    corners = points[face[:, None], vertices]
    centre = torch.stack([pixel % width, pixel // width], dim=1) + 0.5
    flat = _barycentric(corners, centre.to(points.dtype))
    weights = flat / distance[face[:, None], vertices]
    return Fragments(face, pixel, vertices, weights / weights.sum(dim=1, keepdim=True))


@torch.no_grad()
def visible_triangles(points: Tensor, distance: Tensor, triangles: Tensor, height: int, width: int) -> Tensor:
    """(B, height, width) int64 numbers of the nearest triangles, of equally near ones the first; -1 for none.

    Every triangle proposes the pixels of its bounding box, all at once; so the work is in proportion to the pixels
    that are covered, not to pixels times triangles.

    Args:
        points: (B, n, 2) pixels.
        distance: (B, n) above 0.
        triangles: (f, 3) vertex numbers.
        height: of the pictures in pixels.
        width: of the pictures in pixels.
    """
    batch, count = len(points), len(triangles)
    corners = points[:, triangles].flatten(0, 1).float()  # (B·f, 3, 2)
    inverse = 1 / distance[:, triangles].flatten(0, 1).float()
    limit = corners.new_tensor([width, height])
    least = (corners.amin(dim=1) - 0.5).ceil().clamp_min(0).minimum(limit)
    most = (corners.amax(dim=1) - 0.5).floor().clamp_min(-1).minimum(limit - 1)
    spans = (most - least + 1).clamp_min(0).long()
    proposals = spans.prod(dim=1) * (_twice_area(corners).abs() > _LEAST_AREA)
    ends = proposals.cumsum(0)
    buffer = torch.zeros(batch * height * width, dtype=torch.int64, device=points.device)
    for chosen in _chunks(proposals, ends):
        owner = torch.repeat_interleave(chosen, proposals[chosen])
        first = ends[chosen[0]] - proposals[chosen[0]]
        slot = torch.arange(len(owner), device=owner.device) + first - (ends - proposals)[owner]
        columns, start = spans[owner, 0], least[owner].long()
        x, y = start[:, 0] + slot % columns, start[:, 1] + slot // columns
        weights = _barycentric(corners[owner], torch.stack([x, y], dim=1) + 0.5)
        inside = (weights >= _EDGE).all(dim=1)
        owner, pixel = owner[inside], (y * width + x)[inside]
        nearness = (weights[inside] * inverse[owner]).sum(dim=1).clamp_min(1e-30)
        # positive floats sort as their bits do: nearness above, the triangle below, one maximum finds both
        key = (nearness.view(torch.int32).long() << 32) | (count - owner % count)
        buffer.scatter_reduce_(0, owner // count * (height * width) + pixel, key, "amax")
    numbers = torch.where(buffer > 0, count - (buffer & 0xFFFFFFFF), -1)
    return numbers.reshape(batch, height, width)


def _chunks(proposals: Tensor, ends: Tensor) -> list[Tensor]:
    """Numbers of the triangles that propose pixels, in pieces of about ``_FRAGMENTS`` proposals."""
    chosen = proposals.nonzero().squeeze(1)
    if not len(chosen):
        return []
    piece = (ends[chosen] - 1) // _FRAGMENTS
    sizes: list[int] = torch.unique_consecutive(piece, return_counts=True)[1].tolist()
    return list(torch.split_with_sizes(chosen, sizes))


def _twice_area(corners: Tensor) -> Tensor:
    a, b, c = corners.unbind(dim=-2)
    return _cross(b - a, c - a)


def _barycentric(corners: Tensor, points: Tensor) -> Tensor:
    """(P, 3, 2) triangles and (P, 2) points -> (P, 3) barycentric coordinates in the picture's plane."""
    a, b, c = (corner - points for corner in corners.unbind(dim=1))
    parts = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=1)
    return parts / _twice_area(corners)[:, None]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
