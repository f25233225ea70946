"""Face embeddings for verification: detected, aligned faces through a recognition network of the user's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import files, geometry
from facesmith import images as pictures
from facesmith.errors import LabelError, ModelError
from facesmith.evaluation.names import closest, image_name
from facesmith.faces import Faces
from facesmith.runtime.cpus import chosen_threads

Crops = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

CROP = 112
_BATCH = 32
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")


class FindsFaces(Protocol):
    """What is asked of a detector; :class:`facesmith.Detector` is one."""

    def detect(self, source: Any) -> Faces: ...


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One feature vector, or one of the picture and one of its mirror image, for each of n images.

    Attributes:
        names: image names without suffix.
        features: (n, d), or (n, 2, d): picture and mirror image; float32, finite, not normalised.
        scores: (n,) float32, the detector's score of the face, 0 where none was found; ``None`` if unknown.
        missed: names of the images in which no face was found, so that their centre was taken.

    Raises:
        LabelError: columns do not fit together, or a feature is not finite.
    """

    names: tuple[str, ...]
    features: Features
    scores: npt.NDArray[np.float32] | None = None
    missed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape, n = self.features.shape, len(self.names)
        if shape[:1] != (n,) or len(shape) not in (2, 3) or (len(shape) == 3 and shape[1] != 2) or 0 in shape[1:]:
            raise LabelError(f"features of {n} images must have the shape ({n}, d) or ({n}, 2, d), not {shape}")
        if len(set(self.names)) != n:
            raise LabelError("an image has two embeddings; names must differ")
        if self.scores is not None and self.scores.shape != (n,):
            raise LabelError(f"{n} images need {n} detector scores, not {self.scores.shape}")
        finite = np.isfinite(self.features).all(axis=tuple(range(1, len(shape))))
        if not np.all(finite):
            raise LabelError(f"image {self.names[int(np.argmin(finite))]!r}: a feature is not finite")

    def save(self, path: str | Path) -> None:
        """Write a ``.npz`` file."""
        columns = {"names": np.array(self.names, np.str_), "features": self.features}
        columns["missed"] = np.array(self.missed, np.str_)
        if self.scores is not None:
            columns["scores"] = self.scores
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **columns)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Read a ``.npz`` file with ``names``, ``features`` and, if wanted, ``scores`` and ``missed``.

        Raises:
            LabelError: it is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                columns = {key: content[key] for key in content.files}
            return cls(
                tuple(image_name(str(name)) for name in columns["names"]),
                np.asarray(columns["features"], np.float32),
                np.asarray(columns["scores"], np.float32) if "scores" in columns else None,
                tuple(map(str, columns.get("missed", ()))),
            )
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError) as error:
            raise LabelError(f"{path}: not a .npz file with names and features: {error}") from error


class Embedder:
    """A recognition network in ONNX: aligned crops in, feature vectors out.

    Args:
        model: path of the ONNX file: one input (batch, 3, side, side) float32, the first output (batch, d).
        mean, deviation: the network sees ``(pixel - mean) / deviation`` in RGB; ArcFace's are 127.5 and
        127.5. threads: as in :func:`facesmith.load`.

    Raises:
        ModelError: the file is no such network.
    """

    def __init__(
        self, model: str | Path, *, mean: float = 127.5, deviation: float = 127.5, threads: int | None = None
    ) -> None:
        import onnxruntime as ort  # 0.1 s

        settings = ort.SessionOptions()
        settings.intra_op_num_threads = chosen_threads(threads)
        settings.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen private classes for this
            raise ModelError(f"{model}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from error
        given = self._session.get_inputs()
        shape = given[0].shape
        if len(given) != 1 or given[0].type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
            described = ", ".join(f"{one.name} {one.type} {one.shape}" for one in given)
            raise ModelError(f"{model}: needs one input (batch, 3, side, side) float32, not {described}")
        if isinstance(shape[2], int) and shape[2:] != [shape[2]] * 2:
            raise ModelError(f"{model}: its input is {shape[2]} x {shape[3]}, not square")
        self.side = shape[2] if isinstance(shape[2], int) else CROP
        self._input, self._batch = given[0].name, shape[0] if isinstance(shape[0], int) else None
        self._mean, self._deviation, self._model = mean, deviation, model

    def __call__(self, crops: Crops) -> Features:
        """(n, side, side, 3) uint8 RGB to (n, d) float32."""
        values = (crops.astype(np.float32).transpose(0, 3, 1, 2) - self._mean) / self._deviation
        step = self._batch or _BATCH
        parts = [self._run(values[start : start + step]) for start in range(0, len(values), step)]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _run(self, values: Features) -> Features:
        missing = (self._batch or len(values)) - len(values)
        padded = np.concatenate([values, np.zeros((missing, *values.shape[1:]), np.float32)])
        features = np.asarray(self._session.run(None, {self._input: padded})[0], np.float32)
        if features.shape[:1] != (len(padded),):
            raise ModelError(f"{self._model}: {len(padded)} crops gave an output of shape {features.shape}")
        return features[: len(values)].reshape(len(values), -1)


def embed(
    images: Mapping[str, Any],
    detector: FindsFaces,
    embedder: Callable[[Crops], Features],
    *,
    side: int = CROP,
) -> Embeddings:
    """Detect, align and embed one face an image, as it is and mirrored.

    Of several faces the one with the largest ``area - 2 * distance²`` is taken, the distance from the
    picture's centre to the box's, in pixels (the rule of FaceNet's and InsightFace's alignment scripts).
    Where no face is found, the centred square of 7/8 of the shorter side stands in for it, with the score
    0; such images are named in ``missed`` and noted in every result.

    Args:
        images: image name -> whatever :func:`facesmith.images.read` takes; read one after the other.
        detector: its own defaults decide on size and threshold.
        embedder: (n, side, side, 3) uint8 RGB crops -> (n, d); e.g. :class:`Embedder`.
        side: of the crops; ``Embedder.side`` for an ``Embedder``.
    """
    features: list[Features] = []
    scores: list[float] = []
    missed: list[str] = []

    def crops() -> Iterator[Crops]:
        for name, source in images.items():
            picture = pictures.read(source)
            face = main_face(detector.detect(picture), picture.shape[1], picture.shape[0])
            scores.append(float(face.scores[0]) if len(face) else 0.0)
            if not len(face):
                missed.append(name)
                yield centre_crop(picture, side)
            else:
                assert face.landmarks is not None
                yield geometry.align(picture, face.landmarks, side)[0]

    for batch in _batches(crops(), _BATCH):
        both = embedder(np.concatenate([batch, batch[:, :, ::-1]]))
        features.append(np.stack([both[: len(batch)], both[len(batch) :]], axis=1))
    stacked = np.concatenate(features) if features else np.zeros((0, 2, 1), np.float32)
    return Embeddings(tuple(images), stacked, np.array(scores, np.float32), tuple(missed))


def main_face(faces: Faces, width: float, height: float) -> Faces:
    """The face that a picture is of, by the rule of :func:`embed`: one face, or none without landmarks."""
    if faces.landmarks is None:
        return Faces.empty()
    faces = faces[np.all(np.isfinite(faces.landmarks), axis=(1, 2))]
    if not len(faces):
        return faces
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - np.array([width / 2, height / 2])
    return faces[int(np.argmax(faces.widths * faces.heights - 2 * (centres**2).sum(axis=1)))]


def centre_crop(picture: Crops, side: int) -> Crops:
    """The centred square of 7/8 of the shorter side of (H, W, 3), resized to (side, side, 3)."""
    height, width = picture.shape[:2]
    edge = max(1, round(min(height, width) * 7 / 8))
    top, left = (height - edge) // 2, (width - edge) // 2
    shape = cv2.INTER_AREA if edge > side else cv2.INTER_LINEAR
    resized = cv2.resize(picture[top : top + edge, left : left + edge], (side, side), interpolation=shape)
    return np.asarray(resized, np.uint8)


def image_paths(root: str | Path, names: Sequence[str]) -> dict[str, Path]:
    """The image files of ``names`` (without suffix) below the folder ``root``, for :func:`embed`.

    Raises:
        LabelError: an image is missing; the message gives the closest name that is there.
    """
    root = Path(root)
    found = {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    }
    missing = [name for name in names if name not in found]
    if missing:
        raise LabelError(
            f"{root}: {len(missing):,} of {len(names):,} images are missing, the first is {missing[0]!r}"
            + closest(missing[0], found)
        )
    return {name: found[name] for name in names}


def _batches(crops: Iterator[Crops], size: int) -> Iterator[Crops]:
    batch: list[Crops] = []
    for crop in crops:
        batch.append(crop)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
