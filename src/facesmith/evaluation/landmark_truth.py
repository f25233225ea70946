"""The landmark benchmarks: what each one measures, and readers of their label files.

Label files are read as they are, in pixels; only 300W's ``.pts`` files, which count pixel centres from 1, are
shifted by -0.5 to facesmith's origin at the outer corner of the top-left pixel.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation.label_text import read_blocks
from facesmith.evaluation.mat_file import read_mat
from facesmith.evaluation.names import image_name
from facesmith.faces import FIVE_OF

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

AFLW_TRAINING_FACES = 20000


class Raw(NamedTuple):
    """Columns of a label file, a face a row; points in the file's own layout."""

    names: list[str]  # image of each face
    points: FloatArray  # (n, k, 2)
    visible: BoolArray  # (n, k)
    boxes: FloatArray | None = None  # (n, 4) x1, y1, x2, y2
    yaws: FloatArray | None = None  # (n,) degrees
    images: list[str] | None = None  # all images, where some have no face
    poses: FloatArray | None = None  # (n, 3) pitch, yaw, roll in degrees, see head_pose


class View(NamedTuple):
    """One way to measure the same points: by which length, over which of them.

    Attributes:
        name: suffix of the figures, empty for a protocol's only view.
        scale: (raw labels, boxes, evaluated points) -> the (n,) length that errors are divided by.
        visible_only: leave out points that the labels call invisible.
    """

    name: str
    scale: Callable[[Raw, FloatArray, FloatArray], FloatArray]
    visible_only: bool = False


@dataclass(frozen=True)
class Protocol:
    """What a benchmark measures.

    Attributes:
        name: e.g. ``"aflw"``.
        labelled: points of a face in its label files.
        reader: reads its original label files.
        views: how errors are measured; the first is the main one.
        images: size of the complete benchmark.
        pick: (n, labelled, c) columns of the labels -> (n, k, c) of the points that are evaluated.
        failures: thresholds of the failure rate.
        areas: thresholds up to which the area under the error distribution is taken.
        boxed: labels must have boxes; elsewhere a face's box is the one that its points span.
        faces_are_images: the size is told in faces, several of which may share a picture.
    """

    name: str
    labelled: int
    reader: Callable[[Path], Raw]
    views: tuple[View, ...]
    images: int
    pick: Callable[[FloatArray], FloatArray] = field(default=lambda points: points)
    failures: tuple[float, ...] = (0.1,)
    areas: tuple[float, ...] = ()
    boxed: bool = False
    faces_are_images: bool = False


@dataclass(frozen=True, eq=False)
class Truth:
    """Labelled faces.

    Attributes:
        protocol: the benchmark.
        images: image names without suffix.
        image: (n,) int64, index into ``images`` of each of the n faces.
        points: (n, k, 2) float64 pixels.
        visible: (n, k) bool; all false for a face without landmarks, which only takes part in matching.
        boxes: (n, 4) float64, x1, y1, x2, y2 in pixels.
        scales: view -> (n,) float64, the length that errors are divided by.
        groups: group -> (n,) bool, e.g. yaw ranges.
        poses: (n, 3) pitch, yaw, roll in degrees (``head_pose``); ``None`` where the labels have none.
    """

    protocol: Protocol
    images: tuple[str, ...]
    image: IntArray
    points: FloatArray
    visible: BoolArray
    boxes: FloatArray
    scales: Mapping[str, FloatArray]
    groups: Mapping[str, BoolArray]
    poses: FloatArray | None = None

    def subset(self, names: Collection[str]) -> "Truth":
        """The truth of these images only."""
        wanted = set(names)
        old = np.array([i for i, name in enumerate(self.images) if name in wanted], np.int64)
        kept = np.isin(self.image, old)
        return Truth(
            self.protocol,
            tuple(self.images[i] for i in old),
            np.searchsorted(old, self.image[kept]),
            self.points[kept],
            self.visible[kept],
            self.boxes[kept],
            {view: scale[kept] for view, scale in self.scales.items()},
            {group: member[kept] for group, member in self.groups.items()},
            None if self.poses is None else self.poses[kept],
        )


def load_truth(path: str | Path, protocol: Protocol) -> Truth:
    """Read a benchmark's original label files, or our JSON lines.

    - ``AFLW``, ``AFLW_FIVE``: ``AFLWinfo_release.mat``: ``bbox`` (N, 4) left, right, top, bottom; ``data``
      (N, 38) 19 x, then 19 y; ``mask_new`` (N, 19); ``nameList``; ``ra``, a permutation from 1 whose part
      after the 20,000th is the test set (``AFLW_FIVE`` takes all faces).
    - ``AFLW2000_3D``: the folder of ``.mat`` files with ``pt3d_68`` (3, 68) and ``Pose_Para`` (pitch, yaw,
      roll in radians, ...).
    - ``W300``: a folder of ``.pts`` files. Where it holds ``ibug``, only ``ibug``, ``helen/testset`` and
      ``lfpw/testset`` are read.
    - ``WIDER_FACE``: RetinaFace's ``label.txt``: ``# image`` and lines ``x y w h`` with or without five times
      ``x y flag`` and a last number; all -1: no landmarks.
    - ``FRAMES``, ``FRAMES_68``: ``# image`` and lines of 68 times ``x y``.
    - any, from a ``.jsonl`` file: one object a face: ``image``, ``points`` (as many as the label files
      have) and, where needed, ``box`` [x1, y1, x2, y2], ``visible`` (0 or 1 a point) and ``yaw`` in
      degrees.

    Raises:
        LabelError: a file is malformed; the message names file and line, or the image.
    """
    path = Path(path)
    raw = _read_jsonl(path, protocol.labelled) if path.suffix == ".jsonl" else protocol.reader(path)
    if not raw.names:
        raise LabelError(f"{path}: holds no labelled face")
    if protocol.boxed and raw.boxes is None:
        raise LabelError(f"{path}: {protocol.name} divides errors by the size of the face's box; none is given")
    boxes = bounds(raw.points) if raw.boxes is None else raw.boxes
    picked = protocol.pick(np.concatenate([raw.points, raw.visible[:, :, None]], axis=2))
    points, visible = picked[:, :, :2], picked[:, :, 2] == 1  # a mean of points is visible if all of them are
    scales = {view.name: view.scale(raw, boxes, points) for view in protocol.views}
    for view, scale in scales.items():
        bad = ~(scale > 0) & np.any(visible, axis=1)
        if bad.any():
            name, kind = raw.names[int(bad.argmax())], f" ({view})" if view else ""
            raise LabelError(f"{path}: image {name!r}: the length{kind} to divide errors by is 0")
    position = {name: i for i, name in enumerate(dict.fromkeys(raw.images or raw.names))}
    image = np.array([position[name] for name in raw.names], np.int64)
    return Truth(protocol, tuple(position), image, points, visible, boxes, scales, _groups(raw), raw.poses)


def bounds(points: FloatArray) -> FloatArray:
    """(n, k, 2) points to the (n, 4) boxes x1, y1, x2, y2 that they span."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def five_of_68(points: FloatArray) -> FloatArray:
    """(n, 68, c) to (n, 5, c): means of points 37-42 and 43-48 (counted from 1), then 31, 49 and 55."""
    eyes = [points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)]
    return np.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], axis=1)


def yaw_groups(yaws: FloatArray) -> dict[str, BoolArray]:
    """Absolute yaw up to 30 degrees, over 30 up to 60, over 60 (3DDFA's ``benchmark_aflw2000.py``)."""
    turned = np.abs(yaws)
    first, last = turned <= 30, turned > 60
    return {"yaw_0_30": first, "yaw_30_60": ~first & ~last, "yaw_60_90": last}


def _groups(raw: Raw) -> dict[str, BoolArray]:
    if raw.yaws is not None:
        return yaw_groups(raw.yaws)
    hard = np.array([name.startswith("ibug/") for name in raw.names], bool)
    return {"common": ~hard, "challenging": hard} if hard.any() else {}


def _box_size(raw: Raw, boxes: FloatArray, points: FloatArray) -> FloatArray:
    """The square root of width times height of the box."""
    size = boxes[:, 2:] - boxes[:, :2]
    length: FloatArray = np.sqrt(np.maximum(size, 0.0).prod(axis=1))
    return length


def _outer_eyes(raw: Raw, boxes: FloatArray, points: FloatArray) -> FloatArray:
    """The distance of the outer eye corners, points 37 and 46 of 68."""
    return _distance(raw.points[:, 36], raw.points[:, 45])


def _eye_centres(raw: Raw, boxes: FloatArray, points: FloatArray) -> FloatArray:
    """The distance of the first two of the five points."""
    return _distance(points[:, 0], points[:, 1])


def _distance(a: FloatArray, b: FloatArray) -> FloatArray:
    length: FloatArray = np.linalg.norm(a - b, axis=1)
    return length


def _read_aflw(path: Path) -> Raw:
    content = read_mat(path, "bbox", "data", "mask_new", "nameList")
    try:
        n = len(content["data"])
        names = [image_name(str(np.ravel(cell)[0])) for cell in content["nameList"].ravel()]
        points = content["data"].astype(np.float64).reshape(n, 2, 19).transpose(0, 2, 1)
        left, right, top, bottom = content["bbox"].astype(np.float64).reshape(n, 4).T
        visible = content["mask_new"].reshape(n, 19) == 1
    except (ValueError, IndexError) as error:
        raise LabelError(f"{path}: not AFLWinfo_release.mat's layout: {error}") from error
    if len(names) != n or not np.isfinite(points).all():
        raise LabelError(f"{path}: {len(names)} names for {n} faces, or points that are not finite")
    return Raw(names, points, visible, np.stack([left, top, right, bottom], axis=1))


def _read_aflw_test(path: Path) -> Raw:
    raw = _read_aflw(path)
    order = read_mat(path, "ra")["ra"].ravel().astype(np.int64) - 1
    if sorted(order) != list(range(len(raw.names))) or len(order) <= AFLW_TRAINING_FACES:
        raise LabelError(f"{path}: 'ra' must be a permutation of more than {AFLW_TRAINING_FACES:,} faces")
    test = order[AFLW_TRAINING_FACES:]
    boxes = None if raw.boxes is None else raw.boxes[test]
    return Raw([raw.names[i] for i in test], raw.points[test], raw.visible[test], boxes)


def _read_aflw2000(path: Path) -> Raw:
    files = sorted(path.glob("*.mat"))
    points, poses = [], []
    for file in files:
        content = read_mat(file, "pt3d_68", "Pose_Para")
        if content["pt3d_68"].shape != (3, 68) or not np.isfinite(content["pt3d_68"]).all():
            raise LabelError(f"{file}: pt3d_68 must hold 3 x 68 finite numbers, not {content['pt3d_68'].shape}")
        points.append(content["pt3d_68"][:2].T)
        if content["Pose_Para"].size < 3 or not np.isfinite(content["Pose_Para"].ravel()[:3]).all():
            raise LabelError(f"{file}: Pose_Para must begin with finite pitch, yaw and roll")
        poses.append(np.degrees(content["Pose_Para"].ravel()[:3]))
    stacked = np.array(points, np.float64).reshape(-1, 68, 2)
    visible = np.ones(stacked.shape[:2], bool)
    angles = np.array(poses, np.float64).reshape(-1, 3)
    return Raw([file.stem for file in files], stacked, visible, yaws=angles[:, 1], poses=angles)


def _read_pts(path: Path) -> Raw:
    folders = ("helen/testset", "ibug", "lfpw/testset") if (path / "ibug").is_dir() else (".",)
    files = sorted(file for folder in folders for file in (path / folder).rglob("*.pts"))
    names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
    points = np.array([_pts(file) for file in files]).reshape(-1, 68, 2)
    return Raw(names, points - 0.5, np.ones(points.shape[:2], bool))


def _pts(file: Path) -> FloatArray:
    try:
        inside = file.read_text(encoding="utf-8-sig").split("{")[1].split("}")[0]
        points = np.array([float(word) for word in inside.split()])
    except (OSError, ValueError, IndexError) as error:
        raise LabelError(f"{file}: not a .pts file with its points in braces: {error}") from error
    if len(points) != 136 or not np.isfinite(points).all():
        raise LabelError(f"{file}: {len(points)} numbers, expected 68 finite points (136)")
    return points


def _read_wider(path: Path) -> Raw:
    five = "x y w h, five times x y flag"
    columns = {4: "x y w h", 19: five, 20: five + ", blur"}
    blocks = read_blocks(path, columns)
    pairs = [(name, row) for name, rows in blocks.items() for row in rows]
    values = np.array([np.append(row.values, [-1.0] * 15)[:19] for _, row in pairs]).reshape(-1, 19)
    boxes = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    points = values[:, 4:].reshape(-1, 5, 3)[:, :, :2]
    labelled = (points != -1).any(axis=2)
    partly = labelled.any(axis=1) & ~labelled.all(axis=1)
    if partly.any():
        raise LabelError(f"{pairs[int(partly.argmax())][1].where}: a face has all five landmarks or none (-1)")
    return Raw([name for name, _ in pairs], points, labelled, boxes, images=list(blocks))


def _read_68(path: Path) -> Raw:
    pairs = [(name, row) for name, rows in read_blocks(path, {136: "68 times x y"}).items() for row in rows]
    points = np.array([row.values for _, row in pairs]).reshape(-1, 68, 2)
    return Raw([name for name, _ in pairs], points, np.ones(points.shape[:2], bool))


def _read_jsonl(path: Path, count: int) -> Raw:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as text: {error}") from error
    rows = [_json_face(line, f"{path}:{i}", count) for i, line in enumerate(lines, 1) if line.strip()]
    for key in ("box", "yaw"):
        given = [key in row for row in rows]
        if any(given) and not all(given):
            raise LabelError(f"{path}: {sum(given)} of {len(given)} faces have a {key!r}; all or none must")
    return Raw(
        [row["image"] for row in rows],
        np.array([row["points"] for row in rows]).reshape(-1, count, 2),
        np.array([row["visible"] for row in rows]).reshape(-1, count),
        np.array([row["box"] for row in rows]) if rows and "box" in rows[0] else None,
        np.array([row["yaw"] for row in rows]) if rows and "yaw" in rows[0] else None,
    )


def _json_face(line: str, where: str, count: int) -> dict[str, Any]:
    try:
        face = json.loads(line)
        row: dict[str, Any] = {"image": image_name(face["image"])}
        row["points"] = np.array(face["points"], np.float64)
        row["visible"] = np.array(face.get("visible", [1] * count)) == 1
        row |= {key: np.array(face[key], np.float64) for key in ("box", "yaw") if key in face}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelError(f"{where}: {type(error).__name__}: {error}; needs image and points") from error
    for key, shape in (("points", (count, 2)), ("visible", (count,)), ("box", (4,)), ("yaw", ())):
        if key in row and (row[key].shape != shape or not np.isfinite(row[key]).all()):
            raise LabelError(f"{where}: {key!r} must hold {shape} finite numbers, not {row[key].shape}")
    return row


_BOX = View("", _box_size)
_ALL_AND_VISIBLE = (View("all", _box_size), View("visible", _box_size, visible_only=True))

AFLW = Protocol("aflw", 19, _read_aflw_test, _ALL_AND_VISIBLE, 4386, boxed=True, faces_are_images=True)
"""AFLW-Full's test set, 19 points, the square root of the box's area; all 19 and the visible ones only."""

AFLW_FIVE = replace(AFLW, name="aflw5", reader=_read_aflw, images=24386, pick=lambda points: points[:, FIVE_OF[19]])
"""RetinaFace, section 4.5: all faces of AFLW, five points, the square root of the box's area."""

AFLW2000_3D = Protocol("aflw2000-3d", 68, _read_aflw2000, (_BOX,), 2000)
"""68 points in 2D, the square root of the area that the labelled points span; yaw ranges and their mean."""

W300 = Protocol("300w", 68, _read_pts, (View("", _outer_eyes),), 689, failures=(0.08, 0.1), areas=(0.08, 0.1))
"""300W's full test set, 68 points, the distance of the outer eye corners."""

WIDER_FACE = Protocol("widerface-landmarks", 5, _read_wider, (_BOX,), 3226, boxed=True)
"""WIDER FACE's validation set with RetinaFace's five points, the square root of the box's area."""

FRAMES = Protocol(
    "frames", 68, _read_68, (View("box", _box_size), View("interocular", _eye_centres)), 300, pick=five_of_68
)
"""Our 300 development frames: five points, by the area that the 68 labels span and by the eyes' distance."""

FRAMES_68 = replace(W300, name="frames-68", reader=_read_68, images=300)
"""Our 300 development frames, all 68 points, measured as in 300W."""
