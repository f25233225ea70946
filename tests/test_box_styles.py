import numpy as np
import pytest

from drawn_faces import RELATIVE
from facesmith.box_styles import FDDB, SQUARE, STYLES, TO_FIT, WIDER, BoxStyle, fit, keep, kept, kept_file, offsets
from facesmith.errors import ConfigError, LabelError
from facesmith.faces import Faces

TEMPLATE = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.5], [0.3, 0.75], [0.7, 0.75]])
"""Landmarks whose square is the unit square."""

POINTS = np.stack([TEMPLATE * 100 + (30, 50), TEMPLATE * 8 + (200, 3)]).astype(np.float32)
MISSING = np.full((1, 5, 2), np.nan, np.float32)
COINCIDING = np.full((1, 5, 2), 7, np.float32)


class TestBoxes:
    def test_the_square_itself(self) -> None:
        boxes = SQUARE.boxes(POINTS)
        assert boxes.dtype == np.float32
        np.testing.assert_allclose(boxes, [[30, 50, 130, 150], [200, 3, 208, 11]], atol=1e-4)

    def test_shift_and_scale_are_in_shares_of_the_side(self) -> None:
        boxes = BoxStyle(0.1, -0.2, 0.5, 1.5).boxes(POINTS)
        # centres (80, 100) and (204, 7) move by (10, -20) and (0.8, -1.6)
        np.testing.assert_allclose(boxes, [[65, 5, 115, 155], [202.8, -0.6, 206.8, 11.4]], atol=1e-4)

    @pytest.mark.parametrize("style", STYLES.values())
    def test_boxes_follow_the_face(self, style: BoxStyle) -> None:
        points = (RELATIVE * 40).astype(np.float32)
        one, moved, larger = style.boxes(np.stack([points, points + (7, -3), points * 2]))
        assert (moved - one).tolist() == pytest.approx([7, -3, 7, -3], abs=1e-4)
        assert larger.tolist() == pytest.approx((2 * one).tolist(), abs=1e-4)

    def test_no_landmarks_no_box(self) -> None:
        assert np.isnan(WIDER.boxes(np.concatenate([MISSING, COINCIDING]))).all()
        assert WIDER.boxes(np.zeros((0, 5, 2))).shape == (0, 4)

    def test_named_styles_are_upright_and_reach_above_the_landmarks(self) -> None:
        """Labelled boxes hold the forehead: taller than wide, and higher up than the landmarks' own square."""
        assert STYLES == {"square": SQUARE, "wider": WIDER, "fddb": FDDB}
        for style in (WIDER, FDDB):
            box = style.boxes(POINTS)[0]
            assert box[3] - box[1] > box[2] - box[0]
            assert box[1] < POINTS[0, :, 1].min() - 40
            assert box[3] > POINTS[0, :, 1].max()

    @pytest.mark.parametrize("numbers", [(0, 0, 0, 1), (0, 0, 1, -1), (np.nan, 0, 1, 1), (0, 0, np.inf, 1)])
    def test_impossible_styles(self, numbers: tuple[float, float, float, float]) -> None:
        with pytest.raises(ValueError, match="sx and sy above 0"):
            BoxStyle(*numbers)


class TestParse:
    def test_names_and_numbers(self) -> None:
        assert [BoxStyle.parse(name) for name in STYLES] == list(STYLES.values())
        assert BoxStyle.parse("-0.05, -.25,1.1,1.7") == BoxStyle(-0.05, -0.25, 1.1, 1.7)

    @pytest.mark.parametrize("text", ["afws", "0,0,1", "0,0,1,1,1", "0,0,0,1", "0,0,x,1", ""])
    def test_what_is_neither(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"no such box style: .*; write square, wider, fddb, afw.*, or dx,dy,sx"):
            BoxStyle.parse(text)

    @pytest.mark.parametrize("name", TO_FIT)
    def test_names_that_wait_for_their_pictures(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"run `facesmith box-style {name} LABELS --images DIR` once"):
            BoxStyle.parse(name)


class TestKeep:
    def test_kept_styles_have_names(self) -> None:
        assert kept() == {}
        mine, afw = BoxStyle(0.1, -0.2, 1.25, 1.5), BoxStyle(0.0, -0.1, 1.0, 1.0)
        keep("mine", WIDER)
        keep("afw", afw)
        assert keep("mine", mine) == kept_file()
        assert kept() == {"mine": mine, "afw": afw}
        assert (BoxStyle.parse("mine"), BoxStyle.parse("afw")) == (mine, afw)
        with pytest.raises(ConfigError, match="write mine, afw, square, wider, fddb, pascal, malf, or"):
            BoxStyle.parse("other")

    @pytest.mark.parametrize("name", ["wider", "", "0,0,1,1", "a b", "../x"])
    def test_names_that_mean_something_else(self, name: str) -> None:
        with pytest.raises(ConfigError, match="cannot be kept as"):
            keep(name, WIDER)
        assert not kept_file().exists()

    @pytest.mark.parametrize("text", ["", "[]", '{"a": [1, 2, 3]}', '{"a": [0, 0, 0, 1]}', '{"a": 5}'])
    def test_a_damaged_file(self, text: str) -> None:
        kept_file().parent.mkdir(parents=True)
        kept_file().write_text(text)
        with pytest.raises(ConfigError, match=r"box_styles\.json: cannot be read as kept box styles"):
            BoxStyle.parse("mine")
        assert kept_file().read_text() == text


class TestRestyled:
    def test_only_boxes_change(self) -> None:
        faces = Faces(np.zeros((2, 4)), np.array([0.9, 0.4]), POINTS, np.array([3, 5]))
        new = FDDB.restyled(faces)
        np.testing.assert_array_equal(new.boxes, FDDB.boxes(POINTS))
        np.testing.assert_array_equal(new.scores, faces.scores)
        np.testing.assert_array_equal(new.landmarks, POINTS)
        np.testing.assert_array_equal(new.track_ids, faces.track_ids)

    def test_a_face_whose_landmarks_coincide_keeps_its_box(self) -> None:
        faces = Faces([[1, 2, 3, 4], [5, 6, 7, 8]], [1, 1], np.concatenate([COINCIDING, POINTS[:1]]))
        new = SQUARE.restyled(faces)
        np.testing.assert_allclose(new.boxes, [[1, 2, 3, 4], [30, 50, 130, 150]], atol=1e-4)

    def test_landmarks_are_needed(self) -> None:
        for landmarks in (None, MISSING):
            with pytest.raises(ConfigError, match="without them"):
                WIDER.restyled(Faces([[1, 2, 3, 4]], [1], landmarks))
        assert len(WIDER.restyled(Faces.empty(landmarks=False))) == 0


class TestFit:
    def test_it_inverts_boxes(self) -> None:
        style = BoxStyle(0.05, -0.25, 1.1, 1.7)
        rng = np.random.default_rng(0)
        sides = rng.uniform(5, 300, (40, 1, 1))
        points = (TEMPLATE * sides + rng.uniform(-50, 900, (40, 1, 2))).astype(np.float32)
        assert vars(fit(style.boxes(points), points)) == pytest.approx(vars(style), abs=1e-4)
        each = offsets(style.boxes(points), points)
        np.testing.assert_allclose(each, np.tile([0.05, -0.25, 1.1, 1.7], (40, 1)), atol=1e-3)

    def test_a_few_wrong_labels_and_unknown_landmarks_do_not_matter(self) -> None:
        points = np.concatenate([np.repeat(POINTS, 4, axis=0), MISSING, COINCIDING])
        boxes = WIDER.boxes(points)
        boxes[:3] *= (0.1, 5, 3, 9)
        boxes[8:] = (1, 2, 3, 4)
        assert vars(fit(boxes, points)) == pytest.approx(vars(WIDER), abs=1e-4)

    def test_nothing_to_fit_to(self) -> None:
        with pytest.raises(LabelError, match="there is none"):
            fit([[1, 2, 3, 4]], MISSING)
        with pytest.raises(LabelError, match="boxes with an area"):
            fit([[1, 2, 1, 4]], POINTS[:1])


def test_text() -> None:
    assert str(BoxStyle(0, -0.25, 1.5, 2)) == "dx 0, dy -0.25, sx 1.5, sy 2"
