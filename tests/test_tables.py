"""Detections as Arrow and pandas tables, and as supervision's detections."""

import sys

import numpy as np
import pytest

from facesmith.errors import MissingExtraError
from facesmith.faces import Faces, Landmark
from facesmith.tables import to_arrow, to_pandas

POINTS = np.arange(20, dtype=np.float32).reshape(2, 5, 2) + 0.5
TWO = Faces([[1, 2, 3, 4.25], [-5, 6, 7, 8]], [0.9, 0.25], POINTS, [4, -1])
NO_LANDMARKS = Faces([[0, 0, 9, 9]], [1])


class TestTables:
    COLUMNS = (
        "path",
        "face",
        "x1",
        "y1",
        "x2",
        "y2",
        "score",
        "left_eye_x",
        "left_eye_y",
        "right_eye_x",
        "right_eye_y",
    )
    COLUMNS += ("nose_x", "nose_y", "left_mouth_x", "left_mouth_y", "right_mouth_x", "right_mouth_y", "track_id")

    def test_arrow(self) -> None:
        pa = pytest.importorskip("pyarrow")
        table = to_arrow({"a.jpg": TWO, "none.jpg": Faces.empty(), "b.jpg": NO_LANDMARKS})
        assert tuple(table.column_names) == self.COLUMNS
        assert [str(kind) for kind in table.schema.types] == ["string", "int32", *["float"] * 15, "int64"]
        rows = table.to_pylist()
        assert [(row["path"], row["face"]) for row in rows] == [("a.jpg", 0), ("a.jpg", 1), ("b.jpg", 0)]
        assert [rows[1][side] for side in ("x1", "y1", "x2", "y2")] == [-5, 6, 7, 8]
        assert rows[1]["score"] == 0.25
        assert (rows[1]["nose_x"], rows[1]["right_mouth_y"]) == (14.5, 19.5)
        assert [row["track_id"] for row in rows] == [4, None, None]
        assert rows[2]["nose_x"] is None
        assert table["nose_x"].null_count == 1
        assert isinstance(table, pa.Table)

    def test_landmarks_that_one_face_lacks(self) -> None:
        pytest.importorskip("pyarrow")
        points = POINTS.copy()
        points[0] = np.nan
        assert to_arrow([("a", Faces(TWO.boxes, TWO.scores, points))])["left_eye_x"].to_pylist() == [None, 10.5]

    @pytest.mark.parametrize("results", [{}, [("a.jpg", Faces.empty())], iter(())])
    def test_no_rows_have_the_same_columns(self, results: object) -> None:
        pytest.importorskip("pyarrow")
        table = to_arrow(results)  # type: ignore[arg-type]
        assert table.num_rows == 0
        assert table.schema == to_arrow({"a": TWO}).schema

    def test_pandas(self) -> None:
        pytest.importorskip("pandas")
        frame = to_pandas((name, faces) for name, faces in (("a.jpg", TWO), ("b.jpg", NO_LANDMARKS)))
        assert tuple(frame.columns) == self.COLUMNS
        assert frame["x2"].tolist() == [3, 7, 9]
        assert frame["x2"].dtype == np.float32
        assert np.isnan(frame["nose_y"].iloc[2])
        assert str(frame["track_id"].dtype) == "Int64"
        assert frame["track_id"].isna().tolist() == [False, True, True]

    @pytest.mark.parametrize(("module", "convert"), [("pyarrow", to_arrow), ("pandas", to_pandas)])
    def test_what_to_install(self, module: str, convert: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=r"pip install 'facesmith\[tables\]'"):
            convert({})  # type: ignore[operator]


class TestSupervision:
    def test_all_columns(self) -> None:
        pytest.importorskip("supervision")
        found = TWO.to_supervision()
        assert found.xyxy.tolist() == TWO.boxes.tolist()
        assert found.confidence.tolist() == TWO.scores.tolist()
        assert found.class_id.tolist() == [0, 0]
        assert found.tracker_id.tolist() == [4, -1]
        assert found.data["class_name"].tolist() == ["face", "face"]
        second = found[1]
        assert second.data["landmarks"][0, Landmark.NOSE].tolist() == [14.5, 15.5]

    @pytest.mark.parametrize("faces", [NO_LANDMARKS, Faces.empty(), Faces.empty(landmarks=False)])
    def test_missing_columns(self, faces: Faces) -> None:
        pytest.importorskip("supervision")
        found = faces.to_supervision()
        assert len(found) == len(faces)
        assert found.tracker_id is None
        assert ("landmarks" in found.data) == (faces.landmarks is not None)

    def test_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "supervision", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'facesmith\[supervision\]'"):
            TWO.to_supervision()
