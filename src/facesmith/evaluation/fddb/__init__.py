"""FDDB: discrete and continuous ROC of ellipses, over all images or fold by fold.

The rule is that of the official C++ evaluation (Jain and Learned-Miller, "FDDB: A Benchmark for Face
Detection in Unconstrained Settings", UM-CS-2010-009; ``evaluate.cpp``, ``Matching.cpp``, ``Results.cpp``).
For every distinct score, detections with at least that score are matched with the true faces of their image
so that the sum of IoU is largest. Discrete true positives are the matches with an IoU strictly above .5,
continuous true positives the sum of the matched IoU; false positives are in both cases all detections less
the discrete true positives. Detections are rectangles or ellipses, compared as they are: nothing is stretched
or fitted.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.evaluation.ellipses import Ellipses
from facesmith.evaluation.fddb.matching import matching_steps
from facesmith.evaluation.fddb.regions import region_iou
from facesmith.evaluation.fddb.truth import OFFICIAL_IMAGES, Truth, image_sizes, load_truth
from facesmith.evaluation.overlap import check_box_form
from facesmith.evaluation.predictions import (
    align,
    read,
    read_fddb_regions,
    read_fddb_text,
    reader_of,
    restrict,
)
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.faces import Faces

__all__ = [
    "OFFICIAL_IMAGES",
    "Ellipses",
    "Truth",
    "evaluate",
    "evaluate_folds",
    "image_sizes",
    "load_truth",
    "read_predictions",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Detections = Mapping[str, Faces | Ellipses]

VERSION = "1"
FALSE_POSITIVES = (1, 10, 50, 100, 500, 1000, 2000)
"""Where recall is read: KPNet reports 1 and 50, most others 1,000."""

_CURVE_POINTS = 2000


class Roc(NamedTuple):
    """False positives, discrete and continuous true positives at each of k distinct scores, highest first."""

    false_positives: IntArray
    discrete: IntArray
    continuous: FloatArray


def read_predictions(path: str | os.PathLike[str]) -> Detections:
    """Predictions in any format of :func:`facesmith.evaluation.predictions.read`, or a text file of ellipses.

    Raises:
        LabelError: the file is malformed.
    """
    return read_fddb_regions(path) if reader_of(path) is read_fddb_text else read(path)


def evaluate(predictions: Detections, truth: Truth, *, provenance: Provenance) -> Result:
    """Recall at 1 to 2,000 false positives, discrete and continuous, and both ROC curves.

    Args:
        predictions: rectangles or ellipses for every image of ``truth``, and no other.
        truth: from :func:`load_truth`; see also :meth:`Truth.subset`, :meth:`Truth.rotated`.
        provenance: where the predictions come from.

    Returns:
        ``metrics``: ``discrete @100`` is the highest recall with at most 100 false positives in all of the
        images, ``continuous @100`` the highest mean IoU. Where there are fewer false positives altogether a
        note says so.

    Raises:
        LabelError: the names do not fit, or the boxes are x1 y1 x2 y2 where x y w h was expected.
    """
    aligned = _aligned(predictions, truth)
    roc, faces = _roc(aligned, truth), sum(map(len, truth.ellipses))
    metrics, notes = dict[str, float](), list[str]()
    if len(truth.names) < OFFICIAL_IMAGES:
        notes.append(
            f"SUBSET: {len(truth.names):,} of {OFFICIAL_IMAGES:,} images; not comparable with published figures"
        )
    if not faces:
        notes.append("no image has a face, so there is no recall")
    for kind, positives in (("discrete", roc.discrete), ("continuous", roc.continuous)) if faces else ():
        for limit in FALSE_POSITIVES:
            reached = positives[roc.false_positives <= limit]
            metrics[f"{kind} @{limit}"] = float(reached.max(initial=0) / faces)
    worst = int(roc.false_positives.max(initial=0))
    beyond = [str(limit) for limit in FALSE_POSITIVES if limit > worst]
    if beyond:
        notes.append(f"only {worst} false positives in all: recall at {', '.join(beyond)} is that of every detection")
    return Result(
        protocol="fddb",
        version=VERSION,
        metrics=metrics,
        images=len(truth.names),
        official_images=OFFICIAL_IMAGES,
        provenance=provenance,
        curves=_curves(roc, faces) if faces else (),
        counts={"faces": faces, "detections": sum(map(len, aligned)), "false positives": worst},
        notes=tuple(notes),
    )


def evaluate_folds(predictions: Detections, truth: Truth, *, provenance: Provenance) -> dict[int, Result]:
    """:func:`evaluate` for each fold by itself; false positives are counted within the fold."""
    _ = align(predictions, truth.names)
    folds = {number: truth.fold(number) for number in sorted(set(truth.folds.tolist()))}
    return {
        number: evaluate(restrict(predictions, fold.names), fold, provenance=provenance)
        for number, fold in folds.items()
    }


def _aligned(predictions: Detections, truth: Truth) -> list[Faces | Ellipses]:
    aligned = align(predictions, truth.names)
    rectangles = [faces for faces in aligned if isinstance(faces, Faces)]
    if len(rectangles) == len(aligned):
        check_box_form(rectangles, [ellipses.boxes() for ellipses in truth.ellipses])
    return aligned


def _roc(detections: Sequence[Faces | Ellipses], truth: Truth) -> Roc:
    scores: list[FloatArray] = [np.zeros(0)]
    continuous: list[FloatArray] = [np.zeros(0)]
    discrete: list[IntArray] = [np.zeros(0, np.int64)]
    for regions, faces, (width, height) in zip(detections, truth.ellipses, truth.sizes.tolist(), strict=True):
        order = np.argsort(-regions.scores, kind="stable")
        steps = matching_steps(region_iou(regions, faces, width, height)[order])
        scores.append(regions.scores[order].astype(np.float64))
        continuous.append(steps[0])
        discrete.append(steps[1])
    distinct, level = np.unique(-np.concatenate(scores), return_inverse=True)
    counts = np.cumsum(np.bincount(level, minlength=len(distinct)))
    hits = np.zeros(len(distinct), np.int64)
    np.add.at(hits, level, np.concatenate(discrete))
    hits = np.cumsum(hits)
    return Roc(counts - hits, hits, np.cumsum(np.bincount(level, np.concatenate(continuous), len(distinct))))


def _curves(roc: Roc, faces: int) -> tuple[Curve, ...]:
    """The best recall at each number of false positives; at most 2,000 numbers, the small ones all."""
    last = np.flatnonzero(np.diff(roc.false_positives, append=-1))
    chosen = np.unique(np.geomspace(1, len(last) + 1, _CURVE_POINTS).astype(int) - 1)
    last = last[chosen[chosen < len(last)]]
    x = roc.false_positives[last].astype(np.float64)
    return tuple(
        Curve(name, x, np.maximum.accumulate(positives)[last] / faces, "false positives", label, log_x=True)
        for name, positives, label in (
            ("discrete", roc.discrete.astype(np.float64), "recall"),
            ("continuous", roc.continuous, "mean IoU"),
        )
        if len(positives)
    )
