"""AFW and PASCAL Face by the rules of face-eval (Mathias et al., ECCV 2014; ``plot_AP.py``, ``VOCpr.py``).

- Truth faces under 30 px in width or height are ignored, as are those that the labels flag.
- Detections stay if their width or height is over 21 px (the integer part of sqrt(30 · 30 / 2)).
- A detection takes the truth face of the largest IoU, border pixels counted (+1), the last among equals. With
  an IoU strictly above .5 it is a hit if it is the face's first, a false positive if not, and neutral if the
  face is ignored. Otherwise it is a false positive.
- AP is the area under the precision envelope over all points (VOC 2010).
- Published figures are refined: five rounds, and between two rounds all detections are moved and scaled by
  the mean offset and ratio of the hits, so the fifth round sees four refinements. Both figures are given.

Equal scores keep the order of image names, then of the predictions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation.label_text import read_boxes
from facesmith.evaluation.mat_file import read_mat
from facesmith.evaluation.names import image_name
from facesmith.evaluation.overlap import best_overlap
from facesmith.evaluation.predictions import Predictions, align
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

VERSION = "1"
SMALLEST_FACE = 30.0
SMALLEST_DETECTION = 21.0
ROUNDS = 5


@dataclass(frozen=True)
class Benchmark:
    """A data set: its name, its images, and its faces that count where that number is published."""

    name: str
    images: int
    faces: int | None


AFW = Benchmark("afw", 205, 473)
PASCAL = Benchmark("pascal", 851, 1341)


@dataclass(frozen=True, eq=False)
class Truth:
    """Labelled faces.

    Attributes:
        benchmark: which data set.
        names: image names without suffix, sorted.
        boxes: one (m, 4) float64 array an image: x1, y1, x2, y2 in the labels' pixels.
        ignored: one (m,) bool array an image: flagged in the labels, or under 30 px.
    """

    benchmark: Benchmark
    names: tuple[str, ...]
    boxes: tuple[FloatArray, ...]
    ignored: tuple[BoolArray, ...]

    def subset(self, names: Collection[str]) -> "Truth":
        """The truth of these images only."""
        wanted = set(names)
        kept = [i for i, name in enumerate(self.names) if name in wanted]
        return Truth(
            self.benchmark,
            tuple(self.names[i] for i in kept),
            tuple(self.boxes[i] for i in kept),
            tuple(self.ignored[i] for i in kept),
        )


def load_truth(path: str | Path, benchmark: Benchmark) -> Truth:
    """Read face-eval's label file, or our plain text.

    - ``.mat``: ``new_annotations_AFW.mat`` or ``Annotations_Face_PASCALLayout_large_fixed.mat``: a struct
      array ``Annotations`` with ``imgname`` and ``objects``, rows x1 y1 x2 y2, a fifth number that is not
      used and a sixth that is not 0 for faces to ignore (rows of PASCAL may end after the fourth).
    - anything else: text, ``# image`` and then lines ``x y w h`` or ``x y w h ignored`` (0 or 1).

    Raises:
        LabelError: the file is malformed; the message names the line or the image.
    """
    path = Path(path)
    rows = _read_mat(path) if path.suffix == ".mat" else read_boxes(path)
    return truth_of(rows, benchmark, SMALLEST_FACE)


def truth_of(rows: Mapping[str, FloatArray], benchmark: Benchmark, smallest: float) -> Truth:
    """Truth of image name -> (m, 5) x1, y1, x2, y2, flag; flagged or small faces are ignored."""
    names = sorted(rows)
    boxes = [rows[name][:, :4] for name in names]
    sides = [np.abs(b[:, 2:] - b[:, :2]) for b in boxes]
    small = [(s < smallest).any(axis=1) for s in sides]
    ignored = [s | (rows[name][:, 4] != 0) for s, name in zip(small, names, strict=True)]
    return Truth(benchmark, tuple(names), tuple(boxes), tuple(ignored))


def evaluate(predictions: Predictions, truth: Truth, *, provenance: Provenance) -> Result:
    """``AP`` as predicted, and ``AP_refined`` after face-eval's global box refinement.

    ``refined_dx`` and ``refined_dy`` (fractions of a box's width and height) and ``refined_sx`` and
    ``refined_sy`` are the one transform that equals all refinements that the last round has seen.

    Args:
        predictions: image name -> faces, one entry for every image of ``truth``.

    Raises:
        LabelError: image names do not match, or the truth holds no face that counts.
    """
    found = collect(align(predictions, truth.names))
    size = found.boxes[:, 2:] - found.boxes[:, :2]
    found = found.take(size.max(axis=1) > SMALLEST_DETECTION)
    labels = Labels.of(truth.boxes, truth.ignored)
    plain = precision_recall(match(found, labels), labels.count)
    boxes, transform = refine(found, labels)
    refined = precision_recall(match(replace(found, boxes=boxes), labels), labels.count)
    dx, dy, sx, sy = transform.tolist()
    metrics = {"AP": plain.area, "AP_refined": refined.area, "refined_dx": dx, "refined_dy": dy}
    metrics |= {"refined_sx": sx, "refined_sy": sy}
    return Result(
        protocol=truth.benchmark.name,
        version=VERSION,
        metrics=metrics,
        images=len(truth.names),
        official_images=truth.benchmark.images,
        provenance=provenance,
        curves=(plain.curve("as predicted"), refined.curve("refined")),
        counts={"faces": labels.count, "ignored": int(labels.ignored.sum()), "detections": len(boxes)},
        notes=_other_labels(truth, labels.count),
    )


def _other_labels(truth: Truth, faces: int) -> tuple[str, ...]:
    """A note where the complete benchmark has another number of faces than the published one."""
    if len(truth.names) != truth.benchmark.images or faces == truth.benchmark.faces:
        return ()
    return (f"these labels have {faces:,} faces that count, the official ones {truth.benchmark.faces:,}",)


@dataclass(frozen=True, eq=False)
class Detections:
    """All N detections by descending score: boxes (N, 4) float64, scores (N,), index of the image (N,)."""

    boxes: FloatArray
    scores: FloatArray
    image: IntArray

    def take(self, rows: BoolArray) -> "Detections":
        """Those of ``rows``."""
        return Detections(self.boxes[rows], self.scores[rows], self.image[rows])


@dataclass(frozen=True, eq=False)
class Labels:
    """All M faces in image order: boxes (M, 4), ignored (M,), and each image's first face (images + 1,)."""

    boxes: FloatArray
    ignored: BoolArray
    first: IntArray

    @classmethod
    def of(cls, boxes: Sequence[FloatArray], ignored: Sequence[BoolArray]) -> "Labels":
        """From one array an image.

        Raises:
            LabelError: no face counts.
        """
        first = np.cumsum([0, *(len(b) for b in boxes)])
        labels = cls(np.concatenate([np.zeros((0, 4)), *boxes]), np.concatenate([np.zeros(0, bool), *ignored]), first)
        if labels.count == 0:
            raise LabelError(f"none of the {len(labels.ignored)} labelled faces counts; there is nothing to find")
        return labels

    @property
    def count(self) -> int:
        """Faces that are to be found."""
        return int((~self.ignored).sum())


class Matches(NamedTuple):
    """What became of each detection, (N,) each: index of its best face (-1: none), hit, false positive."""

    face: IntArray
    hit: BoolArray
    false: BoolArray


class PrecisionRecall(NamedTuple):
    """A precision-recall curve and the area under its envelope."""

    recall: FloatArray
    precision: FloatArray
    area: float

    def curve(self, name: str) -> Curve:
        """For plots."""
        return Curve(name, self.recall, self.precision, "recall", "precision")


def collect(faces: Sequence[Faces]) -> Detections:
    """All detections by descending score; equal scores in the order of images, then of the predictions."""
    scores = np.concatenate([np.zeros(0), *(f.scores for f in faces)])
    order = np.argsort(-scores, kind="stable")
    image = np.repeat(np.arange(len(faces)), [len(f) for f in faces])
    boxes = np.concatenate([np.zeros((0, 4)), *(f.boxes for f in faces)])
    return Detections(boxes[order], scores[order], image[order])


def match(found: Detections, labels: Labels) -> Matches:
    """PASCAL VOC's matching, as the module's docstring states it."""
    face, iou = np.full(len(found.boxes), -1), np.zeros(len(found.boxes))
    by_image = np.argsort(found.image, kind="stable")
    bounds = np.searchsorted(found.image[by_image], np.arange(len(labels.first)))
    for i in np.flatnonzero((np.diff(bounds) > 0) & (np.diff(labels.first) > 0)):
        rows, last = by_image[bounds[i] : bounds[i + 1]], labels.first[i + 1]
        from_last, iou[rows] = best_overlap(found.boxes[rows], labels.boxes[labels.first[i] : last][::-1])
        face[rows] = last - 1 - from_last
    reached = iou > 0.5
    counted = reached & ~labels.ignored[face]
    hit = np.zeros(len(face), bool)
    candidates = np.flatnonzero(counted)
    hit[candidates[np.unique(face[candidates], return_index=True)[1]]] = True
    return Matches(face, hit, ~reached | (counted & ~hit))


def precision_recall(matches: Matches, faces: int) -> PrecisionRecall:
    """The curve over all detections that are not neutral, and VOC 2010's average precision."""
    decided = matches.hit | matches.false
    hits = np.cumsum(matches.hit[decided])
    recall, precision = hits / faces, hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return PrecisionRecall(recall, precision, float((np.diff(recall, prepend=0.0) * envelope).sum()))


def refine(found: Detections, labels: Labels) -> tuple[FloatArray, FloatArray]:
    """The boxes (N, 4) that the last of the five rounds sees, and their whole transform (dx, dy, sx, sy)."""
    boxes, total = found.boxes, np.array([0.0, 0.0, 1.0, 1.0])
    for _ in range(ROUNDS - 1):
        matches = match(replace(found, boxes=boxes), labels)
        if not matches.hit.any():
            break
        (centre, size), (true_centre, true_size) = _halves(boxes), _halves(labels.boxes[matches.face])
        hit = matches.hit
        shift = ((true_centre - centre)[hit] / size[hit]).mean(axis=0)
        scale = (true_size[hit] / size[hit]).mean(axis=0)
        centre, size = centre + shift * size, size * scale
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        total = np.concatenate([total[:2] + shift * total[2:], total[2:] * scale])
    return boxes, total


def _halves(boxes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centres and sizes, (N, 2) each."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def _read_mat(path: Path) -> dict[str, FloatArray]:
    """Image name -> (m, 5): x1, y1, x2, y2, ignored."""
    try:
        records = read_mat(path, "Annotations")["Annotations"].ravel()
        pairs = [(str(np.ravel(row["imgname"])[0]), row["objects"]) for row in records]
    except (ValueError, IndexError) as error:
        raise LabelError(
            f"{path}: not face-eval's label file: 'Annotations' must have imgname and objects ({error})"
        ) from error
    images: dict[str, FloatArray] = {}
    for name, objects in pairs:
        key = image_name(name).rsplit("/", 1)[-1]
        if key in images:
            raise LabelError(f"{path}: image {name!r} is there twice")
        images[key] = _objects(objects, f"{path}: image {name!r}")
    return images


def _objects(objects: Any, where: str) -> FloatArray:
    """A numeric matrix, or a cell of rows, to (m, 5)."""
    if not objects.size:
        return np.zeros((0, 5))
    rows = objects.ravel() if objects.dtype == object else np.atleast_2d(objects)
    values = np.zeros((len(rows), 5))
    for value, row in zip(values, rows, strict=True):
        row = np.asarray(row, np.float64).ravel()
        if len(row) < 4 or not np.isfinite(row[:4]).all():
            raise LabelError(f"{where}: a face needs finite x1 y1 x2 y2, not {row.tolist()}")
        value[:4], value[4] = row[:4], row[5] if len(row) > 5 else 0
    return values
