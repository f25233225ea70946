"""Where a detector fails on WIDER FACE: by face size, by attribute, image by image.

Not part of the official protocol; matching is the official one.
"""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith.errors import ConfigError
from facesmith.evaluation.predictions.alignment import align
from facesmith.evaluation.widerface.average_precision import Matches, match, precision_recall
from facesmith.evaluation.widerface.truth import ATTRIBUTES, Truth
from facesmith.faces import Faces

BoolArray = npt.NDArray[np.bool_]

SIZE_EDGES = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, float("inf"))
"""Edges of the size ranges: √(width × height) in pixels of the image, lower edge included."""


@dataclass(frozen=True)
class SizeRow:
    """Faces of one size range. Recall is the share found by any prediction, or above the threshold."""

    smallest: float
    below: float
    faces: int
    average_precision: float
    recall: float
    recall_above_threshold: float


@dataclass(frozen=True)
class AttributeRow:
    """Faces with one level of one attribute."""

    attribute: str
    level: str
    faces: int
    recall: float
    recall_above_threshold: float


@dataclass(frozen=True)
class ImageRow:
    """What went wrong in one image above the threshold; repeated hits are false as well."""

    name: str
    faces: int
    missed: int
    false: int


@dataclass(frozen=True)
class FalseBox:
    """A prediction whose best IoU (+1 pixels) with a box of the ground truth, ``overlap``, is below .5."""

    name: str
    box: tuple[float, float, float, float]
    score: float
    overlap: float


@dataclass(frozen=True)
class Breakdown:
    """Rows for a report, for the faces of one ``subset`` and predictions above ``threshold``.

    ``images``: those with most missed faces first, then most false boxes; only images with either.
    ``false_boxes``: highest score first. Some of them are faces that the annotators left out.
    """

    subset: str
    threshold: float
    sizes: tuple[SizeRow, ...]
    attributes: tuple[AttributeRow, ...]
    images: tuple[ImageRow, ...]
    false_boxes: tuple[FalseBox, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; the open end of the last size range is ``None``."""
        row = asdict(self)
        row["sizes"] = [{**size, "below": None if np.isinf(size["below"]) else size["below"]} for size in row["sizes"]]
        return row


def breakdown(
    predictions: Mapping[str, Faces],
    truth: Truth,
    *,
    threshold: float,
    subset: str | None = None,
    longest: int = 20,
) -> Breakdown:
    """Break recall down.

    AP by size counts the subset's faces of that size; predictions on other faces are neutral, and predictions
    on no face count in the range of their own size only (the official rule would punish every range for all
    of them).

    Args:
        predictions: as for :func:`facesmith.evaluation.widerface.evaluate`.
        truth: from ``load_truth``.
        threshold: score from which a prediction would be shown to a user.
        subset: faces to look at; the last subset, ``hard`` or ``all``, by default.
        longest: most rows of ``images`` and ``false_boxes``.

    Raises:
        LabelError: names do not fit.
        ConfigError: the subset is unknown.
    """
    name = list(truth.subsets)[-1] if subset is None else subset
    if name not in truth.subsets:
        raise ConfigError(f"no subset {name!r}; there are {', '.join(truth.subsets)}")
    aligned = align(predictions, truth.names)
    matches, chosen = match(aligned, truth), truth.subsets[name]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(faces.boxes for faces in aligned)])
    starts = np.concatenate(([0], np.cumsum([len(faces) for faces in aligned])))
    boxes = boxes[starts[matches.image] + matches.row]
    hit, shown = matches.overlap >= 0.5, matches.score >= threshold
    found, seen = np.zeros((2, len(chosen)), bool)
    found[matches.box[hit]] = True
    seen[matches.box[hit & shown]] = True
    return Breakdown(
        subset=name,
        threshold=threshold,
        sizes=_size_rows(matches, boxes, truth.sizes, chosen, found, seen),
        attributes=_attribute_rows(truth, chosen, found, seen),
        images=_image_rows(truth, matches, chosen, hit, shown, longest),
        false_boxes=_false_boxes(truth, matches, boxes, longest),
    )


def _size_rows(
    matches: Matches,
    boxes: npt.NDArray[np.float32],
    sizes: npt.NDArray[np.float32],
    chosen: BoolArray,
    found: BoolArray,
    seen: BoolArray,
) -> tuple[SizeRow, ...]:
    edges = boxes[:, 2:] - boxes[:, :2]
    own = np.sqrt(edges[:, 0] * edges[:, 1])
    rows = list[SizeRow]()
    for low, high in itertools.pairwise(SIZE_EDGES):
        within = chosen & (sizes >= low) & (sizes < high)
        if within.any():
            elsewhere = (own < low) | (own >= high)
            ap = precision_recall(matches, within, neutral=elsewhere).average_precision
            rows.append(SizeRow(low, high, int(within.sum()), ap, *_recalls(within, found, seen)))
    return tuple(rows)


def _attribute_rows(truth: Truth, chosen: BoolArray, found: BoolArray, seen: BoolArray) -> tuple[AttributeRow, ...]:
    rows = list[AttributeRow]()
    for attribute, levels in truth.attributes.items():
        for value in np.unique(levels[chosen]):
            within, names = chosen & (levels == value), ATTRIBUTES[attribute]
            level = names[value] if value < len(names) else str(value)
            rows.append(AttributeRow(attribute, level, int(within.sum()), *_recalls(within, found, seen)))
    return tuple(rows)


def _recalls(within: BoolArray, found: BoolArray, seen: BoolArray) -> tuple[float, float]:
    return float(found[within].mean()), float(seen[within].mean())


def _image_rows(
    truth: Truth, matches: Matches, chosen: BoolArray, hit: BoolArray, shown: BoolArray, longest: int
) -> tuple[ImageRow, ...]:
    n = len(truth.names)
    faces = np.bincount(truth.images[chosen], minlength=n)
    counted = hit & shown & chosen[matches.box]
    recalled = np.bincount(truth.images[np.unique(matches.box[counted])], minlength=n)
    proposed = np.bincount(matches.image[shown & (~hit | chosen[matches.box])], minlength=n)
    missed, false = faces - recalled, proposed - recalled
    order = np.lexsort((np.arange(n), -false, -missed))[:longest]
    return tuple(
        ImageRow(truth.names[i], int(faces[i]), int(missed[i]), int(false[i])) for i in order if missed[i] or false[i]
    )


def _false_boxes(truth: Truth, matches: Matches, boxes: npt.NDArray[np.float32], longest: int) -> tuple[FalseBox, ...]:
    free = np.flatnonzero(matches.overlap < 0.5)
    worst = free[np.argsort(-matches.score[free], kind="stable")[:longest]]
    rows = list[FalseBox]()
    for i in worst:
        x1, y1, x2, y2 = (round(float(value), 2) for value in boxes[i])
        name = truth.names[matches.image[i]]
        rows.append(FalseBox(name, (x1, y1, x2, y2), float(matches.score[i]), float(matches.overlap[i])))
    return tuple(rows)
