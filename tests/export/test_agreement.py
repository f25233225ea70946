import math

import numpy as np
import pytest

from facesmith.export.agreement import compare
from facesmith.faces import Faces


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4], None)


A, B, FAINT = (0, 0, 100, 100, 0.9), (200, 0, 260, 60, 0.7), (400, 400, 440, 440, 0.1)


def test_the_same_faces_agree() -> None:
    found = compare([faces(A, B, FAINT), faces()], [faces(A, B, FAINT), faces()])
    assert found == pytest.approx((2, 3, 1.0, 2, 1.0, 1.0), abs=1e-6)


def test_a_missed_face_and_a_false_one() -> None:
    other = (600, 600, 700, 700, 0.95)
    found = compare([faces(A, B)], [faces(other, A)])
    assert found.same == 0.5
    assert found.iou == pytest.approx(0.5)
    assert found.average_precision == pytest.approx(0.5 * 51 / 101)  # half the recalls (0 to .5), at precision 1/2
    assert compare([faces(A, B)], [faces(A)]).average_precision == pytest.approx(51 / 101)


def test_a_moved_box_or_another_score_is_not_the_same() -> None:
    assert compare([faces(A)], [faces((0, 0, 100, 97, 0.9))]).same == 0
    assert compare([faces(A)], [faces((0, 0, 100, 99, 0.9))]).same == 1
    assert compare([faces(A)], [faces((0, 0, 100, 100, 0.89))]).same == 0
    assert compare([faces(A)], [faces((0, 0, 100, 97, 0.8))]).average_precision == pytest.approx(1)


def test_faint_faces_of_the_first_neither_count_nor_harm() -> None:
    assert compare([faces(A, FAINT)], [faces(A)]).average_precision == pytest.approx(1)
    assert compare([faces(A, FAINT)], [faces(A, (400, 400, 440, 440, 0.95))]).average_precision == pytest.approx(1)


def test_without_faces_nothing_can_be_said() -> None:
    found = compare([faces()], [faces()])
    assert found[:2] == (1, 0)
    assert math.isnan(found.same)
    assert math.isnan(found.average_precision)
    found = compare([faces(FAINT)], [faces(FAINT)])
    assert found.same == 1
    assert math.isnan(found.average_precision)
