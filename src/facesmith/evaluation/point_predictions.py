"""Files of predicted landmarks, as many points a face as the protocol has, for protocols without boxes."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation import predictions
from facesmith.evaluation.names import image_name

FloatArray = npt.NDArray[np.float64]


def read_points_or_faces(path: Path) -> Mapping[str, Any]:
    """Image name -> (m, k, 2) points, or ``Faces`` where the file is one of
    :func:`facesmith.evaluation.predictions.read`.

    A file of points has a JSON object a line and face: ``{"image": "a/b.jpg", "points": [[x, y], ...]}``, in
    pixels; an image's faces are in the order of its labels.

    Raises:
        LabelError: the file is malformed; the message names the line.
    """
    if path.is_dir():
        return predictions.read(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as predictions: {error}") from error
    first = next((line for line in lines if line.strip()), "")
    if '"points"' not in first:
        return predictions.read(path)
    faces: defaultdict[str, list[FloatArray]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, points = _face(line, f"{path}:{number}")
            faces[name].append(points)
    stacked = {}
    for name, rows in faces.items():
        if len({len(row) for row in rows}) > 1:
            raise LabelError(f"{path}: the faces of image {name!r} have different numbers of points")
        stacked[name] = np.stack(rows)
    return stacked


def _face(line: str, where: str) -> tuple[str, FloatArray]:
    try:
        row = json.loads(line)
        name, points = image_name(row["image"]), np.array(row["points"], np.float64)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelError(f"{where}: {type(error).__name__}: {error}; needs image and points") from error
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise LabelError(f"{where}: 'points' must be finite (k, 2) numbers, not of shape {points.shape}")
    return name, points
