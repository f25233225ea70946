"""WIDER FACE: average precision on easy, medium and hard faces, and the WIDER Challenge's mean over IoUs.

The rule is in :mod:`~facesmith.evaluation.widerface.average_precision`, the files in
:mod:`~facesmith.evaluation.widerface.truth`; :mod:`~facesmith.evaluation.widerface.breakdown` says where a
detector fails: by face size, by attribute, image by image.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from facesmith.evaluation.overlap import check_box_form
from facesmith.evaluation.predictions.alignment import align
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.evaluation.widerface.average_precision import PrecisionRecall, match, precision_recall
from facesmith.evaluation.widerface.breakdown import Breakdown, breakdown
from facesmith.evaluation.widerface.truth import OFFICIAL_IMAGES, Truth, load_truth
from facesmith.faces import Faces

__all__ = [
    "OFFICIAL_IMAGES",
    "Breakdown",
    "Truth",
    "breakdown",
    "evaluate",
    "evaluate_challenge",
    "load_truth",
]

VERSION = "1"
CHALLENGE_IOUS = tuple(hundredth / 100 for hundredth in range(50, 100, 5))


def evaluate(predictions: Mapping[str, Faces], truth: Truth, *, provenance: Provenance) -> Result:
    """AP of each subset by the official rule.

    Args:
        predictions: an entry for every image of ``truth``, and no other; for some images only, take
            :meth:`Truth.subset` and :func:`facesmith.evaluation.predictions.restrict`.
        truth: from :func:`load_truth`.
        provenance: where the predictions come from.

    Returns:
        ``metrics``: subset -> AP. A subset without a face has none; a note says so.

    Raises:
        LabelError: the names do not fit, or the boxes are x1 y1 x2 y2 where x y w h was expected.
    """
    aligned = _aligned(predictions, truth)
    matches = match(aligned, truth)
    found = {name: precision_recall(matches, faces) for name, faces in truth.subsets.items() if faces.any()}
    metrics = {name: result.average_precision for name, result in found.items()}
    curves = tuple(_curve(name, result) for name, result in found.items())
    return _result("widerface", metrics, curves, aligned, truth, provenance)


def evaluate_challenge(predictions: Mapping[str, Faces], truth: Truth, *, provenance: Provenance) -> Result:
    """WIDER Challenge 2018: the mean, over IoU .5:.05:.95, of the AP by the same rule.

    That each AP follows the WIDER FACE rule is an inference; the challenge's own code was not at hand.
    Arguments and errors as for :func:`evaluate`. ``metrics``: subset -> mean AP, and for one IoU
    ``hard @0.75``.
    """
    aligned = _aligned(predictions, truth)
    matches = match(aligned, truth)
    metrics, curves = dict[str, float](), list[Curve]()
    for name, faces in truth.subsets.items():
        if faces.any():
            found = {iou: precision_recall(matches, faces, iou) for iou in CHALLENGE_IOUS}
            metrics[name] = float(np.mean([result.average_precision for result in found.values()]))
            metrics |= {f"{name} @{iou:.2f}": result.average_precision for iou, result in found.items()}
            curves += [_curve(f"{name} @{iou:.2f}", result) for iou, result in found.items()]
    return _result("widerface-challenge", metrics, tuple(curves), aligned, truth, provenance)


def _aligned(predictions: Mapping[str, Faces], truth: Truth) -> list[Faces]:
    aligned = align(predictions, truth.names)
    check_box_form(aligned, truth.image_boxes())
    return aligned


def _curve(name: str, result: PrecisionRecall) -> Curve:
    recall, precision = result.points
    return Curve(name, recall, precision, "recall", "precision")


def _result(
    protocol: str,
    metrics: Mapping[str, float],
    curves: tuple[Curve, ...],
    predictions: Sequence[Faces],
    truth: Truth,
    provenance: Provenance,
) -> Result:
    counts = {f"{name} faces": int(faces.sum()) for name, faces in truth.subsets.items()}
    counts |= {"boxes": len(truth.boxes), "predictions": sum(map(len, predictions))}
    counts["images without predictions"] = sum(not len(faces) for faces in predictions)
    return Result(
        protocol=protocol,
        version=VERSION,
        metrics=metrics,
        images=len(truth.names),
        official_images=truth.official_images,
        provenance=provenance,
        curves=curves,
        counts=counts,
        notes=tuple(_notes(predictions, truth)),
    )


def _notes(predictions: Sequence[Faces], truth: Truth) -> list[str]:
    notes = list[str]()
    if truth.official_images is not None and len(truth.names) < truth.official_images:
        notes.append(
            f"SUBSET: {len(truth.names):,} of {truth.official_images:,} images; not comparable with published figures"
        )
    if "hard" not in truth.subsets:
        notes.append("no lists of easy, medium and hard faces: AP over all labelled faces")
    notes += [
        f"no face counts in {name!r}, so it has no AP" for name, faces in truth.subsets.items() if not faces.any()
    ]
    scores = np.concatenate([np.zeros(0), *(faces.scores for faces in predictions)])
    if len(scores) and scores.min() == scores.max() > 0:
        notes.append("all scores are equal: the official normalisation divides zero by zero and counts nothing")
    elif len(scores) and scores.max() < 0:
        notes.append("all scores are negative: the official normalisation assumes a maximum of 0 at least")
    return notes
