from pathlib import Path

import numpy as np
import pytest

from facesmith.data.labels import read_labels
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF

POINTS = "12 15 0 18 15.5 1 15 18 0 12.5 22 0 17.5 22 0"
NONE = " ".join(["-1 -1 -1"] * 5)
WIDER = "7 5 3 2 1 0"  # blur, expression, illumination, invalid, occlusion, pose


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels.txt"


class TestRetinaFaceLayout:
    def test_4_19_and_20_columns(self, labels: Path) -> None:
        labels.write_text(
            f"# a/first.jpg\n10 10 20 30 {POINTS}\n\n1.5 2 3 4\n5 6 7 8 {NONE} 0.43\n"
            f"# b/empty.jpg\n# c.png\n0 0 9 9 {POINTS} 0.8\n"
        )
        first, empty, last = read_labels(labels)
        assert (first.path, empty.path, last.path) == ("a/first.jpg", "b/empty.jpg", "c.png")
        assert first.boxes.tolist() == [[10, 10, 30, 40], [1.5, 2, 4.5, 6], [5, 6, 12, 14]]
        assert first.boxes.dtype == first.landmarks.dtype == np.float32
        assert first.landmarks[0].tolist() == [[12, 15], [18, 15.5], [15, 18], [12.5, 22], [17.5, 22]]
        assert np.isnan(first.landmarks[1:]).all()
        assert first.ignored.tolist() == [False] * 3
        assert (empty.boxes.shape, empty.landmarks.shape, empty.ignored.shape) == ((0, 4), (0, 5, 2), (0,))
        assert last.landmarks.shape == (1, 5, 2)

    def test_one_missing_point_is_no_landmarks(self, labels: Path) -> None:
        labels.write_text(f"# a.jpg\n10 10 20 30 {POINTS.replace('15 18 0', '-1 -1 -1')}\n")
        assert np.isnan(read_labels(labels)[0].landmarks).all()

    def test_points_outside_the_picture_are_landmarks(self, labels: Path) -> None:
        labels.write_text(f"# a.jpg\n-5 10 20 30 {POINTS.replace('12 15 0', '-3.5 15 0')}\n")
        assert read_labels(labels)[0].landmarks[0, 0].tolist() == [-3.5, 15]

    def test_boxes_without_area_are_dropped(self, labels: Path) -> None:
        labels.write_text(f"# a.jpg\n1 2 0 5\n3 4 5 -1\n6 7 8 9\n-1 -1 -1 -1 {NONE}\n")
        assert read_labels(labels)[0].boxes.tolist() == [[6, 7, 14, 16]]

    def test_a_box_is_inferred_from_landmarks(self, labels: Path) -> None:
        labels.write_text(f"# a.jpg\n-1 -1 -1 -1 {POINTS}\n")
        (label,) = read_labels(labels)
        x1, y1, x2, y2 = label.boxes[0]
        assert x1 < 12 < 18 < x2
        assert y1 < 15 < 22 < y2
        assert (x1 + x2) / 2 == pytest.approx(15, abs=0.6)
        assert 1.1 < (y2 - y1) / (x2 - x1) < 1.5  # WIDER FACE's boxes are upright
        assert np.isfinite(label.landmarks).all()

    def test_19_landmarks(self, labels: Path) -> None:
        points = np.arange(38.0).reshape(19, 2)
        points[list(FIVE_OF[19])] = [[12, 15], [18, 15], [15, 18], [12.5, 22], [17.5, 22]]
        written = " ".join(f"{x} {y} 0" for x, y in points)
        labels.write_text(f"# a.jpg\n1 2 3 4\n-1 -1 -1 -1 {written} 0.5\n# b.jpg\n5 6 7 8\n")
        first, second = read_labels(labels)
        assert np.isnan(first.landmarks[0]).all()
        np.testing.assert_array_equal(first.landmarks[1], points)
        assert second.landmarks.shape == (1, 19, 2)
        labels.write_text(f"# a.jpg\n-1 -1 -1 -1 {POINTS.replace('15.5', '15')}\n")
        np.testing.assert_allclose(first.boxes[1], read_labels(labels)[0].boxes[0], rtol=1e-6)

    def test_a_byte_order_mark_is_no_part_of_the_text(self, labels: Path) -> None:
        labels.write_text("# a.jpg\n1 2 3 4\n", encoding="utf-8-sig")
        assert read_labels(labels)[0].path == "a.jpg"


class TestWiderLayout:
    def test_faces_zero_counts_and_invalid_flags(self, labels: Path) -> None:
        labels.write_text(
            "0--Parade/a.jpg\n2\n10 20 30 40 0 0 0 0 0 0\n1 2 3 4 2 0 0 1 2 0\n"
            "1--Handshaking/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"
            "c.jpg\n1\n5 6 7 8\n"
        )
        first, empty, last = read_labels(labels)
        assert first.path == "0--Parade/a.jpg"
        assert first.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
        assert first.ignored.tolist() == [False, True]
        assert np.isnan(first.landmarks).all()
        assert empty.boxes.shape == (0, 4)
        assert last.ignored.tolist() == [False]

    def test_a_final_line_break_may_be_missing(self, labels: Path) -> None:
        labels.write_text(f"a.jpg\n1\n1 2 3 4 {WIDER}")
        assert len(read_labels(labels)[0].boxes) == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("# a.jpg\n1 2 3\n", r":2: 3 numbers; expected x y w h, or these and 5 or 19 times x y flag"),
            (f"# a.jpg\n1 2 3 4\n\n1 2 3 4 {POINTS} 1 1\n", r":4: 21 numbers"),
            (
                f"# a.jpg\n1 2 3 4 {POINTS}\n1 2 3 4 {'1 2 0 ' * 19}\n",
                r":3: 19 landmarks, where lines before have 5; a file has one number",
            ),
            ("# a.jpg\n1 2 x 4\n", r":2: not a line of numbers: '1 2 x 4'"),
            ("# a.jpg\n1 2 nan 4\n", r":2: NaN or infinity in '1 2 nan 4'"),
            ("# a.jpg\n1 2 3 1e60\n", r":2: NaN or infinity"),
            ("# a.jpg\n#  \n1 2 3 4\n", r":2: '#' must be followed by an image path"),
            ("a.jpg\nb.jpg\n", r":2: expected the number of faces of a\.jpg"),
            ("a.jpg\n-1\n", r":2: expected the number of faces of a\.jpg"),
            ("a.jpg\n", r":2: expected the number of faces of a\.jpg"),
            ("a.jpg\n2\n1 2 3 4\n", r":4: the file ends within the 2 faces of a\.jpg"),
            ("a.jpg\n1\n1 2 3 4 5\n", r":3: 5 numbers; expected x y w h and six attributes"),
            ("a.jpg\n0\nb.jpg\n1\n1 2 3 4\n", r":3: not a line of numbers: 'b\.jpg'"),
        ],
    )
    def test_name_file_and_line(self, labels: Path, text: str, problem: str) -> None:
        labels.write_text(text)
        with pytest.raises(LabelError, match=r"labels\.txt" + problem):
            read_labels(labels)

    def test_files_that_are_no_labels(self, labels: Path) -> None:
        with pytest.raises(LabelError, match=r"labels\.txt: cannot be read as a label file"):
            read_labels(labels)
        labels.write_text(" \n\n")
        with pytest.raises(LabelError, match=r"labels\.txt: is empty"):
            read_labels(labels)
        labels.write_bytes(b"# a.jpg\n\xff\xfe")
        with pytest.raises(LabelError, match=r"labels\.txt: cannot be read as a label file"):
            read_labels(labels)
