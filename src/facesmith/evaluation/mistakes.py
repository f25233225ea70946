"""Which faces a detector misses and which of its boxes are false, for any protocol whose truth is boxes.

For reports, not for figures: one rule for all protocols. Each box takes its best true face by IoU (border
pixels counted); from .5 on it is a hit if no box with a higher score took that face, else a duplicate. A box
whose best face does not count in the protocol is neutral. All other boxes are misplaced (IoU of .1 and more)
or on no face at all.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from facesmith.evaluation.overlap import best_overlap
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HIT_IOU = 0.5
MISPLACED_IOU = 0.1
SIZE_EDGES = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, np.inf)
"""Edges of the size ranges: √(width · height) in pixels of the picture, lower edge included."""


class Kind(IntEnum):
    """What a predicted box is."""

    HIT = 0
    NEUTRAL = 1
    DUPLICATE = 2
    MISPLACED = 3
    BACKGROUND = 4


FALSE_KINDS = (Kind.DUPLICATE, Kind.MISPLACED, Kind.BACKGROUND)


@dataclass(frozen=True, eq=False)
class Labels:
    """The true faces of one picture, as far as a report wants to know them.

    Attributes:
        boxes: (m, 4), x1, y1, x2, y2 in pixels.
        counts: (m,) bool, whether the protocol wants the face found; all other faces are neutral.
        attributes: attribute -> (m,) level, e.g. ``"blur" -> [0, 2]``.
    """

    boxes: npt.NDArray[np.floating]
    counts: BoolArray
    attributes: Mapping[str, npt.NDArray[np.integer]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The outcome, box by box and face by face, in the order of the pictures.

    Attributes:
        names: picture names.
        boxes: (p, 4) predicted boxes, within a picture by descending score.
        scores: (p,) their scores.
        images: (p,) index of the picture.
        kinds: (p,) :class:`Kind`.
        best: (p,) index of the best true face, -1 where the picture has none.
        labels: the truth, one entry a picture.
        face_images: (m,) index of each true face's picture.
        face_scores: (m,) score of the box that hit each true face, -inf where there is none.
        threshold: the operating point: the score from which boxes are looked at; best F1 of all scores.
    """

    names: tuple[str, ...]
    boxes: npt.NDArray[np.float32]
    scores: FloatArray
    images: IntArray
    kinds: IntArray
    best: IntArray
    labels: tuple[Labels, ...]
    face_images: IntArray
    face_scores: FloatArray
    threshold: float

    @property
    def counts(self) -> BoolArray:
        """(m,) bool, the faces that count."""
        return np.concatenate([np.zeros(0, bool), *(one.counts for one in self.labels)])

    @property
    def found(self) -> BoolArray:
        """(m,) bool, hit at the operating point."""
        return self.face_scores >= self.threshold

    @property
    def shown(self) -> BoolArray:
        """(p,) bool, boxes at or above the operating point."""
        return self.scores >= self.threshold

    @property
    def false(self) -> BoolArray:
        """(p,) bool, false boxes at the operating point."""
        return self.shown & np.isin(self.kinds, FALSE_KINDS)

    @property
    def missed_by_image(self) -> IntArray:
        """(pictures,) faces that count and are not found at the operating point."""
        missed = self.face_images[self.counts & ~self.found]
        return np.bincount(missed, minlength=len(self.names))

    @property
    def false_by_image(self) -> IntArray:
        """(pictures,) false boxes at the operating point."""
        return np.bincount(self.images[self.false], minlength=len(self.names))


@dataclass(frozen=True)
class Row:
    """Faces of one kind: how many, the share found at the operating point, and at any score at all.

    ``false`` counts false boxes of the same size at the operating point, ``None`` where boxes have no such
    kind.
    """

    group: str
    faces: int
    recall: float
    recall_at_any_score: float
    false: int | None = None


def find_mistakes(predictions: Mapping[str, Faces], truth: Mapping[str, Labels]) -> Mistakes:
    """Judge the predictions of every picture of ``truth``; the names must be the same.

    Raises:
        KeyError: a picture has no predictions.
    """
    names = tuple(truth)
    labels = tuple(truth.values())
    starts = np.concatenate(([0], np.cumsum([len(one.boxes) for one in labels]))).astype(np.int64)
    parts = [_sorted(predictions[name]) for name in names]
    matched = [_best_faces(faces, one) for faces, one in zip(parts, labels, strict=True)]
    best = np.concatenate([np.zeros(0, np.int64), *(found for found, _ in matched)])
    overlap = np.concatenate([np.zeros(0), *(iou for _, iou in matched)])
    images = np.repeat(np.arange(len(names)), [len(faces) for faces in parts])
    scores = np.concatenate([np.zeros(0), *(faces.scores for faces in parts)])
    counts = np.concatenate([np.zeros(0, bool), *(one.counts for one in labels)])
    face = np.where(best >= 0, starts[images] + best, -1)
    kinds, face_scores = _judge(face, overlap, scores, counts)
    return Mistakes(
        names=names,
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(faces.boxes for faces in parts)]),
        scores=scores,
        images=images,
        kinds=kinds,
        best=best,
        labels=labels,
        face_images=np.repeat(np.arange(len(names)), np.diff(starts)),
        face_scores=face_scores,
        threshold=best_f1_threshold(scores, kinds, int(counts.sum())),
    )


def best_f1_threshold(scores: FloatArray, kinds: IntArray, faces: int) -> float:
    """The score with the highest F1 = 2·hits / (hits + false boxes + faces) over all boxes from it on.

    (p,) scores and kinds; infinity where there is no hit at all.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[kinds[order] != Kind.NEUTRAL]
    hits = np.cumsum(kinds[order] == Kind.HIT)
    if not len(hits) or hits[-1] == 0:
        return float("inf")
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + faces)
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # equal scores stand or fall together
    return float(scores[order[last[np.argmax(f1[last])]]])


def rows_by_size(mistakes: Mistakes) -> list[Row]:
    """One row a size range (pixels) that holds a face or a false box."""
    face_sizes = _sizes(np.concatenate([np.zeros((0, 4)), *(one.boxes for one in mistakes.labels)]))
    false_sizes = _sizes(mistakes.boxes[mistakes.false])
    rows = []
    for low, high in itertools.pairwise(SIZE_EDGES):
        group = f"{low:.0f}–{high:.0f}" if np.isfinite(high) else f"≥ {low:.0f}"
        false = int(((false_sizes >= low) & (false_sizes < high)).sum())
        within = (face_sizes >= low) & (face_sizes < high)
        row = _row(group if low else f"< {high:.0f}", within, mistakes, false)
        if row.faces or false:
            rows.append(row)
    return rows


def rows_by_attribute(mistakes: Mistakes, levels: Mapping[str, Sequence[str]]) -> dict[str, list[Row]]:
    """Attribute -> one row a level that occurs.

    ``levels``: attribute -> names of its levels 0, 1, ... An attribute that some picture's labels lack, or of
    which only one level occurs, is left out.
    """
    tables = {}
    for attribute, names in levels.items():
        columns = [one.attributes.get(attribute) for one in mistakes.labels]
        if any(column is None for column in columns):
            continue
        level = np.concatenate([np.zeros(0, np.int64), *(column for column in columns if column is not None)])
        rows = [_row(name, level == value, mistakes, None) for value, name in enumerate(names)]
        tables[attribute] = [row for row in rows if row.faces]
    return {attribute: rows for attribute, rows in tables.items() if len(rows) > 1}


def false_box_counts(mistakes: Mistakes) -> dict[Kind, int]:
    """False boxes at the operating point by kind."""
    counts = np.bincount(mistakes.kinds[mistakes.shown], minlength=len(Kind))
    return {kind: int(counts[kind]) for kind in FALSE_KINDS}


def _row(group: str, chosen: BoolArray, mistakes: Mistakes, false: int | None) -> Row:
    chosen = chosen & mistakes.counts
    faces = int(chosen.sum())
    if not faces:
        return Row(group, 0, 0.0, 0.0, false)
    any_score = np.isfinite(mistakes.face_scores[chosen])
    return Row(group, faces, float(mistakes.found[chosen].mean()), float(any_score.mean()), false)


def _sizes(boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    edges = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    sizes: npt.NDArray[np.floating] = np.sqrt(edges[:, 0] * edges[:, 1])
    return sizes


def _sorted(faces: Faces) -> Faces:
    return faces[np.argsort(-faces.scores, kind="stable")]


def _best_faces(faces: Faces, labels: Labels) -> tuple[IntArray, FloatArray]:
    if not len(faces) or not len(labels.boxes):
        return np.full(len(faces), -1), np.zeros(len(faces))
    return best_overlap(faces.boxes, labels.boxes)


def _judge(face: IntArray, overlap: FloatArray, scores: FloatArray, counts: BoolArray) -> tuple[IntArray, FloatArray]:
    """(p,) kinds, and (m,) score of each true face's hit; boxes come by descending score within a picture."""
    kinds = np.where(overlap >= MISPLACED_IOU, int(Kind.MISPLACED), int(Kind.BACKGROUND))
    reached = np.flatnonzero(overlap >= HIT_IOU)
    kinds[reached] = Kind.DUPLICATE
    faces, first = np.unique(face[reached], return_index=True)
    kinds[reached[first]] = Kind.HIT
    kinds[reached[~counts[face[reached]]]] = Kind.NEUTRAL
    face_scores = np.full(len(counts), -np.inf)
    face_scores[faces] = scores[reached[first]]
    return kinds, face_scores
