"""Detections as tables: a row a face, for Arrow, pandas and Parquet.

Columns: ``path`` (string); ``face`` (int32, its number within the picture, from 0); ``x1``, ``y1``, ``x2``, ``y2``
(float32); ``score`` (float32, 0 to 1); ``left_eye_x``, ``left_eye_y``, ``right_eye_x`` … ``right_mouth_y`` (float32);
``track_id`` (int64). Pixels of the upright picture, origin at the outer corner of its top-left pixel, x right, y down;
left is left in the image. Boxes are not cut at the picture's border. Landmarks and track ids are null where a face has
none. A picture without faces has no row.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facesmith.errors import MissingExtraError
from facesmith.faces import Faces, Landmark

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Results = Mapping[str, Faces] | Iterable[tuple[str, Faces]]
"""Path of each picture and its faces."""

LANDMARK_COLUMNS = tuple(f"{landmark.name.lower()}_{axis}" for landmark in Landmark for axis in "xy")


def to_arrow(results: Results) -> "pa.Table":
    """``results`` as a ``pyarrow.Table``; see the module for its columns and units.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("tables need pyarrow: pip install 'facesmith[tables]'") from error
    pairs = list(results.items() if isinstance(results, Mapping) else results)
    counts = [len(faces) for _, faces in pairs]
    boxes = _stacked([faces.boxes for _, faces in pairs], (4,), np.float32)
    landmarks = _stacked([_landmarks(faces) for _, faces in pairs], (10,), np.float32)
    tracks = _stacked([_tracks(faces) for _, faces in pairs], (), np.int64)
    columns = {
        "path": pa.array([path for path, faces in pairs for _ in range(len(faces))], pa.string()),
        "face": pa.array(np.concatenate([np.zeros(0, np.int32), *(np.arange(n, dtype=np.int32) for n in counts)])),
        **{name: pa.array(boxes[:, i]) for i, name in enumerate(("x1", "y1", "x2", "y2"))},
        "score": pa.array(_stacked([faces.scores for _, faces in pairs], (), np.float32)),
        **{name: pa.array(landmarks[:, i], from_pandas=True) for i, name in enumerate(LANDMARK_COLUMNS)},
        "track_id": pa.array(tracks, mask=tracks < 0),
    }
    return pa.table(columns)


def to_pandas(results: Results) -> "pd.DataFrame":
    """``results`` as a ``pandas.DataFrame``; see the module for its columns and units. Unknown landmarks are NaN, and
    ``track_id`` is pandas' ``Int64``, which has a missing value.

    Raises:
        MissingExtraError: pandas or pyarrow is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("data frames need pandas: pip install 'facesmith[tables]'") from error
    table = to_arrow(results)
    return table.to_pandas(types_mapper={table.schema.field("track_id").type: pd.Int64Dtype()}.get)


def _landmarks(faces: Faces) -> npt.NDArray[np.float32]:
    if faces.landmarks is None:
        return np.full((len(faces), 10), np.nan, np.float32)
    return faces.landmarks.reshape(len(faces), 10)


def _tracks(faces: Faces) -> npt.NDArray[np.int64]:
    return np.full(len(faces), -1) if faces.track_ids is None else faces.track_ids


def _stacked(parts: list[npt.NDArray[Any]], tail: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros((0, *tail), dtype), *parts])
