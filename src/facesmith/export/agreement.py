"""How far the faces that one form of a model finds are those of another: the check before a file is written."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith import geometry
from facesmith.evaluation import coco
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces
from facesmith.runtime.detector import EVERYDAY_THRESHOLD

SAME_BOX, SAME_SCORE = 0.98, 0.005
"""Least IoU and greatest difference in score of what counts as the same face in exact formats."""


class Agreement(NamedTuple):
    """Two lists of faces compared, picture by picture.

    Attributes:
        pictures: how many.
        faces: the first model's, of the evaluation threshold and more.
        same: share of them that the second has with nearly the same box and score; NaN without faces.
        clear: the first model's faces of the everyday threshold and more.
        average_precision: of the second model at IoU .5 were these the truth (fainter ones of the first neither count
            nor harm), so that 1 is agreement, not accuracy; NaN without clear faces.
        iou: mean IoU of clear faces and what is nearest to each; NaN without clear faces.
    """

    pictures: int
    faces: int
    same: float
    clear: int
    average_precision: float
    iou: float


def compare(first: Sequence[Faces], second: Sequence[Faces]) -> Agreement:
    """Agreement of the faces that two models found in the same pictures, each down to the evaluation threshold."""
    pairs = list(zip(first, second, strict=True))
    best = np.concatenate([_best(a, b) for a, b in pairs]) if pairs else np.zeros((0, 2))
    clear = np.concatenate([a.scores >= EVERYDAY_THRESHOLD for a in first]) if pairs else np.zeros(0, bool)
    same = (best[:, 0] >= SAME_BOX) & (best[:, 1] <= SAME_SCORE)
    return Agreement(
        pictures=len(pairs),
        faces=len(best),
        same=float(same.mean()) if len(best) else float("nan"),
        clear=int(clear.sum()),
        average_precision=_average_precision(first, second) if clear.any() else float("nan"),
        iou=float(best[clear, 0].mean()) if clear.any() else float("nan"),
    )


def _best(a: Faces, b: Faces) -> npt.NDArray[np.float64]:
    """(n, 2): of each face of ``a`` the greatest IoU with one of ``b``, and how far the two scores are apart."""
    if not len(a) or not len(b):
        return np.stack([np.zeros(len(a)), np.ones(len(a))], axis=1)
    overlaps = geometry.iou(a.boxes, b.boxes)
    nearest = overlaps.argmax(axis=1)
    return np.stack([overlaps.max(axis=1), np.abs(a.scores - b.scores[nearest])], axis=1)


def _average_precision(first: Sequence[Faces], second: Sequence[Faces]) -> float:
    names = tuple(str(i) for i in range(len(first)))
    boxes = np.concatenate([np.concatenate([a.boxes[:, :2], a.boxes[:, 2:] - a.boxes[:, :2]], axis=1) for a in first])
    scores = np.concatenate([a.scores for a in first])
    truth = coco.Truth(
        names=names,
        image=np.repeat(np.arange(len(first)), [len(a) for a in first]),
        boxes=boxes.astype(np.float64),
        areas=boxes[:, 2:].astype(np.float64).prod(axis=1),
        crowd=np.zeros(len(boxes), bool),
        ignored=scores < EVERYDAY_THRESHOLD,
        keypoints=None,
    )
    result = coco.evaluate(dict(zip(names, second, strict=True)), truth, provenance=Provenance("second form"))
    return result.metrics["AP50"]
