"""How well do a detector's meshes lie on faces? On rendered faces, of which everything is known, and on photographs.

    python benchmarks/mesh_accuracy.py --ict ICT --photographs TRAIN --dev DEV --model NAME-OR-FILE

Rendered: random people with random expressions and skins (those of the auto-encoder's held-out set, see
``facesmith.training.mesh_autoencoder``), turned by up to 45° (yaw), 20° (pitch) and 20° (roll), lit at random, over
photographs without faces (TRAIN/background). Photographs: the development frames with 68 labelled points.
NME is the mean distance of the 68 points by the square root of the area that the labelled ones span; a face that was
not found counts as infinitely far off in the median, and is left out of the mean.
Needs facesmith[train].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
import tyro
from torch import Tensor

from facesmith import images, runtime
from facesmith.data.sources import SourceConfig, find_sources
from facesmith.detectors.retinaface.mesh.camera import Camera, head_pose
from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.lighting import Illumination
from facesmith.detectors.retinaface.mesh.outputs import to_image
from facesmith.detectors.retinaface.mesh.renderer import Renderer
from facesmith.evaluation import landmarks
from facesmith.evaluation.predict import find_pictures
from facesmith.training.mesh_autoencoder import AutoencoderConfig, samplers

FloatArray = npt.NDArray[np.float64]

CANVAS, PICTURE = 320, 160
"""Sides of the pictures and of the rendered squares in their middle, pixels."""

TURNS = (45.0, 20.0, 20.0)
"""Greatest yaw, pitch and roll in degrees."""


class Shown(NamedTuple):
    """A picture, the 68 points of its face (68, 2), and its yaw, pitch and roll in degrees where they are known."""

    picture: npt.NDArray[np.uint8]
    points: FloatArray
    pose: FloatArray | None


@dataclass(frozen=True)
class MeshAccuracy:
    """Judge a detector's meshes."""

    ict: Path
    """folder with ict_face.npz"""
    photographs: Path
    """folder of training photographs: held-out skins, and background/"""
    dev: Path
    """folder with landmarks68.txt; its frames lie anywhere below --images"""
    images: Path | None = None
    """folder of the frames; by default --dev"""
    model: str | None = None
    """a name that `facesmith models` lists, or a file; without it the default model"""
    count: int = 200
    """rendered faces"""
    seed: int = 0
    """of the rendered faces"""
    threads: int | None = None
    """CPU threads"""

    def run(self) -> None:
        """Measure and print."""
        detector = runtime.load(self.model, threads=self.threads)
        print(f"{detector.name}, sha256 {detector.checksum}")
        for name, shown in (("rendered", self._rendered()), ("development frames", self._frames())):
            _report(name, detector, shown)

    def _rendered(self) -> Iterator[Shown]:
        config = MeshConfig()
        level = config.topology.finest
        _, held_out = samplers(self.ict / "ict_face.npz", self.photographs, config, AutoencoderConfig().photo_skins)
        renderer, marks = Renderer(level), torch.from_numpy(held_out.model.landmarks)
        (behind,) = find_sources(self.photographs, [SourceConfig("background")])
        generator = torch.Generator().manual_seed(self.seed)
        square = torch.tensor([[0.0, 0.0, PICTURE, PICTURE]]) + (CANVAS - PICTURE) / 2
        for index in range(self.count):
            face = held_out.sample(1, self.seed, 1_000_000 + index)
            camera, light = _camera(generator), _light(generator)
            with torch.no_grad():
                rendering = renderer(face, camera, light, PICTURE)
                points = to_image(camera, face[..., :3], square)[0, marks, :2]
                pose = head_pose(camera.rotation)[0]
            background = cv2.resize(behind.load(index % len(behind.paths), None).image, (CANVAS, CANVAS))
            yield Shown(
                _composed(background, rendering.colours[0], rendering.mask[0]),
                points.double().numpy(),
                pose.double().numpy(),
            )

    def _frames(self) -> Iterator[Shown]:
        truth = landmarks.load_truth(self.dev / "landmarks68.txt", landmarks.FRAMES_68)
        pictures = find_pictures(self.images or self.dev, truth.images)
        for name, points in zip(truth.images, truth.points, strict=True):
            if name in pictures:
                yield Shown(images.read(pictures[name]), points[:, :2], None)


def _camera(generator: torch.Generator) -> Camera:
    turns = (torch.rand(3, generator=generator) * 2 - 1) * torch.deg2rad(torch.tensor(TURNS))
    # A rotation vector turns about x by minus the pitch, about y by the yaw, about z by minus the roll.
    pose = torch.stack([-turns[1], turns[0], -turns[2]])
    place = (torch.rand(4, generator=generator) - 0.5) * torch.tensor([0.2, 0.2, 0.2, 0.2])
    return Camera.from_parameters(torch.cat([place[:3], pose, place[3:]])[None])


def _light(generator: torch.Generator) -> Illumination:
    return Illumination.from_parameters(torch.randn(1, 9, generator=generator) * 0.5)


def _composed(background: npt.NDArray[np.uint8], face: Tensor, mask: Tensor) -> npt.NDArray[np.uint8]:
    """The rendered square over the middle of ``background``."""
    canvas, start = background.copy(), (CANVAS - PICTURE) // 2
    middle = canvas[start : start + PICTURE, start : start + PICTURE]
    seen = mask.numpy()
    middle[seen] = (face.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()[seen]
    return canvas


def _report(name: str, detector: runtime.Detector, shown: Iterator[Shown]) -> None:
    errors, turned = [], []
    for one in shown:
        size = np.sqrt(np.ptp(one.points, axis=0).prod())
        faces = detector.detect(one.picture, meshes=True)
        meshes = faces.meshes
        assert meshes is not None
        away = np.linalg.norm(meshes.landmarks68[..., :2] - one.points, axis=2).mean(axis=1) / size
        errors.append(away.min() if len(away) and away.min() < 0.5 else np.inf)
        if one.pose is not None and np.isfinite(errors[-1]):
            turned.append(np.abs(meshes.pose[away.argmin()] - one.pose))
    found = np.isfinite(errors)
    print(f"{name}: {found.sum()} of {len(errors)} faces found; NME of 68 points: ", end="")
    print(f"mean of those {np.mean(np.array(errors)[found]):.2%}, median of all {np.median(errors):.2%}")
    if turned:
        yaw, pitch, roll = np.mean(turned, axis=0)
        print(f"  mean error of yaw {yaw:.1f}°, pitch {pitch:.1f}°, roll {roll:.1f}°")


if __name__ == "__main__":
    tyro.cli(MeshAccuracy, description=__doc__).run()
