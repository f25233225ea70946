import numpy as np
import pytest
import torch

from facesmith.detectors.retinaface.mesh import rasteriser
from facesmith.detectors.retinaface.mesh.rasteriser import rasterise, visible_triangles


def brute_force(points: np.ndarray, distance: np.ndarray, triangles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel, triangle by triangle, by solving for barycentric coordinates."""
    seen = np.full((height, width), -1)
    for y in range(height):
        for x in range(width):
            best = 0.0
            for number, triangle in enumerate(triangles):
                system = np.vstack([points[triangle].T, np.ones(3)])
                weights = np.linalg.solve(system, [x + 0.5, y + 0.5, 1])
                nearness = (weights / distance[triangle]).sum()
                if weights.min() >= 0 and nearness > best:
                    best, seen[y, x] = nearness, number
    return seen


def random_scene(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(2, 12, 2, generator=generator) * 24 - 4  # some stick out of 16 × 12 pixels
    distance = 1 + torch.rand(2, 12, generator=generator) * 3
    triangles = torch.stack([torch.randperm(12, generator=generator)[:3] for _ in range(10)])
    return points, distance, triangles


@pytest.mark.parametrize("fragments", [1 << 22, 50])
def test_visible_triangles_against_brute_force(fragments: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasteriser, "_FRAGMENTS", fragments)
    for seed in range(4):
        points, distance, triangles = random_scene(seed)
        seen = visible_triangles(points, distance, triangles, 12, 16).numpy()
        expected = [
            brute_force(p.double().numpy(), d.double().numpy(), triangles.numpy(), 12, 16)
            for p, d in zip(points, distance, strict=True)
        ]
        assert (np.stack(expected) >= 0).any()
        assert (seen == np.stack(expected)).all()


def test_a_triangle_pixel_by_pixel() -> None:
    points = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]])
    seen = visible_triangles(points, torch.ones(1, 3), torch.tensor([[0, 1, 2]]), 4, 5)[0]
    assert (seen == 0).int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_the_nearer_one_hides_the_other_whatever_their_order() -> None:
    points = torch.tensor([[[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [0.0, 0.0], [8.0, 0.0], [0.0, 8.0]]])
    distance = torch.tensor([[2.0, 2.0, 2.0, 1.0, 1.0, 1.0]])
    for triangles, nearer in (([[0, 1, 2], [3, 4, 5]], 1), ([[3, 4, 5], [0, 2, 1]], 0)):
        seen = visible_triangles(points, distance, torch.tensor(triangles), 8, 8)
        assert seen[seen >= 0].unique().tolist() == [nearer]


def test_of_equally_near_ones_the_first() -> None:
    points = torch.tensor([[[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]]])
    seen = visible_triangles(points, torch.ones(1, 3), torch.tensor([[0, 1, 2], [0, 1, 2]]), 8, 8)
    assert seen[seen >= 0].unique().tolist() == [0]


def test_neighbours_leave_no_gap() -> None:
    torch.manual_seed(0)
    centre = torch.tensor([[10.0, 10.0]]) + torch.rand(50, 1, 2)
    angle = torch.linspace(0, 2 * torch.pi, 13)[:-1] + 0.1
    ring = torch.stack([angle.cos(), angle.sin()], dim=1).expand(50, -1, -1) * 9.3 + centre
    points = torch.cat([centre, ring], dim=1)
    triangles = torch.tensor([[0, 1 + i, 1 + (i + 1) % 12] for i in range(12)])
    seen = visible_triangles(points, torch.ones(50, 13), triangles, 20, 20)
    y, x = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    inside = (torch.stack([x, y], dim=-1) - centre[:, None]).norm(dim=-1) < 9.3 * np.cos(np.pi / 12) - 1e-3
    assert (seen[inside] >= 0).all()


def test_edge_on_and_outside_triangles_are_skipped() -> None:
    points = torch.tensor([[[1.0, 1.0], [5.0, 5.0], [3.0, 3.0], [20.0, 20.0], [30.0, 20.0], [20.0, 30.0]]])
    seen = visible_triangles(points, torch.ones(1, 6), torch.tensor([[0, 1, 2], [3, 4, 5]]), 8, 8)
    assert (seen == -1).all()
    fragments = rasterise(torch.full((1, 3, 3), 5.0), torch.tensor([[0, 1, 2]]), 4, 4)
    assert fragments.interpolate(torch.ones(1, 3, 2)).shape == (0, 2)


def test_interpolation_is_perspective_correct() -> None:
    """A plane in space, hit by rays from the camera: positions must be those of the hits."""
    world = torch.tensor([[-1.0, -1.2, -3.0], [1.4, -1.0, -5.0], [0.2, 1.5, -4.0]], dtype=torch.float64)
    distance = -world[:, 2:]
    projected = torch.cat([world[:, :1] / distance, -world[:, 1:2] / distance, distance], dim=1)[None]
    fragments = rasterise(projected, torch.tensor([[0, 1, 2]]), 40, 40)
    assert len(fragments.pixel) > 30
    column, row = fragments.pixel % 40, fragments.pixel // 40
    rays = torch.stack([(column + 0.5) / 20 - 1, 1 - (row + 0.5) / 20, -torch.ones_like(row)], dim=1).double()
    normal = torch.linalg.cross(world[1] - world[0], world[2] - world[0])
    hits = rays * ((world[0] @ normal) / (rays @ normal))[:, None]
    assert torch.allclose(fragments.interpolate(world[None]), hits)
    assert torch.allclose(fragments.weights.sum(dim=1), torch.ones(len(hits), dtype=torch.float64))


def test_a_batch_equals_single_pictures() -> None:
    points, distance, triangles = random_scene(5)
    together = visible_triangles(points, distance, triangles, 12, 16)
    for i in range(2):
        assert torch.equal(visible_triangles(points[i : i + 1], distance[i : i + 1], triangles, 12, 16)[0], together[i])
