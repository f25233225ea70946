"""Problems that labels alone show: landmarks in a wrong order, doubled, tiny and outlying boxes."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith import geometry
from facesmith.data.check import landmark_order
from facesmith.data.labelled import LabelledImage, LabelSet, Size
from facesmith.faces import FIVE_OF

FloatArray = npt.NDArray[np.float32]

SAME_FACE = 0.8
"""IoU above which two boxes of a picture label one face."""

LEAST_VISIBLE = 0.5
"""Share of a box that must lie in the picture."""

FARTHEST = 0.25
"""How far a landmark may lie outside its box, in shares of the box's side √(width·height)."""

TINY = 6.0
"""Faces below this side, in pixels, are hardly learnt (the smallest anchors are 8 to 16 pixels)."""


class Kind(StrEnum):
    """What is wrong, gravest first."""

    MISSING = "missing picture"
    UNREADABLE = "unreadable picture"
    SIZE = "labels of another size"
    ORDER = "landmark order"
    EXCHANGED = "landmarks of another face"
    STRAY = "landmarks outside the box"
    OUTSIDE = "box outside the picture"
    DOUBLED = "face labelled twice"
    LEAK = "near-duplicate in training and validation"
    TINY = "tiny face"


NOTES = frozenset({Kind.TINY})
"""Kinds that are worth knowing but not wrong."""


class Problem(NamedTuple):
    """One finding.

    Attributes:
        kind: what.
        labels: name of the label set.
        path: the picture.
        face: number of the face in the picture, from 0; ``None`` where the whole picture is meant.
        badness: the higher, the worse, among those of one kind.
        detail: what exactly, in words.
        other: another picture that is part of it.
    """

    kind: Kind
    labels: str
    path: str
    face: int | None
    badness: float
    detail: str
    other: str | None = None


def label_problems(labels: LabelSet, sizes: Mapping[str, Size]) -> list[Problem]:
    """All problems of ``labels``; ``sizes``: of the pictures that could be read. Ignored faces are not judged."""
    found = list(_orders(labels))
    for image in labels.images:
        wrong = [*_doubled(image), *_stray(image), *_tiny(image)]
        size = sizes.get(image.path)
        if size is not None:
            wrong += _outside(image, size)
            stated = labels.sizes.get(image.path, size)
            if stated != size:
                text = f"labels say {stated[0]} x {stated[1]}, the picture has {size[0]} x {size[1]}"
                found.append(Problem(Kind.SIZE, labels.name, image.path, None, 1.0, text))
        found += [
            Problem(kind, labels.name, image.path, face, badness, detail)
            for kind, face, badness, detail in wrong
            if not image.ignored[face]
        ]
    return found


Finding = tuple[Kind, int, float, str]


def _orders(labels: LabelSet) -> Iterator[Problem]:
    """All faces of a set at once."""
    places = [(image, i) for image in labels.images for i in np.flatnonzero(image.has_landmarks & ~image.ignored)]
    if not places:
        return
    five = list(FIVE_OF[labels.points])
    points = np.stack([image.landmarks[i, five] for image, i in places])
    for (image, i), verdict in zip(places, landmark_order.verdicts(points), strict=True):
        if verdict is not None:
            yield Problem(Kind.ORDER, labels.name, image.path, int(i), verdict.badness, verdict.detail)


def _doubled(image: LabelledImage) -> Iterator[Finding]:
    overlap = np.triu(geometry.iou(image.boxes, image.boxes), 1)
    for i, j in np.argwhere(overlap > SAME_FACE).tolist():
        yield Kind.DOUBLED, j, float(overlap[i, j]), f"overlaps face {i} by {overlap[i, j]:.0%}"


def _tiny(image: LabelledImage) -> Iterator[Finding]:
    sides = _sides(image)
    for i in np.flatnonzero(sides < TINY).tolist():
        yield Kind.TINY, i, float(-sides[i]), f"{sides[i]:.1f} pixels"


def _outside(image: LabelledImage, size: Size) -> Iterator[Finding]:
    inside = np.clip(image.boxes.reshape(-1, 2, 2), 0, np.array(size, np.float32))
    visible = (inside[:, 1] - inside[:, 0]).prod(axis=1) / np.maximum(_sides(image) ** 2, 1e-9)
    for i in np.flatnonzero(visible < LEAST_VISIBLE).tolist():
        yield Kind.OUTSIDE, i, float(1 - visible[i]), f"{visible[i]:.0%} of the box lies in the picture"


def _stray(image: LabelledImage) -> Iterator[Finding]:
    """Landmarks outside their box: strayed, or exchanged with another face's."""
    known = np.flatnonzero(image.has_landmarks)
    if not len(known):
        return
    own = _distance(image.boxes, image.landmarks)
    for i in known[own[known] > FARTHEST].tolist():
        within = _distance(image.boxes, np.broadcast_to(image.landmarks[i], image.landmarks.shape))
        others = [j for j in np.flatnonzero(within == 0).tolist() if j != i and own[j] != 0]
        if others:
            yield Kind.EXCHANGED, i, float(own[i]), f"its landmarks lie in the box of face {others[0]}"
        else:
            text = f"a landmark lies {own[i]:.0%} of the box's side outside"
            yield Kind.STRAY, i, float(own[i]), text


def _distance(boxes: FloatArray, landmarks: FloatArray) -> FloatArray:
    """(n,) how far the farthest landmark lies outside its box, in shares of the box's side; NaN without landmarks."""
    beyond = np.maximum(boxes[:, None, :2] - landmarks, landmarks - boxes[:, None, 2:]).max(axis=2).max(axis=1)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return np.asarray(np.maximum(beyond, 0) / np.maximum(sides, 1e-6), np.float32)


def _sides(image: LabelledImage) -> FloatArray:
    return np.asarray(np.sqrt((image.boxes[:, 2:] - image.boxes[:, :2]).prod(axis=1)), np.float32)
