"""COCO average precision of boxes and of five keypoints (OKS), in a few numpy passes.

The rule is pycocotools' ``COCOeval`` (cocodataset/cocoapi, ``PythonAPI/pycocotools/cocoeval.py``): greedy
matching by descending score, crowd and ignored faces neutral, precision read at 101 recalls, mean over IoU
.5:.05:.95. The tests hold it to pycocotools within 1e-9. One difference: an annotation's own ``ignore`` flag
is honoured, which pycocotools reads and then overwrites with ``iscrowd``.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.errors import ConfigError, LabelError
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predictions import align
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

VERSION = "1"
THRESHOLDS: FloatArray = np.linspace(0.5, 0.95, 10)
RECALLS: FloatArray = np.linspace(0.0, 1.0, 101)
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Area ranges in square pixels, both ends included; COCO leaves small ones out of the keypoint figures."""
BOX_LIMITS: tuple[int, ...] = (1, 10, 100)
KEYPOINT_LIMITS: tuple[int, ...] = (20,)
"""Detections an image that count."""

_CELLS = 1 << 21  # truth faces x thresholds x areas handled in one numpy call: bounds the memory


@dataclass(frozen=True, eq=False)
class Truth:
    """The annotations of one category, face by face.

    Attributes:
        names: image names without suffix, in the order of their ids.
        image: (n,) int64, index into ``names``; ascending.
        boxes: (n, 4) float64, x, y, width, height in pixels, as stored.
        areas: (n,) float64, square pixels: the annotation's ``area``, or width times height without one.
        crowd: (n,) bool, ``iscrowd``: a region that any number of detections may fall into.
        ignored: (n,) bool, neither to be found nor to be punished; true for every crowd.
        keypoints: (n, 5, 3) float64, x, y and visibility (0: not labelled), or ``None`` if there are none.
    """

    names: tuple[str, ...]
    image: IntArray
    boxes: FloatArray
    areas: FloatArray
    crowd: BoolArray
    ignored: BoolArray
    keypoints: FloatArray | None

    def subset(self, names: Collection[str]) -> "Truth":
        """The truth of these images only."""
        wanted = set(names)
        old = [i for i, name in enumerate(self.names) if name in wanted]
        kept = np.isin(self.image, old)
        return Truth(
            tuple(self.names[i] for i in old),
            np.searchsorted(np.array(old, np.int64), self.image[kept]),
            self.boxes[kept],
            self.areas[kept],
            self.crowd[kept],
            self.ignored[kept],
            None if self.keypoints is None else self.keypoints[kept],
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """N detections in image order, within an image by descending score; ``rank`` counts them from 0."""

    image: IntArray
    rank: IntArray
    scores: FloatArray
    boxes: FloatArray  # (N, 4) x, y, width, height
    points: FloatArray  # (N, 5, 2), NaN where a detection has none
    areas: FloatArray


def load_truth(path: str | Path) -> Truth:
    """Read a COCO file: ``images`` (id, file_name) and ``annotations`` (image_id, bbox x y w h, ...).

    Optional in an annotation: ``area``, ``iscrowd``, ``ignore`` and ``keypoints`` (five times x, y, v). Where
    the file has several categories only the one called "face" is read.

    Raises:
        LabelError: the file is not such a JSON file; the message names the annotation.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        images = {int(row["id"]): image_name(str(row["file_name"])) for row in document["images"]}
        rows = [dict(row) for row in document["annotations"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelError(f"{path}: not a COCO annotation file ({type(error).__name__}: {error})") from error
    ids = sorted(images)
    if len(set(images.values())) != len(document["images"]):
        raise LabelError(f"{path}: two images share an id, or a name once the suffix is taken off")
    category = _face_category(document, path)
    rows = [row for row in rows if category is None or row.get("category_id") == category]
    position = {key: index for index, key in enumerate(ids)}
    parsed = sorted((_annotation(row, position, path) for row in rows), key=lambda face: face.image)
    crowd = np.array([face.crowd for face in parsed], bool)
    ignored = np.array([face.ignored for face in parsed], bool)
    pointed = any("keypoints" in row for row in rows)
    return Truth(
        names=tuple(images[key] for key in ids),
        image=np.array([face.image for face in parsed], np.int64),
        boxes=np.array([face.box for face in parsed], np.float64).reshape(-1, 4),
        areas=np.array([face.area for face in parsed], np.float64),
        crowd=crowd,
        ignored=crowd | ignored,
        keypoints=np.array([face.points for face in parsed]).reshape(-1, 5, 3) if pointed else None,
    )


def evaluate(
    predictions: Mapping[str, Faces],
    truth: Truth,
    *,
    provenance: Provenance,
    sigmas: Sequence[float] | None = None,
) -> Result:
    """Box AP and AR, and with ``sigmas`` also keypoint AP and AR.

    Args:
        predictions: image name -> faces, one entry for every image of ``truth``.
        sigmas: OKS fall-off of the five landmarks in the order of :class:`facesmith.faces.Landmark`, as a
            fraction of the square root of the face's area (COCO's persons: eyes .025, nose .026).

    Returns:
        ``AP``, ``AP50``, ``AP75``, ``AP_small/medium/large``, ``AR_1/10/100``, ``AR_small/medium/large``;
        keypoint figures carry the prefix ``keypoint_`` (20 detections an image, no small faces: COCO's rule).
        A range without a single face to find has a note instead of COCO's -1. A detection without landmarks
        has OKS 0.

    Raises:
        LabelError: image names do not match, or ``sigmas`` is given and one side has no keypoints.
        ConfigError: ``sigmas`` is not five positive numbers.
    """
    faces = align(predictions, truth.names)
    parts = [_score(_collect(faces, max(BOX_LIMITS)), truth, truth.ignored, None)]
    if sigmas is not None:
        falloff = _check_keypoints(faces, truth, sigmas)
        assert truth.keypoints is not None
        ignored = truth.ignored | ~(truth.keypoints[:, :, 2] > 0).any(axis=1)
        found = _sized_by_points(_collect(faces, max(KEYPOINT_LIMITS)))
        parts.append(_score(found, truth, ignored, falloff))
    return Result(
        protocol="coco",
        version=VERSION,
        metrics={name: value for part, _, _ in parts for name, value in part.items()},
        images=len(truth.names),
        official_images=None,
        provenance=provenance,
        curves=tuple(curve for _, part, _ in parts for curve in part),
        counts={"faces": int((~truth.ignored).sum()), "ignored": int(truth.ignored.sum())},
        notes=tuple(note for _, _, part in parts for note in part),
    )


def _score(
    found: _Found, truth: Truth, ignored: BoolArray, falloff: FloatArray | None
) -> tuple[dict[str, float], list[Curve], list[str]]:
    """Metrics, curves and notes of one similarity: IoU, or OKS where ``falloff`` is given."""
    prefix, limits = ("", BOX_LIMITS) if falloff is None else ("keypoint_", KEYPOINT_LIMITS)
    areas = [name for name in AREAS if falloff is None or name != "small"]
    ranges = np.array([AREAS[name] for name in areas])
    outside = (truth.areas < ranges[:, :1]) | (truth.areas > ranges[:, 1:])  # (A, n)
    dropped_faces = ignored | outside
    matched, dropped = _match_images(found, truth, dropped_faces, falloff)
    outside_found = (found.areas < ranges[:, :1]) | (found.areas > ranges[:, 1:])
    dropped |= ~matched & outside_found[:, None]
    positives = (~dropped_faces).sum(axis=1)
    metrics: dict[str, float] = {}
    curves: list[Curve] = []
    notes = []
    for a, name in enumerate(areas):
        if positives[a] == 0:
            notes.append(f"no {prefix}{name} figures: the annotations have no such face to find")
            continue
        suffixes = {limit: f"AR_{limit}" for limit in limits} if name == "all" else {limits[-1]: f"AR_{name}"}
        for limit, label in suffixes.items():
            kept = found.rank < limit
            hit, lost = matched[a][:, kept], dropped[a][:, kept]
            precision, recall = _curve(found.scores[kept], hit, lost, positives[a])
            metrics[prefix + label] = float(recall.mean())
        metrics[prefix + ("AP" if name == "all" else f"AP_{name}")] = float(precision.mean())
        for t, label in ((0, "AP50"), (5, "AP75")) if name == "all" else ():
            metrics[prefix + label] = float(precision[t].mean())
            curves.append(Curve(prefix + label, RECALLS, precision[t], "recall", "precision"))
    return dict(sorted(metrics.items())), curves, notes


def _curve(scores: FloatArray, matched: BoolArray, dropped: BoolArray, positives: int) -> tuple[FloatArray, FloatArray]:
    """(T, 101) interpolated precision and (T,) final recall from (N,) scores and (T, N) outcomes."""
    order = np.argsort(-scores, kind="stable")
    matched, dropped = matched[:, order], dropped[:, order]
    hits = np.cumsum(matched & ~dropped, axis=1, dtype=np.float64)
    misses = np.cumsum(~matched & ~dropped, axis=1, dtype=np.float64)
    recall = hits / positives
    precision = hits / (hits + misses + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)  # beyond the last recall: 0
    sampled = [row[np.searchsorted(reached, RECALLS)] for row, reached in zip(padded, recall, strict=True)]
    return np.array(sampled), recall[:, -1] if recall.shape[1] else np.zeros(len(recall))


def _match_images(
    found: _Found, truth: Truth, ignored: BoolArray, falloff: FloatArray | None
) -> tuple[BoolArray, BoolArray]:
    """(A, T, N) matched, and matched to an ignored face, for (A, n) ``ignored``.

    Images with alike numbers of detections and faces are padded to one size and matched together.
    """
    bounds = np.arange(len(truth.names) + 1)
    first_found, first_face = np.searchsorted(found.image, bounds), np.searchsorted(truth.image, bounds)
    shape = (len(ignored), len(THRESHOLDS), len(found.scores))
    matched, dropped = np.zeros(shape, bool), np.zeros(shape, bool)
    for images, d, g in _alike(np.diff(first_found), np.diff(first_face), shape[0] * shape[1]):
        similarity = np.full((len(images), d, g), -1.0)
        faces = first_face[images, None] + np.arange(g)
        present = faces < first_face[images + 1, None]
        faces = np.where(present, faces, 0)
        rows = first_found[images, None] + np.arange(d)
        kept = rows < first_found[images + 1, None]
        for b, image in enumerate(images):
            detections = slice(first_found[image], first_found[image + 1])
            labelled = slice(first_face[image], first_face[image + 1])
            values = (
                _box_similarity(found, truth, detections, labelled)
                if falloff is None
                else _keypoint_similarity(found, truth, detections, labelled, falloff)
            )
            similarity[b, : values.shape[0], : values.shape[1]] = values
        hit, lost = _match(similarity, present, truth.crowd[faces], ignored[:, faces].transpose(1, 0, 2))
        matched[:, :, rows[kept]] = hit.transpose(1, 2, 0, 3)[:, :, kept]
        dropped[:, :, rows[kept]] = lost.transpose(1, 2, 0, 3)[:, :, kept]
    return matched, dropped


def _alike(found: IntArray, faces: IntArray, planes: int) -> Iterator[tuple[IntArray, int, int]]:
    """Groups of images whose counts share a power of two, with the group's largest counts."""
    both = np.flatnonzero((found > 0) & (faces > 0))
    keys = np.stack([np.ceil(np.log2(found[both])), np.ceil(np.log2(faces[both]))], axis=1)
    for key in np.unique(keys, axis=0):
        group = both[(keys == key).all(axis=1)]
        d, g = int(found[group].max()), int(faces[group].max())
        step = max(1, _CELLS // (g * max(d, planes)))
        for start in range(0, len(group), step):
            yield group[start : start + step], d, g


def _match(
    similarity: FloatArray, present: BoolArray, crowd: BoolArray, ignored: BoolArray
) -> tuple[BoolArray, BoolArray]:
    """Greedy matching of B images at all areas and thresholds at once; one step per rank of detection.

    A detection takes the most similar free face that counts; if there is none, the most similar ignored one.
    Equal similarities: the later face, as in pycocotools.

    Args:
        similarity: (B, D, G); present, crowd: (B, G); ignored: (B, A, G).

    Returns:
        matched, and matched to an ignored face: (B, A, T, D) bool.
    """
    b, d, g = similarity.shape
    a, t = ignored.shape[1], len(THRESHOLDS)
    reusable = (crowd & present)[:, None, None]
    free = np.broadcast_to(present[:, None, None], (b, a, t, g)).copy()
    counts = ~ignored[:, :, None]
    matched, lost = np.zeros((b, a, t, d), bool), np.zeros((b, a, t, d), bool)
    every = np.indices((b, a, t))
    for rank in range(d):
        value = similarity[:, rank][:, None, None]
        able = (free | reusable) & (value >= THRESHOLDS[:, None])
        regular = able & counts
        pool = np.where(regular.any(axis=-1, keepdims=True), regular, able)
        best = g - 1 - np.argmax(np.where(pool, value, -1.0)[..., ::-1], axis=-1)
        matched[..., rank] = hit = pool.any(axis=-1)
        lost[..., rank] = hit & ~np.broadcast_to(counts, pool.shape)[(*every, best)]
        free[(*every, best)] &= ~hit
    return matched, lost


def _box_similarity(found: _Found, truth: Truth, detections: slice, faces: slice) -> FloatArray:
    """(D, G) IoU; against a crowd, the share of the detection that lies inside."""
    a, b = found.boxes[detections, None], truth.boxes[None, faces]
    size = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inside = np.where((size > 0).all(axis=-1), size[..., 0] * size[..., 1], 0.0)
    area_a, area_b = a[..., 2] * a[..., 3], b[..., 2] * b[..., 3]
    union = np.where(truth.crowd[faces], area_a, area_a + area_b - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def _keypoint_similarity(
    found: _Found, truth: Truth, detections: slice, faces: slice, falloff: FloatArray
) -> FloatArray:
    """(D, G) OKS over the labelled points; without any, distance from the box of three times the size."""
    assert truth.keypoints is not None
    points, labels = found.points[detections, None], truth.keypoints[None, faces]
    labelled: BoolArray = labels[..., 2] > 0
    bare: BoolArray = ~np.any(labelled, axis=-1)
    near, size = truth.boxes[None, faces, None, :2], truth.boxes[None, faces, None, 2:]
    beyond = np.maximum(0.0, near - size - points) + np.maximum(0.0, points - near - 2 * size)
    offset = np.where(bare[..., None, None], beyond, points - labels[..., :2])
    scale = (2 * falloff) ** 2 * (truth.areas[None, faces, None] + np.spacing(1)) * 2
    alike = np.exp(-(offset**2).sum(axis=-1) / scale)
    used = labelled | bare[..., None]
    oks: FloatArray = np.where(used, alike, 0.0).sum(axis=-1) / used.sum(axis=-1)
    return np.nan_to_num(oks)


def _collect(faces: Sequence[Faces], limit: int) -> _Found:
    """The best ``limit`` detections of every image."""
    kept = [f[np.argsort(-f.scores, kind="stable")[:limit]] for f in faces]
    counts = [len(f) for f in kept]
    corners = np.concatenate([np.zeros((0, 4)), *(f.boxes for f in kept)])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    points = [np.full((len(f), 5, 2), np.nan) if f.landmarks is None else f.landmarks for f in kept]
    return _Found(
        image=np.repeat(np.arange(len(counts)), counts),
        rank=np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)]),
        scores=np.concatenate([np.zeros(0), *(f.scores for f in kept)]),
        boxes=boxes,
        points=np.concatenate([np.zeros((0, 5, 2)), *points]),
        areas=boxes[:, 2] * boxes[:, 3],
    )


def _sized_by_points(found: _Found) -> _Found:
    """The same detections with the area that their points span, as pycocotools' ``loadRes`` takes it."""
    spanned = np.prod(found.points.max(axis=1) - found.points.min(axis=1), axis=1)
    return replace(found, areas=np.where(np.isnan(spanned), found.areas, spanned))


def _check_keypoints(faces: Sequence[Faces], truth: Truth, sigmas: Sequence[float]) -> FloatArray:
    falloff = np.asarray(sigmas, np.float64)
    if falloff.shape != (5,) or not (np.isfinite(falloff) & (falloff > 0)).all():
        raise ConfigError(f"sigmas must be five positive numbers, one a landmark, not {list(sigmas)}")
    if truth.keypoints is None:
        raise LabelError("the annotations have no keypoints; leave sigmas out, or read a file that has them")
    bare = [name for name, f in zip(truth.names, faces, strict=True) if len(f) and f.landmarks is None]
    if bare:
        raise LabelError(f"{bare[0]!r}: predictions without landmarks; leave sigmas out to score the boxes")
    return falloff


class _Annotation(NamedTuple):
    image: int
    box: FloatArray
    area: float
    points: FloatArray
    crowd: bool
    ignored: bool


def _annotation(row: dict[str, Any], position: Mapping[int, int], path: Path) -> _Annotation:
    where = f"{path}: annotation {row.get('id', '(without id)')}"
    if row.get("image_id") not in position:
        raise LabelError(f"{where}: image_id {row.get('image_id')!r} is not among the images")
    try:
        box = np.array(row["bbox"], np.float64)
        area = float(row.get("area", box[2] * box[3]))
        points = np.array(row.get("keypoints", [0.0] * 15), np.float64)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise LabelError(f"{where}: {type(error).__name__}: {error}; needs bbox [x, y, w, h]") from error
    if box.shape != (4,) or not np.isfinite([*box, area]).all() or (box[2:] < 0).any():
        raise LabelError(f"{where}: bbox must be four finite numbers x, y, w, h, not {row['bbox']}")
    if points.shape != (15,) or not np.isfinite(points).all():
        raise LabelError(f"{where}: keypoints must be five times x, y, v, not {row['keypoints']}")
    crowd, ignored = bool(row.get("iscrowd", 0)), bool(row.get("ignore", 0))
    return _Annotation(position[row["image_id"]], box, area, points.reshape(5, 3), crowd, ignored)


def _face_category(document: dict[str, Any], path: Path) -> int | None:
    """Id of the category to read, or ``None`` where the file has at most one."""
    ids: dict[str, int] = {str(row.get("name")).lower(): row.get("id") for row in document.get("categories", [])}
    if len(ids) > 1 and "face" not in ids:
        raise LabelError(f"{path}: none of the categories {sorted(ids)} is called 'face'")
    return ids["face"] if len(ids) > 1 else None
