"""``Faces``: what it accepts, how it is indexed, and that nothing is lost on the way to JSON and back."""

import json

import numpy as np
import pytest

from facesmith.faces import LANDMARK_FLIP, Faces, Landmark


def some(n: int = 4, *, landmarks: bool = True, tracks: bool = True) -> Faces:
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 100, (n, 2))
    return Faces(
        np.concatenate([corner, corner + rng.uniform(1, 50, (n, 2))], axis=1),
        rng.uniform(0, 1, n),
        rng.uniform(0, 100, (n, 5, 2)) if landmarks else None,
        np.arange(n) - 1 if tracks else None,
    )


def check_equal(a: Faces, b: Faces, tolerance: float = 0.0) -> None:
    for name in ("boxes", "scores", "landmarks", "track_ids"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype
            np.testing.assert_allclose(x, y, rtol=0, atol=tolerance, err_msg=name)


class TestColumns:
    def test_dtypes(self):
        faces = some()
        assert faces.boxes.dtype == faces.scores.dtype == faces.landmarks.dtype == np.float32
        assert faces.track_ids.dtype == np.int64

    def test_lists_are_taken(self):
        faces = Faces([[1, 2, 3, 4]], [1], [[[0, 0]] * 5], [7])
        assert faces.boxes.tolist() == [[1, 2, 3, 4]]
        assert faces.track_ids.tolist() == [7]

    @pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros(0)])
    def test_no_faces(self, boxes):
        faces = Faces(boxes, [], [], [])
        assert len(faces) == 0
        assert faces.boxes.shape == (0, 4)
        assert faces.landmarks.shape == (0, 5, 2)

    @pytest.mark.parametrize("landmarks", [True, False])
    def test_empty(self, landmarks):
        faces = Faces.empty(landmarks=landmarks)
        assert len(faces) == 0
        assert (faces.landmarks is not None) == landmarks

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (([[1, 2, 3]], [1]), r"boxes must have shape \(n, 4\), not \(1, 3\)"),
            (([1, 2, 3, 4], [1]), r"boxes must have shape"),
            (([[1, 2, 3, 4]], [1, 2]), r"scores must have shape \(1\), not \(2,\)"),
            (([[1, 2, 3, 4]], [[1]]), "scores"),
            (([[1, 2, 3, 4]], []), "scores"),
            (([[1, 2, 3, 4]], [1], np.zeros((1, 4, 2))), r"landmarks must have shape \(1, 5, 2\)"),
            (([[1, 2, 3, 4]], [1], np.zeros((2, 5, 2))), "landmarks"),
            (([[1, 2, 3, 4]], [1], np.zeros((1, 10))), "landmarks"),
            (([[1, 2, 3, 4]], [1], None, [1, 2]), "track_ids"),
            (([[1, 2, np.nan, 4]], [1]), "boxes holds NaN"),
            (([[1, 2, np.inf, 4]], [1]), "boxes holds NaN or infinity"),
            (([[1, 2, 3, 4]], [np.nan]), "scores holds NaN"),
        ],
    )
    def test_wrong_columns(self, columns, message):
        with pytest.raises(ValueError, match=message):
            Faces(*columns)

    def test_missing_landmarks_are_allowed(self):
        assert np.isnan(Faces([[1, 2, 3, 4]], [1], np.full((1, 5, 2), np.nan)).landmarks).all()

    def test_frozen(self):
        with pytest.raises(AttributeError):
            some().boxes = np.zeros((4, 4))

    def test_sizes(self):
        faces = Faces([[1, 2, 4, 9], [0, 0, 0.5, 0.25]], [1, 1])
        assert faces.widths.tolist() == [3, 0.5]
        assert faces.heights.tolist() == [7, 0.25]

    def test_repr(self):
        assert repr(some(2)) == ("Faces(n=2, boxes=(2, 4), scores=(2,), landmarks=(2, 5, 2), track_ids=(2,))")
        assert "landmarks" not in repr(some(landmarks=False))


class TestIndexing:
    @pytest.mark.parametrize(
        "index",
        [
            slice(1, 3),
            slice(None, None, -1),
            [2, 0],
            np.array([3, 3]),
            np.array([True, False, True, False]),
            [],
            slice(0, 0),
        ],
    )
    def test_all_columns_follow(self, index):
        faces = some()
        picked = faces[index]
        for name in ("boxes", "scores", "landmarks", "track_ids"):
            assert (getattr(picked, name) == getattr(faces, name)[index]).all()

    @pytest.mark.parametrize("index", [0, 3, -1, -4, np.int64(2)])
    def test_an_integer_gives_one_face(self, index):
        one = some()[index]
        assert len(one) == 1
        assert (one.boxes[0] == some().boxes[index]).all()

    @pytest.mark.parametrize("index", [4, -5])
    def test_out_of_range(self, index):
        with pytest.raises(IndexError, match=f"face {index} of 4"):
            some()[index]

    def test_missing_columns_stay_missing(self):
        faces = some(landmarks=False, tracks=False)[1:]
        assert faces.landmarks is None
        assert faces.track_ids is None

    def test_iteration(self):
        faces = some()
        parts = list(faces)
        assert [len(part) for part in parts] == [1] * 4
        check_equal(Faces.concatenate(parts), faces)

    def test_above_is_inclusive(self):
        faces = Faces(np.zeros((3, 4)), [0.25, 0.5, 0.75])
        assert faces.above(0.5).scores.tolist() == [0.5, 0.75]
        assert len(faces.above(1)) == 0


class TestMapped:
    def test_boxes_and_landmarks(self):
        faces = Faces([[1, 2, 3, 4]], [0.5], np.arange(10).reshape(1, 5, 2), [3]).mapped((2, 10), (100, 1000))
        assert faces.boxes.tolist() == [[102, 1020, 106, 1040]]
        assert faces.landmarks[0, 1].tolist() == [104, 1030]
        assert faces.scores.tolist() == [0.5]
        assert faces.track_ids.tolist() == [3]

    def test_there_and_back(self):
        faces = some()
        there = faces.mapped((0.5, 2), (7, -3))
        check_equal(there.mapped((2, 0.5), (-14, 1.5)), faces, 1e-4)

    @pytest.mark.parametrize("landmarks", [True, False])
    def test_no_faces(self, landmarks):
        mapped = Faces.empty(landmarks=landmarks).mapped((2, 2), (1, 1))
        assert mapped.boxes.shape == (0, 4)
        assert (mapped.landmarks is None) != landmarks


class TestDicts:
    @pytest.mark.parametrize("landmarks", [True, False])
    @pytest.mark.parametrize("tracks", [True, False])
    @pytest.mark.parametrize("n", [1, 5])
    def test_round_trip_through_json(self, n, tracks, landmarks):
        faces = some(n, landmarks=landmarks, tracks=tracks)
        text = json.dumps(faces.to_dicts())
        check_equal(Faces.from_dicts(json.loads(text)), faces, 0.0051)

    def test_form(self):
        row = Faces([[1, 2, 3, 4.126]], [0.123456], np.ones((1, 5, 2)), [7]).to_dicts()
        assert row == [{"box": [1, 2, 3, 4.13], "score": 0.12346, "landmarks": [[1, 1]] * 5, "track_id": 7}]

    def test_faces_with_and_without_landmarks(self):
        landmarks = np.ones((2, 5, 2))
        landmarks[0, 3, 1] = np.nan
        rows = Faces(np.zeros((2, 4)), [1, 1], landmarks).to_dicts()
        assert "landmarks" not in rows[0]
        assert "landmarks" in rows[1]
        back = Faces.from_dicts(rows)
        assert np.isnan(back.landmarks[0]).all()
        assert (back.landmarks[1] == 1).all()

    def test_null_landmarks_and_missing_track(self):
        rows = [
            {"box": [0, 0, 1, 1], "score": 1, "landmarks": None},
            {"box": [0, 0, 1, 1], "score": 1, "track_id": 2},
        ]
        faces = Faces.from_dicts(rows)
        assert faces.landmarks is None
        assert faces.track_ids.tolist() == [-1, 2]

    def test_none(self):
        assert Faces.from_dicts(Faces.empty().to_dicts()).boxes.shape == (0, 4)


class TestConcatenate:
    def test_order(self):
        a, b = some(2), some(3)
        check_equal(Faces.concatenate([a, b])[:2], a)
        check_equal(Faces.concatenate([a, b])[2:], b)

    def test_a_column_stays_only_if_all_have_it(self):
        both = Faces.concatenate([some(2, tracks=False), some(3, landmarks=False)])
        assert len(both) == 5
        assert both.landmarks is None
        assert both.track_ids is None

    def test_none(self):
        assert len(Faces.concatenate([])) == 0


def test_landmark_order_and_flip():
    assert [name.name for name in Landmark] == ["LEFT_EYE", "RIGHT_EYE", "NOSE", "LEFT_MOUTH", "RIGHT_MOUTH"]
    for name in Landmark:
        other = Landmark(LANDMARK_FLIP[name])
        swapped = name.name.replace("LEFT", "*").replace("RIGHT", "LEFT").replace("*", "RIGHT")
        assert other.name == swapped
        assert LANDMARK_FLIP[other] == name
