"""facesmith's own format: a JSON object a line and image, as ``facesmith detect --jsonl`` writes it.

``{"path": "a/b.jpg", "width": 640, "height": 480, "faces": [{"box": [x1, y1, x2, y2], "score": 0.98,
"landmarks": [[x, y], …]}]}`` in pixels of the image; landmarks and size are optional.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facesmith import files
from facesmith.errors import LabelError
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predictions import text
from facesmith.evaluation.predictions.alignment import Predictions
from facesmith.faces import Faces


def read_jsonl(path: str | os.PathLike[str]) -> Predictions:
    """Read every line; an image's name is its ``path`` without suffix.

    Raises:
        LabelError: a line is malformed, a box or score is not finite or has a negative size, an image is
        there twice.
    """
    path = Path(path)
    predictions, lines = Predictions(), dict[str, int]()
    for number, line in enumerate(text.read_lines(path), 1):
        if not line.strip():
            continue
        name, faces = _entry(line, f"{path}:{number}")
        if name in lines:
            raise LabelError(f"{path}:{number}: {name!r} again; it is in line {lines[name]} already")
        predictions[name], lines[name] = faces, number
    if not predictions:
        raise LabelError(f"{path}: is empty; expected a JSON object a line")
    return predictions


def write_jsonl(
    predictions: Mapping[str, Faces],
    path: str | os.PathLike[str],
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Write one line an image, whole or not at all; boxes to 0.01 px, scores to five digits.

    ``sizes``: width and height of each image, written where given.
    """
    rows = list[dict[str, Any]]()
    for name, faces in predictions.items():
        size = {} if sizes is None else dict(zip(("width", "height"), sizes[name], strict=True))
        rows.append({"path": name, **size, "faces": faces.to_dicts()})
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _entry(line: str, where: str) -> tuple[str, Faces]:
    try:
        row = json.loads(line)
        name, faces = image_name(row["path"]), Faces.from_dicts(row["faces"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelError(
            f"{where}: expected {{'path': …, 'faces': [{{'box': [x1, y1, x2, y2], 'score': …}}]}} with "
            f"finite numbers; {type(error).__name__}: {error}"
        ) from error
    negative = (faces.boxes[:, 2:] < faces.boxes[:, :2]).any(axis=1)
    if negative.any():
        box = faces.boxes[int(np.argmax(negative))].tolist()
        raise LabelError(
            f"{where}: box {box} has a negative size; a box here is x1, y1, x2, y2. Was x, y, width, height written?"
        )
    return name, faces
