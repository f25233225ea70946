"""Dense vertices in 3D on AFLW2000-3D: mean distance over all vertices, divided by the landmarks' size.

RetinaFace, section 4.6 and figure 8(b), after Zhu et al. 2016 and Feng et al. 2018: the length is the
square root of width times height of the box that the labelled 68 landmarks span. Weak perspective leaves a
face's distance from the camera open, and papers differ in what they do about it, so every figure is given
three times:

- ``nme``: the vertices as they are;
- ``nme_depth``: after a shift along z by the mean difference;
- ``nme_rigid``: after the rotation and shift (no scaling) with the least squared distance (Kabsch).
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation.landmark_truth import yaw_groups
from facesmith.evaluation.landmarks import ced, nme
from facesmith.evaluation.mat_file import read_mat
from facesmith.evaluation.predictions import align
from facesmith.evaluation.result import Curve, Provenance, Result

FloatArray = npt.NDArray[np.float64]

VERSION = "1"
IMAGES = 2000
_STEPS = np.linspace(0.0, 0.1, 201)


@dataclass(frozen=True, eq=False)
class Vertices(Mapping[str, FloatArray]):
    """Image name -> (V, 3) vertices in pixels, read from the files when they are asked for.

    2,000 faces of 53,215 vertices are 2.5 GB; so they are read one by one.
    """

    files: Mapping[str, Path]

    def __getitem__(self, name: str) -> FloatArray:
        return _check(_vertices(self.files[name]), str(self.files[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, eq=False)
class Truth:
    """Labelled meshes.

    Attributes:
        vertices: image name -> (V, 3) float64, pixels.
        scales: image name -> the length that errors are divided by.
        yaws: image name -> yaw in degrees.
    """

    vertices: Mapping[str, FloatArray]
    scales: Mapping[str, float]
    yaws: Mapping[str, float]

    def subset(self, names: Collection[str]) -> "Truth":
        """The truth of these images only."""
        wanted = set(names)
        kept = [name for name in self.scales if name in wanted]
        return Truth(self.vertices, {n: self.scales[n] for n in kept}, {n: self.yaws[n] for n in kept})


class _Label(NamedTuple):
    scale: float
    yaw: float


def read_vertices(folder: str | Path) -> Vertices:
    """Predictions: a folder with one ``IMAGE.npy`` a face, (V, 3) numbers. Read when they are needed.

    Raises:
        LabelError: the folder holds no such file.
    """
    files = {file.stem: file for file in sorted(Path(folder).glob("*.npy"))}
    if not files:
        raise LabelError(f"{folder}: holds no .npy file; expected one a face, named as its image")
    return Vertices(files)


def load_truth(folder: str | Path) -> Truth:
    """Read a folder with one file a face, named as its image.

    - ``.mat``, AFLW2000-3D's own where it has its fitted meshes: ``Fitted_Face`` (3, V), ``pt3d_68`` (3,
      68) and ``Pose_Para`` (pitch, yaw, roll in radians, ...). The files with parameters only do not
      suffice: their meshes come from the Basel Face Model, which cannot be shipped.
    - ``.npz``: ``vertices`` (V, 3), ``landmarks`` (68, 2 or 3) and ``yaw`` in degrees.

    Raises:
        LabelError: a file is malformed; the message names it.
    """
    if not Path(folder).is_dir():
        raise LabelError(f"{folder}: no such folder")
    files = {f.stem: f for f in sorted(Path(folder).iterdir()) if f.suffix in (".mat", ".npz")}
    if not files:
        raise LabelError(f"{folder}: holds no .mat or .npz file")
    labels = {name: _label(file) for name, file in files.items()}
    scales = {name: label.scale for name, label in labels.items()}
    return Truth(Vertices(files), scales, {name: label.yaw for name, label in labels.items()})


def evaluate(predictions: Mapping[str, FloatArray], truth: Truth, *, provenance: Provenance) -> Result:
    """``nme``, ``nme_depth``, ``nme_rigid``; each over all faces, by yaw range and as the ranges' mean.

    Args:
        predictions: image name -> (V, 3) vertices in the truth's order and unit, e.g. :func:`read_vertices`.
            One entry for every image of ``truth``.

    Raises:
        LabelError: image names do not match, or vertices have a wrong shape or are not finite.
    """
    names = list(truth.scales)
    keys = align({name: name for name in predictions}, names)
    errors = {view: np.zeros(len(names)) for view in _ALIGNMENTS}
    for i, (name, key) in enumerate(zip(names, keys, strict=True)):
        found, label = _check(predictions[key], f"image {key!r}"), truth.vertices[name]
        if found.shape != label.shape:
            raise LabelError(f"image {key!r}: {len(found):,} vertices, but the truth has {len(label):,}")
        for view, aligned in _ALIGNMENTS.items():
            errors[view][i] = nme(aligned(found, label)[None], label[None], [truth.scales[name]])[0]
    groups = yaw_groups(np.array([truth.yaws[name] for name in names]))
    metrics: dict[str, float] = {}
    for view, values in errors.items():
        parts = {f"{view}_{group}": float(values[m].mean()) for group, m in groups.items() if m.any()}
        metrics |= {view: float(values.mean())} | parts
        if len(parts) == len(groups):
            metrics[f"{view}_mean"] = float(np.mean(list(parts.values())))
    return Result(
        protocol="aflw2000-3d-mesh",
        version=VERSION,
        metrics=metrics,
        images=len(names),
        official_images=IMAGES,
        provenance=provenance,
        curves=tuple(
            Curve(view, _STEPS, ced(values, _STEPS), "NME", "share of faces") for view, values in errors.items()
        ),
        counts={f"faces_{group}": int(members.sum()) for group, members in groups.items()},
    )


def rigid(points: FloatArray, target: FloatArray) -> FloatArray:
    """(V, 3) ``points`` after the rotation and shift that bring them closest to ``target``; no reflection."""
    centre, goal = points.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((points - centre).T @ (target - goal))
    sign = np.array([1.0, 1.0, np.linalg.det(u @ vt)])
    moved: FloatArray = (points - centre) @ (u * sign) @ vt + goal
    return moved


def _shifted_in_depth(points: FloatArray, target: FloatArray) -> FloatArray:
    shifted = points.copy()
    shifted[:, 2] += (target[:, 2] - points[:, 2]).mean()
    return shifted


_ALIGNMENTS: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "nme": lambda points, target: points,
    "nme_depth": _shifted_in_depth,
    "nme_rigid": rigid,
}


def _label(file: Path) -> _Label:
    if file.suffix == ".mat":
        content = read_mat(file, "pt3d_68", "Pose_Para")
        landmarks, yaw = content["pt3d_68"].T, float(np.degrees(content["Pose_Para"].ravel()[1]))
    else:
        content = _read_npz(file, "landmarks", "yaw")
        landmarks, yaw = content["landmarks"], float(content["yaw"])
    if landmarks.ndim != 2 or landmarks.shape[0] != 68 or not np.isfinite([*landmarks.ravel(), yaw]).all():
        raise LabelError(f"{file}: needs 68 finite landmarks and a finite yaw, not {landmarks.shape}")
    size = np.ptp(landmarks[:, :2].astype(np.float64), axis=0)
    if not (size > 0).all():
        raise LabelError(f"{file}: the landmarks span no area to divide errors by")
    return _Label(float(np.sqrt(size.prod())), yaw)


def _vertices(file: Path) -> FloatArray:
    if file.suffix == ".mat":
        vertices: FloatArray = read_mat(file, "Fitted_Face")["Fitted_Face"].T
        return vertices
    if file.suffix == ".npz":
        return _read_npz(file, "vertices")["vertices"]
    try:
        array: FloatArray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LabelError(f"{file}: not a readable .npy file: {error}") from error
    return array


def _read_npz(file: Path, *keys: str) -> dict[str, FloatArray]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return {key: np.asarray(content[key], np.float64) for key in keys}
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise LabelError(f"{file}: not a .npz file with {', '.join(keys)}: {error}") from error


def _check(vertices: npt.ArrayLike, where: str) -> FloatArray:
    array = np.asarray(vertices, np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not np.isfinite(array).all():
        raise LabelError(f"{where}: needs finite vertices of the shape (V, 3), not {array.shape}")
    return array
