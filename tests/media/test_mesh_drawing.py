import numpy as np
import pytest

from facesmith.errors import ImageError
from facesmith.media.mesh_drawing import draw_meshes

WHITE = np.full((40, 60, 3), 255, np.uint8)
SQUARE = np.array([[(10, 5, 0), (40, 5, 0), (40, 30, 0), (10, 30, 0)]], float)
HALVES = np.array([(0, 1, 2), (0, 2, 3)])


def test_what_is_covered_is_covered_without_holes() -> None:
    drawn = draw_meshes(WHITE, SQUARE, HALVES, colour=(0, 0, 200), opacity=1)
    assert (drawn[6:29, 11:39] == (0, 0, 200)).all()
    outside = np.ones(drawn.shape[:2], bool)
    outside[4:31, 9:41] = False  # points on the border may fall on either side
    assert (drawn[outside] == 255).all()
    assert (WHITE == 255).all()


def test_opacity_mixes() -> None:
    drawn = draw_meshes(WHITE, SQUARE, HALVES, colour=(0, 100, 200), opacity=0.25)
    assert drawn[15, 20].tolist() == [191, 216, 241]
    assert (draw_meshes(WHITE, SQUARE, HALVES, opacity=0) == WHITE).all()


def test_the_nearer_part_hides_the_other() -> None:
    slope = np.array([(10, 5, 5), (40, 5, 5), (40, 30, 40), (10, 30, 40)], float)  # seen darker
    both = np.concatenate([SQUARE[0], slope])[None]
    expected = draw_meshes(WHITE, slope[None], HALVES, opacity=1)[15, 20]
    for triangles in (np.vstack([HALVES, HALVES + 4]), np.vstack([HALVES + 4, HALVES])):
        assert (draw_meshes(WHITE, both, triangles, opacity=1)[15, 20] == expected).all()
    assert (expected < draw_meshes(WHITE, SQUARE, HALVES, opacity=1)[15, 20]).any()


def test_faces_that_stick_out_or_are_unknown() -> None:
    far = np.stack([SQUARE[0] - (500, 0, 0), SQUARE[0] * np.nan, SQUARE[0] * (1e6, 0.1, 1)])
    drawn = draw_meshes(WHITE, far[:2], HALVES)
    assert (drawn == WHITE).all()
    half = draw_meshes(WHITE, SQUARE + (40, 0, 0), HALVES, opacity=1)
    assert (half[10:25, 52:] != 255).any(axis=2).all()
    assert (half[:, :48] == 255).all()


def test_no_faces() -> None:
    assert (draw_meshes(WHITE, np.zeros((0, 4, 3)), HALVES) == WHITE).all()


def test_wrong_shapes_fail() -> None:
    with pytest.raises(ImageError, match=r"\(K, n, 3\) vertices"):
        draw_meshes(WHITE, SQUARE[0], HALVES)
