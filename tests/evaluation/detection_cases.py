"""Small inputs that the tests of WIDER FACE and FDDB share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facesmith.evaluation import fddb, widerface
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces

KNOWN = Provenance("test")
DATA = Path(__file__).parents[3] / "shared" / "data" / "dev"
FAR = (500, 500, 9, 9)
"""A box x, y, width, height away from all others."""


def faces(*rows: Sequence[float]) -> Faces:
    """Faces of rows x, y, width, height, score."""
    values = np.array(rows, np.float64).reshape(-1, 5)
    return Faces(np.concatenate((values[:, :2], values[:, :2] + values[:, 2:4]), axis=1), values[:, 4])


def ellipses(*rows: Sequence[float]) -> fddb.Ellipses:
    """Ellipses of rows major, minor, angle, cx, cy, and possibly a score."""
    values = np.array([[*row, 1.0][:6] for row in rows], np.float64).reshape(-1, 6)
    return fddb.Ellipses(values[:, :5], values[:, 5])


def wider_truth(
    boxes: dict[str, Sequence[Sequence[float]]],
    ignored: Sequence[tuple[str, int]] = (),
    official_images: int | None = None,
) -> widerface.Truth:
    """Ground truth with one subset, ``all``, of boxes x, y, width, height."""
    rows = np.array([box for image in boxes.values() for box in image], np.float64).reshape(-1, 4)
    rows[:, 2:] += rows[:, :2]
    offsets = np.concatenate(([0], np.cumsum([len(image) for image in boxes.values()]))).astype(np.int64)
    counted = np.ones(len(rows), bool)
    for name, index in ignored:
        counted[offsets[list(boxes).index(name)] + index] = False
    return widerface.Truth(tuple(boxes), rows.astype(np.float32), offsets, {"all": counted}, {}, official_images)


def fddb_truth(images: dict[str, fddb.Ellipses], size: tuple[int, int] = (200, 150)) -> fddb.Truth:
    folds = np.arange(len(images)) % 10 + 1
    return fddb.Truth(tuple(images), tuple(images.values()), np.array([size] * len(images)), folds)
