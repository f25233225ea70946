"""Coloured faces to pre-train the mesh decoder on: shapes from a linear model, skin from a palette or photographs.

The linear model is a file like ICT-FaceKit's (``ict_face.npz``): an average face with identity and expression
offsets on its own mesh, carried over to ours once. A batch is a pure function of (seed, step).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facesmith.data.sample import Sample
from facesmith.detectors.retinaface.mesh.outputs import five_landmarks
from facesmith.detectors.retinaface.mesh.template import face_plane, landmark_places, landmarks68
from facesmith.detectors.retinaface.mesh.topology import Level, SparseMatrix
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF
from facesmith.training.mesh_correspondence import FlatMesh, resampling_matrix

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CENTIMETRES = 10.0
MILLIMETRES = 100.0
"""A unit of our meshes in these."""

_ACTIVE = 0.12
"""Share of the expressions that a face shows at a time."""

_WAVES = 24


@dataclass(frozen=True, eq=False)
class FaceModel:
    """A linear model of shape on our mesh, in units of 10 cm; the average face has its mean at 0.

    Attributes:
        mean: (n, 3) float32.
        identity: (i, n, 3) float32, standard deviations.
        expression: (e, n, 3) float32, full expressions.
        landmarks: (68,) vertex numbers.
    """

    mean: Tensor
    identity: Tensor
    expression: Tensor
    landmarks: IntArray

    @classmethod
    def load(cls, path: Path, level: Level) -> "FaceModel":
        """Read ``vertices``, ``triangles``, ``uv``, ``landmarks68``, ``narrow_vertices``, ``identity``,
        ``expression`` and ``expression_names`` (cm, y up, z towards the viewer).

        Only the first ``narrow_vertices``, the face without ears and neck, are used, and no expression that
        moves the eyeballs only.

        Raises:
            LabelError: the file is not readable or lacks an array.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                narrow = int(file["narrow_vertices"])
                triangles = file["triangles"].astype(np.int64)
                triangles = triangles[(triangles < narrow).all(axis=1)]
                flat = FlatMesh(file["uv"][:narrow].astype(np.float64), triangles, file["landmarks68"].astype(np.int64))
                vertices = file["vertices"][:narrow].astype(np.float64)
                moving = [not name.startswith(("Pupil", "eyeLook")) for name in file["expression_names"].tolist()]
                identity = file["identity"][:, :narrow]
                expression = file["expression"][moving, :narrow]
        except (OSError, ValueError, KeyError, EOFError, IndexError) as error:
            raise LabelError(f"{path}: is not a face model with vertices, uv and offsets: {error}") from error
        matrix = resampling_matrix(level, flat)
        mean = matrix @ vertices
        return cls(
            torch.from_numpy((mean - mean.mean(axis=0)) / CENTIMETRES).float(),
            _carried(matrix, identity),
            _carried(matrix, expression),
            landmarks68(level),
        )

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, n, 3) random people (weights N(0, 1)) with random expressions (some, in 0 … 1)."""
        people = torch.randn(count, len(self.identity), generator=generator)
        shown = torch.rand(count, len(self.expression), generator=generator) < _ACTIVE
        strength = torch.rand(count, len(self.expression), generator=generator) * shown
        offsets = people @ self.identity.flatten(1) + strength @ self.expression.flatten(1)
        shapes: Tensor = self.mean + offsets.reshape(count, *self.mean.shape)
        return shapes


class Palette:
    """Procedural skins: tone, smooth blotches, lips, brows, eyes; made for one mesh."""

    def __init__(self, level: Level) -> None:
        plane = torch.from_numpy(face_plane(level)).float()
        places = torch.from_numpy(landmark_places()).float()
        self.plane = plane
        self.lips = _near(plane, places[48:60], 0.05)
        between = (places[[*range(17, 21), *range(22, 26)]] + places[[*range(18, 22), *range(23, 27)]]) / 2
        self.brows = _near(plane, torch.cat([places[17:27], between]), 0.05)
        self.sockets = _near(plane, places[36:48], 0.045)
        centres = torch.stack([places[36:42].mean(dim=0), places[42:48].mean(dim=0)])
        self.eyes = _near(plane, centres, 0.07)
        self.irises = _near(plane, centres, 0.035)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, n, 3) colours, 0 … 1."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=generator)

        light, dark = torch.tensor([0.93, 0.78, 0.69]), torch.tensor([0.28, 0.17, 0.12])
        skin = torch.lerp(dark, light, uniform(1, 1)) + 0.06 * (uniform(1, 3) - 0.5)
        colours = skin + 0.02 * self._blotches(count, 3, generator) + 0.05 * self._blotches(count, 1, generator)
        for mask, colour, strength in (
            (self.lips, skin * torch.tensor([1.0, 0.62, 0.62]), 0.8 * uniform(1, 1)),
            (self.brows, 0.35 * skin * uniform(1, 1), 0.9 * uniform(1, 1)),
            (self.sockets, 0.5 * skin, 0.5 * uniform(1, 1)),
            (self.eyes, 0.7 + 0.25 * uniform(1, 1).expand(-1, -1, 3), 0.9 * uniform(1, 1)),
            (self.irises, 0.5 * uniform(1, 3) ** 2, uniform(1, 1)),
        ):
            colours = torch.lerp(colours, colour.expand_as(colours), mask[:, None] * strength)
        return colours.clamp(0, 1)

    def _blotches(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        """(count, n, channels) sums of random plane waves, about ±1."""
        waves = torch.randn(count, 2, _WAVES, generator=generator) * 4
        phase = torch.rand(count, 1, _WAVES, generator=generator) * 2 * torch.pi
        amplitude = torch.randn(count, _WAVES, channels, generator=generator) / _WAVES**0.5
        blotches: Tensor = torch.cos(self.plane @ waves + phase) @ amplitude
        return blotches


class PhotoSkins:
    """Skins seen in photographs: near-frontal, large faces with five landmarks, colours read at our vertices."""

    least_eye_distance = 30.0
    greatest_turn = 25.0
    greatest_residual = 0.12

    def __init__(self, level: Level, model: FaceModel) -> None:
        vertices = model.mean.double().numpy()
        self.vertices, self.mirrored = vertices, level.mirrored
        self.points = five_landmarks(model.mean[model.landmarks][None])[0].double().numpy()
        a, b, c = vertices[level.triangles].transpose(1, 0, 2)
        faces = np.vstack([np.cross(b - a, c - a), np.zeros(3)])
        normals = faces[level.vertex_triangles].sum(axis=1)
        self.normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)

    def collect(self, samples: Iterable[Sample], most: int) -> Tensor:
        """(k, n, 3) uint8 skins of at most ``most`` faces, in the samples' order."""
        found: list[npt.NDArray[np.uint8]] = []
        for sample in samples:
            points5 = five_points(sample.landmarks)
            for points in points5[np.isfinite(points5).all(axis=(1, 2))]:
                skin = self.read(sample.image, points.astype(np.float64))
                if skin is not None:
                    found.append(skin)
            if len(found) >= most:
                break
        return torch.from_numpy(np.stack(found[:most])) if found else torch.zeros(0, len(self.vertices), 3).byte()

    def read(self, image: npt.NDArray[np.uint8], points: FloatArray) -> npt.NDArray[np.uint8] | None:
        """(n, 3) colours of the face with (5, 2) ``points``; ``None`` if it is small, turned or sticks out."""
        eyes = float(np.linalg.norm(points[1] - points[0]))
        if eyes < self.least_eye_distance:
            return None
        linear, shift = scaled_orthography(self.points, points)
        residual = np.linalg.norm(self.points @ linear.T + shift - points, axis=1).mean() / eyes
        forward = np.cross(linear[0], -linear[1])
        forward /= np.linalg.norm(forward)
        if residual > self.greatest_residual or forward[2] < np.cos(np.radians(self.greatest_turn)):
            return None
        pixels = np.floor(self.vertices @ linear.T + shift).astype(int)
        inside = ((pixels >= 0) & (pixels < [image.shape[1], image.shape[0]])).all(axis=1)
        seen = inside & (self.normals @ forward > 0.2)
        usable = seen | seen[self.mirrored]
        if usable.mean() < 0.75:
            return None
        place = np.where(seen, np.arange(len(seen)), self.mirrored)
        colours: npt.NDArray[np.uint8] = image[tuple(pixels[place].clip(0, np.array(image.shape[1::-1]) - 1).T[::-1])]
        colours[~usable] = np.median(colours[usable], axis=0).astype(np.uint8)
        return colours


def scaled_orthography(points: FloatArray, seen: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The camera without perspective that takes (k, 3) points (y up) nearest to (k, 2) pixels (y down).

    Least squares for an affine camera, then the nearest with two orthogonal rows of one length.

    Returns:
        (2, 3) linear part and (2,) shift: pixels = points @ linear.T + shift.
    """
    centre, goal = points.mean(axis=0), seen.mean(axis=0)
    affine = np.linalg.lstsq(points - centre, seen - goal, rcond=None)[0].T
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    linear: FloatArray = s.mean() * (u @ vt)
    return linear, goal - linear @ centre


@dataclass(frozen=True, eq=False)
class FaceSampler:
    """Random coloured faces.

    Attributes:
        model: of shapes.
        palette: of procedural skins.
        photos: (k, n, 3) uint8 skins from photographs; may be empty.
    """

    model: FaceModel
    palette: Palette
    photos: Tensor

    def sample(self, count: int, seed: int, step: int) -> Tensor:
        """(count, n, 6) float32; a pure function of its arguments.

        Where there are photographs, half of the faces wear a mixture of two in another tone.
        """
        generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
        shapes = self.model.sample(count, generator)
        skins = self.palette.sample(count, generator)
        if len(self.photos):
            pair = torch.randint(len(self.photos), (2, count), generator=generator)
            first, second = (self.photos[one].float() / 255 for one in pair)
            share = torch.rand(count, 1, 1, generator=generator)
            gain = 0.7 + 0.5 * torch.rand(count, 1, 1, generator=generator)
            gain = gain * (0.93 + 0.14 * torch.rand(count, 1, 3, generator=generator))
            mixed = (torch.lerp(first, second, share * 0.5) * gain).clamp(0, 1)
            skins = torch.where(torch.rand(count, 1, 1, generator=generator) < 0.5, mixed, skins)
        return torch.cat([shapes, skins], dim=2)


def five_points(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, K, 2) landmarks of a label file -> (n, 5, 2)."""
    return landmarks[:, FIVE_OF[landmarks.shape[1]]]


def _carried(matrix: SparseMatrix, offsets: npt.NDArray[np.float16]) -> Tensor:
    """(k, m, 3) offsets in cm -> (k, n, 3) in our units on our mesh."""
    count, vertices, _ = offsets.shape
    columns = offsets.transpose(1, 0, 2).reshape(vertices, -1).astype(np.float32)
    carried = np.asarray(matrix @ columns, np.float32).reshape(-1, count, 3).transpose(1, 0, 2)
    return torch.from_numpy(np.ascontiguousarray(carried) / np.float32(CENTIMETRES))


def _near(plane: Tensor, places: Tensor, radius: float) -> Tensor:
    """(n,) 1 at the places and 0 away from them, falling smoothly around ``radius``."""
    distance = torch.cdist(plane, places).amin(dim=1)
    return torch.exp(-((distance / radius) ** 4))
