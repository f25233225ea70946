"""Face verification: LFW, CFP-FP and AgeDB-30 by pairs, IJB-C's 1:1 protocol by templates.

What is measured is the detector and its alignment, through a recognition network of the user's, with which
:mod:`facesmith.evaluation.embedding` makes the embeddings; :mod:`facesmith.evaluation.verification_truth`
reads the labels. The rules are InsightFace's (``verification.py``, ``eval_ijbc.py``).

- Pairs: the squared distance of normalised features (picture plus mirror image); ten sequential folds; the
  threshold (0 to 4, step .01) of the best accuracy on nine folds decides the tenth.
- Templates: the mean of the features within a video, their sum over the media, normalised; cosine; the true
  positive rate at the false positive rate nearest to a target.
"""

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation.embedding import Embeddings
from facesmith.evaluation.predictions import align, restrict
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.evaluation.verification_truth import (
    AGEDB_30,
    CFP_FP,
    FOLDS,
    IJB_C_IMAGES,
    LFW,
    Pairs,
    PairSet,
    Templates,
    load_pairs,
    load_templates,
)

__all__ = [
    "AGEDB_30",
    "CFP_FP",
    "LFW",
    "PairSet",
    "Pairs",
    "Templates",
    "evaluate",
    "load_pairs",
    "load_templates",
    "normalised",
    "roc",
    "template_vectors",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

VERSION = "1"
THRESHOLDS: FloatArray = np.arange(0, 4, 0.01)
FINE_THRESHOLDS: FloatArray = np.arange(0, 4, 0.001)
"""Squared distances that are tried for the accuracy, and for the validation rate."""
FALSE_ACCEPT_RATE = 1e-3
FALSE_POSITIVE_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_CHUNK = 20_000


def evaluate(
    embeddings: Embeddings, truth: Pairs | Templates, *, provenance: Provenance, weighted: bool = False
) -> Result:
    """The figures of :class:`Pairs` or of :class:`Templates`.

    Pairs: ``accuracy``, its deviation over the folds, ``val@far=0.001`` and the ``far`` reached. Templates:
    ``TAR@f`` for f = 1e-6 ... 1e-1. Features of mirror images are added to the pictures' where there are any.

    Args:
        embeddings: one for every image of ``truth``; others are not used.
        weighted: templates only: weigh an image by the detector's score ("+S" of the papers).

    Raises:
        LabelError: image names do not match, scores are missing, or persons of a kind are.
    """
    given = {name: row for row, name in enumerate(embeddings.names)}
    used = restrict(given, truth.images)
    rows = align(used if len(used) == len(truth.images) else given, truth.images)
    lost = set(embeddings.missed)
    missed = sum(embeddings.names[row] in lost for row in rows)
    features = embeddings.features[rows]
    flipped = features.ndim == 3
    summed = features.sum(axis=1) if flipped else features
    notes = ["features of picture and mirror image are added" if flipped else "no mirror images"]
    if missed:
        notes.append(
            f"no face was found in {missed:,} of {len(rows):,} images; "
            "the centred square of 7/8 of the shorter side stands in for it"
        )
    if isinstance(truth, Templates):
        notes.append("images are weighed by the detector's score" if weighted else "no weighing by detector score")
        if weighted and embeddings.scores is None:
            raise LabelError("weighing needs the detector's scores, which these embeddings lack")
        weights = embeddings.scores[rows] if weighted and embeddings.scores is not None else None
        return _by_templates(summed, weights, truth, provenance, notes, missed)
    return _by_pairs(summed, truth, provenance, notes, missed)


def _by_pairs(
    features: npt.NDArray[np.float32], truth: Pairs, provenance: Provenance, notes: list[str], missed: int
) -> Result:
    vectors = normalised(features)
    distance = ((vectors[truth.left] - vectors[truth.right]) ** 2).sum(axis=1)
    accepted, false, persons, strangers = _fold_counts(distance, truth.same, THRESHOLDS)
    right = accepted + strangers - false
    choice = np.argmax(right.sum(axis=0) - right, axis=1)  # on the other nine folds; the first of equal ones
    accuracy = right[np.arange(FOLDS), choice] / (persons + strangers)[:, 0]
    val, far = _validation(distance, truth.same)
    return Result(
        protocol=truth.benchmark.name,
        version=VERSION,
        metrics={
            "accuracy": float(accuracy.mean()),
            "accuracy_deviation": float(accuracy.std()),
            "threshold": float(THRESHOLDS[choice].mean()),
            f"val@far={FALSE_ACCEPT_RATE:g}": float(val.mean()),
            "far": float(far.mean()),
        },
        images=2 * len(truth.same),
        official_images=2 * truth.benchmark.pairs,
        provenance=provenance,
        curves=(
            Curve(
                "ROC",
                false.sum(axis=0) / strangers.sum(),
                accepted.sum(axis=0) / persons.sum(),
                "false accept rate",
                "true accept rate",
                log_x=True,
            ),
        ),
        counts={"pairs": len(truth.same), "images": len(truth.images), "no_face": missed},
        notes=tuple(notes),
    )


def _by_templates(
    features: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32] | None,
    truth: Templates,
    provenance: Provenance,
    notes: list[str],
    missed: int,
) -> Result:
    vectors = template_vectors(features, truth.template, truth.media, weights)
    similarity = np.empty(len(truth.same))
    for start in range(0, len(similarity), _CHUNK):
        part = slice(start, start + _CHUNK)
        similarity[part] = np.einsum("pd,pd->p", vectors[truth.left[part]], vectors[truth.right[part]])
    false, true = roc(similarity, truth.same)
    nearest = [len(false) - 1 - int(np.argmin(np.abs(false - f)[::-1])) for f in FALSE_POSITIVE_RATES]
    return Result(
        protocol="ijb-c",
        version=VERSION,
        metrics={f"TAR@{f:.0e}": float(true[i]) for f, i in zip(FALSE_POSITIVE_RATES, nearest, strict=True)},
        images=len(truth.images),
        official_images=IJB_C_IMAGES,
        provenance=provenance,
        curves=(Curve("ROC", false, true, "false positive rate", "true positive rate", log_x=True),),
        counts={"comparisons": len(truth.same), "templates": len(vectors), "no_face": missed},
        notes=tuple(notes),
    )


def normalised(vectors: npt.ArrayLike) -> FloatArray:
    """(n, d) rows of length 1, float64; a row of zeros stays as it is."""
    rows = np.asarray(vectors, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def template_vectors(
    features: npt.ArrayLike, template: IntArray, media: IntArray, weights: npt.ArrayLike | None = None
) -> FloatArray:
    """(t, d) normalised: weighted features, averaged within a medium, summed over a template's media.

    Args:
        features: (n, d), not normalised: their length tells how sure the network is.
        template, media: (n,), sorted as in :class:`Templates`.
        weights: (n,).
    """
    rows = np.asarray(features)
    if weights is not None:
        rows = rows * np.asarray(weights)[:, None]
    is_first = np.append(True, (np.diff(template) != 0) | (np.diff(media) != 0))
    first = np.flatnonzero(is_first)
    means = np.add.reduceat(rows, first, dtype=np.float64) / np.diff(np.append(first, len(rows)))[:, None]
    starts = np.flatnonzero(np.append(True, np.diff(template[first]) != 0))
    return normalised(np.add.reduceat(means, starts))


def roc(similarity: FloatArray, same: BoolArray) -> tuple[FloatArray, FloatArray]:
    """False and true positive rates, ascending, at the corners of the ROC curve, starting at (0, 0).

    Points within a straight run are left out, as in scikit-learn's ``roc_curve``, with which the published
    figures were made: the rate nearest to a target is then one of the corners.

    Raises:
        LabelError: all comparisons are of one kind.
    """
    order = np.argsort(-similarity, kind="stable")
    last = np.append(np.flatnonzero(np.diff(similarity[order])), len(order) - 1)
    true = np.cumsum(same[order])[last]
    false = 1 + last - true
    if true[-1] == 0 or false[-1] == 0:
        raise LabelError("comparisons of one person and of two are both needed")
    if len(true) > 2:
        corner = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
        kept = np.concatenate([[True], corner, [True]])
        true, false = true[kept], false[kept]
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def _fold_counts(
    distance: FloatArray, same: BoolArray, thresholds: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Accepted pairs (distance < threshold) of one and two persons, (folds, T); all of each, (folds, 1)."""
    counts, totals = np.zeros((2, FOLDS, len(thresholds))), np.zeros((2, FOLDS, 1))
    for fold, rows in enumerate(np.array_split(np.arange(len(distance)), FOLDS)):  # as KFold(10) splits
        for kind, members in enumerate((same[rows], ~same[rows])):
            values = np.sort(distance[rows][members])
            if not len(values):
                one = ("one person", "two persons")[kind]
                raise LabelError(f"fold {fold + 1} of 10 has no pair of {one}; pairs must be in official order")
            counts[kind, fold], totals[kind, fold] = np.searchsorted(values, thresholds), len(values)
    return counts[0], counts[1], totals[0], totals[1]


def _validation(distance: FloatArray, same: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(folds,) shares of one person's pairs, and of two persons', that the other folds' threshold accepts.

    The threshold is where the false accept rate reaches .001, linear between thresholds .001 apart (the
    last of equal rates counts); 0 where it never does.
    """
    _, false, _, strangers = _fold_counts(distance, same, FINE_THRESHOLDS)
    rate = (false.sum(axis=0) - false) / (strangers.sum() - strangers)
    val, far = np.zeros(FOLDS), np.zeros(FOLDS)
    for fold, rows in enumerate(np.array_split(np.arange(len(distance)), FOLDS)):
        reached = rate[fold].max() >= FALSE_ACCEPT_RATE
        threshold = np.interp(FALSE_ACCEPT_RATE, rate[fold], FINE_THRESHOLDS) if reached else 0.0
        accepted = distance[rows] < threshold
        val[fold], far[fold] = accepted[same[rows]].mean(), accepted[~same[rows]].mean()
    return val, far
