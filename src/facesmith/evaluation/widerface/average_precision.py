"""WIDER FACE's average precision.

The rule is that of the official MATLAB evaluation (Yang et al., "WIDER FACE: A Face Detection Benchmark",
CVPR 2016; ``norm_score.m``, ``evaluation.m``, ``boxoverlap.m``, ``VOCap.m``) since March 2017:

- Scores are min-max normalised over all images. The official maximum starts at ``realmin('single')``, about
  1e-38, not at minus infinity: if every score is negative, the best one stays below 1, and the first
  thresholds keep nothing. If all scores are equal and positive, 0/0 is nowhere above a threshold, and nothing
  counts.
- In each image predictions are taken by descending score, ties in file order. Each goes to the first best box
  by IoU (+1 pixels, :func:`facesmith.evaluation.overlap.inclusive_iou`) among *all* boxes, whatever the
  subset and whether or not the box was hit before.
- If that IoU is at least .5: a box outside the subset takes the prediction out of the proposals; a box of the
  subset hit for the first time is recalled; hit again, the prediction stays a false proposal.
- At thresholds 1 - t/1000, t = 1…1000: precision = Σ recalled / Σ proposals, recall = Σ recalled / faces of
  the subset; AP is the area under the monotone envelope of these points.
- An image without boxes or without predictions is skipped, so predictions where there is no box cost nothing;
  its faces stay in the number of faces.

Scores and boxes are float32 (:class:`facesmith.Faces`), sums float64. Whatever the number of subsets and IoU
thresholds, overlaps are worked out once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.evaluation.overlap import best_overlap
from facesmith.evaluation.widerface.truth import Truth
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

THRESHOLDS = 1000
_ASCENDING = 1 - np.arange(THRESHOLDS, 0, -1) / THRESHOLDS
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Matches:
    """All predictions that the rule looks at, image after image, in each by descending score.

    Attributes:
        image: (p,) int64, index of the image.
        row: (p,) int64, index of the prediction within its image's ``Faces``.
        score: (p,) float64, as given.
        box: (p,) int64, the first best box, an index into the ground truth's boxes.
        overlap: (p,) float64, the IoU with it.
        threshold: (p,) int64, index of the first threshold that the normalised score reaches, 1000 if none.
    """

    image: IntArray
    row: IntArray
    score: FloatArray
    box: IntArray
    overlap: FloatArray
    threshold: IntArray


class PrecisionRecall(NamedTuple):
    """Sums at the 1,000 thresholds, (1000,) int64 each, and the number of faces."""

    proposals: IntArray
    recalled: IntArray
    faces: int

    @property
    def points(self) -> tuple[FloatArray, FloatArray]:
        """Recall and precision, each (k,), at the thresholds that keep any proposal."""
        some = self.proposals > 0
        return self.recalled[some] / self.faces, self.recalled[some] / self.proposals[some]

    @property
    def average_precision(self) -> float:
        """Area under the envelope; thresholds without a proposal (0/0) have recall 0 and take no part."""
        recall, precision = self.points
        recall = np.concatenate(([0.0], recall, [1.0]))
        precision = np.concatenate(([0.0], precision, [0.0]))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float((np.diff(recall) * envelope[1:]).sum())


def match(predictions: Sequence[Faces], truth: Truth) -> Matches:
    """Sort the predictions of each image of ``truth`` and find their best boxes."""
    images, rows, boxes, overlaps = list[IntArray](), list[IntArray](), list[IntArray](), list[FloatArray]()
    for index, (faces, others) in enumerate(zip(predictions, truth.image_boxes(), strict=True)):
        if not len(faces) or not len(others):
            continue
        order = np.argsort(-faces.scores, kind="stable")
        best, overlap = best_overlap(faces.boxes[order], others)
        images.append(np.full(len(order), index))
        rows.append(order)
        boxes.append(best + truth.offsets[index])
        overlaps.append(overlap)
    image, row = _joined(images), _joined(rows)
    starts = np.concatenate(([0], np.cumsum([len(faces) for faces in predictions])))
    scores = np.concatenate([np.zeros(0), *(faces.scores for faces in predictions)])
    reached = thresholds_reached(normalised(scores))
    chosen = starts[image] + row
    overlap = np.concatenate(overlaps) if overlaps else np.zeros(0)
    return Matches(image, row, scores[chosen], _joined(boxes), overlap, reached[chosen])


def normalised(scores: FloatArray) -> FloatArray:
    """The official min-max normalisation of all scores (p,) of the set; NaN where it divides zero by zero."""
    if not len(scores):
        return scores
    low, high = scores.min(), max(scores.max(), _SMALLEST)
    if high == low:
        return np.full(len(scores), np.nan)
    return np.asarray((scores - low) / (high - low), np.float64)


def thresholds_reached(scores: FloatArray) -> IntArray:
    """Index of the first of the thresholds 1 - t/1000, t = 1…1000, that each score reaches; 1000 for NaN."""
    reached = THRESHOLDS - np.searchsorted(_ASCENDING, scores, side="right")
    return np.where(np.isnan(scores), THRESHOLDS, reached)


def precision_recall(
    matches: Matches, subset: BoolArray, iou: float = 0.5, neutral: BoolArray | None = None
) -> PrecisionRecall:
    """Proposals and recalled faces of one subset at every threshold.

    Args:
        matches: from :func:`match`.
        subset: (n,) bool, the boxes that count.
        iou: least IoU of a hit.
        neutral: (p,) bool, predictions that leave the proposals if they hit no box; not in the official rule.
    """
    hit = matches.overlap >= iou
    counted = hit & subset[matches.box]
    first = np.full(len(subset), len(hit))
    positions = np.flatnonzero(counted)[::-1]
    first[matches.box[positions]] = positions  # the last written, the best score, stays
    first = first[first < len(hit)]
    proposed = counted | ~hit if neutral is None else counted | ~(hit | neutral)
    return PrecisionRecall(
        _cumulative(matches.threshold[proposed]), _cumulative(matches.threshold[first]), int(subset.sum())
    )


def _cumulative(reached: IntArray) -> IntArray:
    return np.cumsum(np.bincount(reached, minlength=THRESHOLDS + 1)[:THRESHOLDS])


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
