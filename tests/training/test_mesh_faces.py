from pathlib import Path

import numpy as np
import pytest
import torch
from linear_face_model import LEVEL, write_linear_face_model

from facesmith.data.sample import Sample
from facesmith.detectors.retinaface.mesh.camera import Camera
from facesmith.detectors.retinaface.mesh.lighting import Illumination
from facesmith.detectors.retinaface.mesh.outputs import five_landmarks, to_image
from facesmith.detectors.retinaface.mesh.renderer import Renderer
from facesmith.detectors.retinaface.mesh.template import template_vertices
from facesmith.errors import LabelError
from facesmith.training.mesh_faces import FaceModel, FaceSampler, Palette, PhotoSkins, scaled_orthography


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FaceModel:
    return FaceModel.load(write_linear_face_model(tmp_path_factory.mktemp("faces") / "ict_face.npz"), LEVEL)


def test_the_model_is_carried_over(model: FaceModel) -> None:
    template = torch.from_numpy(template_vertices(LEVEL)).float()
    assert (model.mean - template).abs().max() < 1e-2
    assert model.identity.shape == (2, len(LEVEL), 3)
    assert model.expression.shape == (1, len(LEVEL), 3)  # eyeballs are left out
    assert (model.identity[0] - template * torch.tensor([0.1, 0, 0])).abs().max() < 3e-3


def test_people_differ_as_the_model_says(model: FaceModel) -> None:
    people = model.sample(2000, torch.Generator().manual_seed(0))
    width = people[:, :, 0].amax(dim=1) - people[:, :, 0].amin(dim=1)
    assert (width.std() / width.mean()).item() == pytest.approx(0.1, rel=0.1)
    chin = people[:, model.landmarks[8], 2] - model.mean[model.landmarks[8], 2]
    assert (chin.abs() > 1e-3).float().mean().item() == pytest.approx(0.12, abs=0.03)  # few open their mouths


@pytest.mark.parametrize("damage", ["missing", "text", "array"])
def test_files_that_are_no_face_models_fail(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "ict_face.npz"
    if damage == "text":
        path.write_text("hello")
    if damage == "array":
        np.savez(path, vertices=np.zeros((4, 3)))
    with pytest.raises(LabelError, match="is not a face model"):
        FaceModel.load(path, LEVEL)


def test_procedural_skins() -> None:
    skins = Palette(LEVEL).sample(50, torch.Generator().manual_seed(0))
    assert skins.shape == (50, len(LEVEL), 3)
    assert skins.min() >= 0
    assert skins.max() <= 1
    palette = Palette(LEVEL)
    average = skins.mean(dim=(0, 2))
    assert average[palette.brows > 0.9].mean() < average[palette.brows < 0.01].mean() - 0.1
    red, green, _ = skins[:, palette.lips > 0.9].mean(dim=(0, 1))
    assert red > green + 0.1


def test_scaled_orthography_recovers_a_camera() -> None:
    generator = np.random.default_rng(0)
    points, (turn, _) = generator.normal(size=(5, 3)), np.linalg.qr(generator.normal(size=(3, 3)))
    seen = 30 * points @ turn[:2].T + (100, 50)
    linear, shift = scaled_orthography(points, seen)
    assert np.allclose(linear, 30 * turn[:2])
    assert np.allclose(shift, (100, 50))


@torch.no_grad()
def photograph(model: FaceModel, yaw: float) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """A drawn face of 200 pixels under even light, its five landmarks, and the colours of its vertices."""
    colours = 0.5 + 0.3 * torch.sin(5 * model.mean + torch.tensor([0.0, 1, 2]))
    parameters = torch.zeros(1, 7)
    parameters[0, 4] = yaw
    camera = Camera.from_parameters(parameters)
    light = Illumination(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3))
    picture = Renderer(LEVEL)(torch.cat([model.mean, colours], dim=1)[None], camera, light, 200).colours[0]
    places = to_image(camera, model.mean[None], torch.tensor([[0.0, 0.0, 200.0, 200.0]]))
    points = five_landmarks(places[:, model.landmarks])[0, :, :2].double().numpy()
    image = (picture.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return image, points, colours


def test_skins_are_read_from_photographs(model: FaceModel) -> None:
    image, points, colours = photograph(model, yaw=0.2)
    reader = PhotoSkins(LEVEL, model)
    skin = reader.read(image, points)
    assert skin is not None
    frontal = torch.from_numpy(reader.normals[:, 2] > 0.8)
    apart = (torch.from_numpy(skin) / 255 - colours)[frontal].abs()
    assert apart.mean() < 0.04  # the camera is near, and only five points say where it is


def test_small_turned_and_cut_faces_are_left_out(model: FaceModel) -> None:
    reader = PhotoSkins(LEVEL, model)
    image, points, _ = photograph(model, yaw=0.9)
    assert reader.read(image, points) is None
    image, points, _ = photograph(model, yaw=0.0)
    assert reader.read(image, points) is not None
    assert reader.read(image, points / 8) is None
    assert reader.read(image[:120], points) is None


def test_collecting_skins_stops_in_time_and_skips_unknown_faces(model: FaceModel) -> None:
    image, points, _ = photograph(model, yaw=0.0)
    landmarks = np.stack([np.full((5, 2), np.nan), points, points]).astype(np.float32)
    sample = Sample(image, np.zeros((3, 4), np.float32), landmarks, np.zeros(3, bool), True)
    reader = PhotoSkins(LEVEL, model)
    assert reader.collect([sample], 9).shape == (2, len(LEVEL), 3)
    assert reader.collect([sample, sample], 3).shape == (3, len(LEVEL), 3)
    assert reader.collect([], 3).shape == (0, len(LEVEL), 3)


def test_batches_depend_on_seed_and_step_only(model: FaceModel) -> None:
    skins = torch.randint(0, 256, (4, len(LEVEL), 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    sampler = FaceSampler(model, Palette(LEVEL), skins)
    batch = sampler.sample(6, 3, 10)
    assert batch.shape == (6, len(LEVEL), 6)
    assert torch.equal(sampler.sample(6, 3, 10), batch)
    assert not torch.equal(sampler.sample(6, 3, 11), batch)
    assert not torch.equal(sampler.sample(6, 4, 10), batch)
