"""How far off each labelled face's landmarks are: for reports of landmark protocols."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith.evaluation.landmarks import Truth, nme, placed
from facesmith.evaluation.mistakes import SIZE_EDGES
from facesmith.evaluation.predictions import align

FloatArray = npt.NDArray[np.float64]

FAILURE = 0.1
"""A face with a larger NME counts as failed in reports."""


@dataclass(frozen=True, eq=False)
class LandmarkMistakes:
    """The outcome, face by face, in the order of the truth.

    Attributes:
        truth: the labels.
        points: (n, k, 2) predicted points, NaN where a face was not found.
        errors: (n,) NME in the protocol's main way; infinite where not found, NaN where nothing is labelled.
    """

    truth: Truth
    points: FloatArray
    errors: FloatArray


@dataclass(frozen=True)
class ErrorRow:
    """Faces of one kind: how many, the share found, the mean NME of those, the share that failed."""

    group: str
    faces: int
    found: float
    nme: float
    failed: float


def find_landmark_mistakes(predictions: Mapping[str, Any], truth: Truth) -> LandmarkMistakes:
    """Judge the predictions, given as :func:`facesmith.evaluation.landmarks.evaluate` takes them."""
    points = placed(align(predictions, truth.images), truth)
    labelled: npt.NDArray[np.bool_] = np.any(truth.visible, axis=1)
    view = truth.protocol.views[0]
    counted = truth.visible if view.visible_only else np.repeat(labelled[:, None], points.shape[1], axis=1)
    return LandmarkMistakes(truth, points, nme(points, truth.points, truth.scales[view.name], counted))


def error_rows(mistakes: LandmarkMistakes) -> list[ErrorRow]:
    """Rows by face size (√(width · height) of the label's box, pixels), then of the protocol's own groups."""
    truth = mistakes.truth
    edges = np.maximum(truth.boxes[:, 2:] - truth.boxes[:, :2], 0)
    sizes = np.sqrt(edges[:, 0] * edges[:, 1])
    groups = {}
    for low, high in itertools.pairwise(SIZE_EDGES):
        name = f"{low:.0f}–{high:.0f} px" if np.isfinite(high) else f"≥ {low:.0f} px"
        groups[name] = (sizes >= low) & (sizes < high)
    groups |= {name.replace("_", " "): members for name, members in truth.groups.items()}
    labelled = ~np.isnan(mistakes.errors)
    rows = []
    for name, members in groups.items():
        errors = mistakes.errors[members & labelled]
        found = errors[np.isfinite(errors)]
        if len(errors):
            mean = float(found.mean()) if len(found) else float("nan")
            rows.append(ErrorRow(name, len(errors), len(found) / len(errors), mean, float((errors > FAILURE).mean())))
    return rows


def worst_faces(mistakes: LandmarkMistakes, most: int) -> list[int]:
    """Indices of the faces with the largest NME; those that were not found come last, for they have none."""
    errors = np.where(np.isinf(mistakes.errors), -1.0, mistakes.errors)
    order = np.argsort(-np.where(np.isnan(errors), -2.0, errors), kind="stable")
    return [int(i) for i in order if errors[i] >= -1][:most]
