import math

import pytest
import torch

from facesmith.detectors.retinaface.mesh.camera import Camera
from facesmith.detectors.retinaface.mesh.lighting import Illumination, shade, vertex_normals
from facesmith.detectors.retinaface.mesh.renderer import Renderer
from facesmith.detectors.retinaface.mesh.template import template_vertices
from facesmith.detectors.retinaface.mesh.topology import Level

FINE, COARSE = Level(24), Level(4)
ALBEDO = torch.tensor([0.8, 0.6, 0.4])


def hemisphere(level: Level) -> torch.Tensor:
    """(1, n, 6): half a unit sphere towards the viewer."""
    disc = torch.from_numpy(level.disc).float()
    angle = disc.norm(dim=1, keepdim=True) * math.pi / 2
    across = disc / disc.norm(dim=1, keepdim=True).clamp_min(1e-9) * angle.sin()
    return torch.cat([across, angle.cos(), ALBEDO.expand(len(level), 3)], dim=1)[None]


def far_camera(distance: float = 20.0, half_view: float = 1.25) -> Camera:
    """A long lens: ``half_view`` at the origin fills half the picture."""
    return Camera(torch.tensor([[0.0, 0.0, distance]]), torch.zeros(1, 3), torch.tensor([distance / half_view]))


def light(location: tuple[float, float, float], colour: float, ambient: float) -> Illumination:
    return Illumination(torch.tensor([location]), torch.full((1, 3), colour), torch.full((1, 3), ambient))


def random_faces(level: Level, count: int) -> tuple[torch.Tensor, Camera, Illumination]:
    torch.manual_seed(0)
    vertices = torch.from_numpy(template_vertices(level)) * 0.8 + 0.02 * torch.randn(count, len(level), 3).double()
    faces = torch.cat([vertices, torch.rand(count, len(level), 3).double()], dim=2)
    camera = Camera.from_parameters(0.1 * torch.randn(count, 7).double())
    return faces, camera, Illumination.from_parameters(0.3 * torch.randn(count, 9).double())


def test_normals_of_a_sphere_point_outwards() -> None:
    sphere = hemisphere(FINE)[..., :3]
    normals = vertex_normals(sphere, torch.from_numpy(FINE.triangles), torch.from_numpy(FINE.vertex_triangles))
    inner = FINE.disc.__pow__(2).sum(axis=1) < 0.9
    assert ((normals * sphere).sum(dim=2)[0, inner] > 0.999).all()


def test_a_sphere_has_its_area_its_depth_and_its_shading() -> None:
    size = 160
    place = (3.0, 4.0, 30.0)
    picture = Renderer(FINE)(hemisphere(FINE), far_camera(), light(place, 0.7, 0.2), size)
    radius = size / 2 / 1.25
    assert picture.mask.sum().item() == pytest.approx(math.pi * radius**2, rel=0.01)
    line = ((torch.arange(size) + 0.5) / (size / 2) - 1) * 1.25
    x, y = line[None, :].expand(size, -1), -line[:, None].expand(-1, size)
    inner = x**2 + y**2 < 0.8
    z = (1 - x**2 - y**2).clamp_min(0).sqrt()
    assert (picture.distance[0] - (20 - z))[inner].abs().max() < 0.05  # the lens is long, not parallel
    normal = torch.stack([x, y, z], dim=-1)
    to_light = torch.nn.functional.normalize(torch.tensor(place) - normal, dim=-1)
    expected = ALBEDO[:, None, None] * (0.2 + 0.7 * (normal * to_light).sum(dim=-1).clamp_min(0))
    assert (picture.colours[0] - expected)[:, inner].abs().max() < 0.05
    assert (picture.colours[0][:, ~picture.mask[0]] == 0).all()


def test_ambient_light_alone_shows_the_albedo() -> None:
    picture = Renderer(FINE)(hemisphere(FINE), far_camera(), light((0, 0, 9), 0.0, 0.5), 32)
    assert torch.allclose(picture.colours[0][:, picture.mask[0]], 0.5 * ALBEDO[:, None], atol=1e-6)


def test_light_from_behind_adds_nothing() -> None:
    position, normal = torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0.0, 1.0]]])
    one = shade(position, normal, torch.ones(1, 1, 3), light((0, 0, -5), 1.0, 0.25))
    assert torch.allclose(one, torch.full((1, 1, 3), 0.25))


def test_the_head_hides_its_far_side_when_it_turns() -> None:
    level = FINE
    faces = torch.cat([torch.from_numpy(template_vertices(level)).float(), torch.zeros(len(level), 3)], dim=1)[None]
    left, right = level.disc[:, 0] < -0.2, level.disc[:, 0] > 0.2
    faces[:, left, 3], faces[:, right, 5] = 1.0, 1.0  # red on the left of the image, blue on the right
    parameters = torch.zeros(1, 7)
    parameters[0, 4] = 1.3  # turned to the right of the image
    picture = Renderer(level)(faces, Camera.from_parameters(parameters), light((0, 0, 9), 0.0, 1.0), 64)
    red, _, blue = picture.colours[0].sum(dim=(1, 2))
    assert red > 5 * blue


def test_gradients_against_finite_differences() -> None:
    """All inputs at once; the pixels' triangles stay the same under so small steps."""
    faces, camera, illumination = random_faces(COARSE, 2)
    renderer, size = Renderer(COARSE), 12
    torch.manual_seed(3)
    importance = torch.randn(2, 3, size, size, dtype=torch.float64)
    camera_parts, light_parts = list(vars(camera).values()), list(vars(illumination).values())
    inputs = [faces, *camera_parts, *light_parts]

    def value(*parts: torch.Tensor) -> torch.Tensor:
        drawn = renderer(parts[0], Camera(*parts[1:4]), Illumination(*parts[4:]), size)
        return (drawn.colours * importance).sum() + (drawn.distance * importance[:, 0]).sum()

    leaves = [part.clone().requires_grad_() for part in inputs]
    gradients = torch.autograd.grad(value(*leaves), leaves)
    for number, gradient in enumerate(gradients):
        assert gradient.abs().max() > 1e-3  # it reaches every kind of input
        for _ in range(6):
            direction = torch.randn_like(inputs[number])
            direction /= direction.norm()
            sides = []
            for step in (1e-6, -1e-6):
                moved = list(inputs)
                moved[number] = inputs[number] + step * direction
                sides.append(value(*moved))
            numeric = (sides[0] - sides[1]) / 2e-6
            assert numeric.item() == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-5)


def test_a_batch_equals_single_faces() -> None:
    faces, camera, illumination = random_faces(COARSE, 3)
    renderer = Renderer(COARSE)
    together = renderer(faces, camera, illumination, 24)
    for i in range(3):
        one_camera = Camera(*(part[i : i + 1] for part in vars(camera).values()))
        one_light = Illumination(*(part[i : i + 1] for part in vars(illumination).values()))
        alone = renderer(faces[i : i + 1], one_camera, one_light, 24)
        assert torch.equal(alone.mask[0], together.mask[i])
        assert torch.allclose(alone.colours[0], together.colours[i], atol=1e-12)


def test_fitting_pixels_finds_the_camera() -> None:
    """The gradient is good for something: from a wrong camera back to the right one."""
    level = Level(12)
    vertices = torch.from_numpy(template_vertices(level)).float()
    pattern = 0.5 + 0.4 * torch.sin(7 * vertices + torch.tensor([0.0, 1.0, 2.0]))
    faces, renderer = torch.cat([vertices, pattern], dim=1)[None], Renderer(level)
    lamp = light((0, 2, 8), 0.3, 0.7)
    target = renderer(faces, Camera.from_parameters(torch.zeros(1, 7)), lamp, 48)
    parameters = torch.tensor([[0.06, -0.05, 0.0, 0.08, 0.1, -0.08, 0.0]], requires_grad=True)
    optimiser = torch.optim.Adam([parameters], 4e-3)
    for _ in range(120):
        drawn = renderer(faces, Camera.from_parameters(parameters), lamp, 48)
        loss = ((drawn.colours - target.colours).abs() * (drawn.mask & target.mask)[:, None]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = parameters.detach()[0]
    assert found[3:6].abs().max() < 0.03
    assert (found[:2] - 0).abs().max() < 0.02
