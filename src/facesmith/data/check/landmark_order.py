"""Are five landmarks in the right order? Every order is compared with a head seen from many sides."""

from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.data.formats.names import LANDMARK_NAMES

_HEAD = np.array([(-0.5, -0.45, 0.0), (0.5, -0.45, 0.0), (0, 0.05, 0.4), (-0.36, 0.5, 0.1), (0.36, 0.5, 0.1)])
"""Left and right eye, nose, left and right mouth corner of an upright head that looks at the viewer; x right, y down, z
towards the viewer; in distances of the eyes."""

_YAWS, _PITCHES = (-75, -60, -45, -30, -15, 0, 15, 30, 45, 60, 75), (-30, -15, 0, 15, 30)

LEAST_MISFIT = 0.1
"""Misfit below which the order is never questioned."""

BETTER = 0.25
"""Another order is believed where its misfit is below this share of the given order's."""

_NAMED = {
    (1, 0, 2, 4, 3): "left and right are swapped (left is left in the image)",
    (1, 0, 2, 3, 4): "the eyes are swapped",
    (0, 1, 2, 4, 3): "the mouth corners are swapped",
    (3, 4, 2, 0, 1): "the mouth stands before the eyes",
}
_ORDERS = np.array(list(permutations(range(5))))
_COMMON = np.array([tuple(order) in _NAMED for order in _ORDERS.tolist()])
_CHUNK = 1000  # faces at once: 120 orders x 55 views of each


class Verdict(NamedTuple):
    """A face whose landmarks seem to be in another order.

    Attributes:
        badness: misfit of the given order, 0 to 1.
        detail: which order it seems to be.
    """

    badness: float
    detail: str


def verdicts(points: npt.NDArray[np.float32]) -> list[Verdict | None]:
    """For each of (n, 5, 2) ``points`` a verdict, or ``None`` where the order is credible.

    A face may be turned by any angle in the picture and by up to 75 degrees out of it.
    """
    found = list[Verdict | None]()
    for start in range(0, len(points), _CHUNK):
        misfits = _misfits(points[start : start + _CHUNK])
        given = misfits[:, 0]
        wrong = (given > LEAST_MISFIT) & (misfits.min(axis=1) < BETTER * given)
        common = misfits[:, _COMMON].min(axis=1, keepdims=True) < BETTER * given[:, None]
        # A common mistake that explains the points well explains them best.
        unlikely = common & ~_COMMON
        best = np.where(unlikely, 2.0, misfits).argmin(axis=1)
        found += [
            Verdict(float(given[i]), _described(_ORDERS[best[i]])) if wrong[i] else None for i in range(len(misfits))
        ]
    return found


def _misfits(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(n, 120): per order, the part of the points' variance that no view of the head explains.

    Of the best similarity between a view t and points s, both centred and as complex numbers, the unexplained part is
    1 - |<t, s>|^2 / (|t|^2 |s|^2).
    """
    numbers = points[..., 0].astype(np.float64) + 1j * points[..., 1]
    numbers -= numbers.mean(axis=1, keepdims=True)
    numbers /= np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1e-9)
    fits = np.abs(numbers[:, _ORDERS] @ _VIEWS.conj().T) ** 2  # (n, 120, views)
    return np.asarray(1 - fits.max(axis=2))


def _views() -> npt.NDArray[np.complex128]:
    """(views, 5), centred, of norm 1."""
    yaw, pitch = (np.radians(angles).ravel() for angles in np.meshgrid(_YAWS, _PITCHES))
    x, y, z = _HEAD.T[:, None]
    across = x * np.cos(yaw)[:, None] + z * np.sin(yaw)[:, None]
    depth = z * np.cos(yaw)[:, None] - x * np.sin(yaw)[:, None]
    down = y * np.cos(pitch)[:, None] - depth * np.sin(pitch)[:, None]
    views = across + 1j * down
    views -= views.mean(axis=1, keepdims=True)
    return np.asarray(views / np.linalg.norm(views, axis=1, keepdims=True))


_VIEWS = _views()


def _described(order: npt.NDArray[np.int64]) -> str:
    known = _NAMED.get(tuple(order.tolist()))
    given = np.argsort(order)
    return known or "the order seems to be " + ", ".join(LANDMARK_NAMES[5][i] for i in given)
