"""IoU with border pixels, and the test for boxes given by their edges instead of their sizes."""

import numpy as np
import pytest
from detection_cases import KNOWN, wider_truth

from facesmith.errors import LabelError
from facesmith.evaluation import widerface
from facesmith.evaluation.overlap import best_overlap, check_box_form, inclusive_iou
from facesmith.faces import Faces


class TestOverlap:
    def test_counts_both_border_pixels(self) -> None:
        # 10 × 10 pixels each, 5 columns in common; without +1 it would be 9·4 / (81 + 81 - 36)
        a, b = np.array([[0, 0, 9, 9]]), np.array([[5, 0, 14, 9]])
        assert inclusive_iou(a, b)[0, 0] == 50 / 150

    def test_boxes_that_only_touch_share_a_column(self) -> None:
        assert inclusive_iou(np.array([[0, 0, 9, 9]]), np.array([[9, 0, 18, 9]]))[0, 0] == 10 / 190
        assert inclusive_iou(np.array([[0, 0, 9, 9]]), np.array([[10, 0, 19, 9]]))[0, 0] == 0

    def test_a_box_without_area_is_a_pixel(self) -> None:
        assert inclusive_iou(np.array([[3, 3, 3, 3]]), np.array([[3, 3, 3, 3]]))[0, 0] == 1

    def test_best_overlap_takes_the_first_of_equals_and_works_in_blocks(self) -> None:
        rng = np.random.default_rng(0)
        corners = rng.integers(0, 30, (700, 2))
        boxes = np.concatenate((corners, corners + rng.integers(0, 12, (700, 2))), axis=1)
        others = np.concatenate((boxes[:450], boxes[:450]))
        best, iou = best_overlap(boxes, others)
        whole = inclusive_iou(boxes, others)
        assert (best == whole.argmax(axis=1)).all()
        assert (iou == whole.max(axis=1)).all()
        assert best.max() < 450


class TestBoxForm:
    def given(self, count: int) -> tuple[list[Faces], list[np.ndarray]]:
        rng = np.random.default_rng(count)
        corners = rng.uniform(100, 500, (count, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(20, 60, (count, 2))), axis=1).astype(np.float32)
        # written as x1 y1 x2 y2, read as x y width height
        misread = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
        return [Faces(box[None], np.ones(1)) for box in misread], [box[None] for box in boxes]

    def test_edges_read_as_sizes_are_named(self) -> None:
        found, boxes = self.given(40)
        with pytest.raises(LabelError, match=r"look like x1 y1 x2 y2.*find 40 faces.*other way round 0"):
            check_box_form(found, boxes)

    def test_evaluation_refuses_them(self) -> None:
        found, boxes = self.given(40)
        sized = [(*box[0, :2], *(box[0, 2:] - box[0, :2])) for box in boxes]
        labels = wider_truth({str(i): [box] for i, box in enumerate(sized)})
        with pytest.raises(LabelError, match="x1 y1 x2 y2"):
            widerface.evaluate(dict(zip(labels.names, found, strict=True)), labels, provenance=KNOWN)

    def test_too_few_faces_prove_nothing(self) -> None:
        check_box_form(*self.given(16))
        with pytest.raises(LabelError):
            check_box_form(*self.given(17))

    def test_right_and_random_boxes_pass(self) -> None:
        _, boxes = self.given(300)
        check_box_form([Faces(box, np.ones(1)) for box in boxes], boxes)
        rng = np.random.default_rng(3)
        corners = rng.uniform(0, 500, (300, 8, 2))
        noise = np.concatenate((corners, corners + rng.uniform(5, 300, corners.shape)), axis=2)
        check_box_form([Faces(image, rng.random(8)) for image in noise], boxes)

    def test_faces_near_the_origin_look_alike_and_pass(self) -> None:
        boxes = [np.array([[0, 0, 20 + i, 30]], np.float32) for i in range(50)]
        check_box_form([Faces(box, np.ones(1)) for box in boxes], boxes)
