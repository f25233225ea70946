"""Head pose by AFLW2000-3D's labels: Euler angles as its authors (Zhu et al. 2016, 3DDFA) define them.

Axes are x right in the image, y up, z towards the viewer; turns are right-handed. Their rotation of a head is
Rx(-pitch) · Ry(-yaw) · Rz(-roll); ours (``Meshes.pose``) is Rz(-roll) · Ry(yaw) · Rx(-pitch). So a yaw above 0 is to
the left of the image there and to the right here, and the angles of a head that is turned about several axes differ in
size too: they are converted, not compared as they are.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LARGEST = 99.0
"""Faces with an angle beyond it are left out, as since FSA-Net (Yang et al. 2019): 1,969 of 2,000 stay."""

NAMES = ("pitch", "yaw", "roll")


def in_labels_convention(pose: npt.ArrayLike) -> FloatArray:
    """(n, 3) yaw, pitch, roll of ``Meshes.pose`` -> (n, 3) pitch, yaw, roll of AFLW2000-3D's labels, in degrees."""
    yaw, pitch, roll = np.radians(np.asarray(pose, np.float64).reshape(-1, 3)).T
    rotation = _about(2, -roll) @ _about(1, yaw) @ _about(0, -pitch)
    angles = (
        np.arctan2(rotation[:, 1, 2], rotation[:, 2, 2]),
        np.arcsin(np.clip(-rotation[:, 0, 2], -1, 1)),
        np.arctan2(rotation[:, 0, 1], rotation[:, 0, 0]),
    )
    converted: FloatArray = np.degrees(np.stack(angles, axis=1))
    return converted


def pose_figures(found: FloatArray, labelled: FloatArray) -> dict[str, float]:
    """Mean absolute errors in degrees, and their mean, over the faces that were found.

    Args:
        found: (n, 3) pitch, yaw, roll in the labels' convention; NaN where a face was not found.
        labelled: (n, 3) the same of the labels.

    Returns:
        ``pose_pitch``, ``pose_yaw``, ``pose_roll``, ``pose_mean``; nothing if there is no face to judge.
    """
    judged = np.isfinite(found).all(axis=1) & (np.abs(labelled) <= LARGEST).all(axis=1)
    if not judged.any():
        return {}
    away = np.abs(found[judged] - labelled[judged])
    errors = np.minimum(away, 360 - away).mean(axis=0)
    figures: Mapping[str, float] = {f"pose_{name}": float(error) for name, error in zip(NAMES, errors, strict=True)}
    return {**figures, "pose_mean": float(errors.mean())}


def _about(axis: int, angle: FloatArray) -> FloatArray:
    """(n, 3, 3) right-handed turns by (n,) radians."""
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    rotation = np.zeros((len(angle), 3, 3))
    rotation[:, axis, axis] = 1
    rotation[:, first, first] = rotation[:, second, second] = np.cos(angle)
    rotation[:, first, second], rotation[:, second, first] = -np.sin(angle), np.sin(angle)
    return rotation
