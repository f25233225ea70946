"""WIDER FACE: the rule in hand-computed cases, against a slow reference, and the readers of its ground truth."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import slow_widerface as slow

from facesmith.errors import ConfigError, LabelError
from facesmith.evaluation import widerface
from facesmith.evaluation.overlap import best_overlap, check_box_form, inclusive_iou
from facesmith.evaluation.result import Provenance
from facesmith.evaluation.widerface.average_precision import (
    match,
    normalised,
    precision_recall,
    thresholds_reached,
)
from facesmith.evaluation.widerface.truth import ATTRIBUTES
from facesmith.faces import Faces

KNOWN = Provenance("test")
DATA = Path(__file__).parents[3] / "shared" / "data" / "dev"


def faces(*rows: Sequence[float]) -> Faces:
    """Faces of rows x, y, width, height, score."""
    values = np.array(rows, np.float64).reshape(-1, 5)
    return Faces(np.concatenate((values[:, :2], values[:, :2] + values[:, 2:4]), axis=1), values[:, 4])


def truth(
    boxes: dict[str, Sequence[Sequence[float]]],
    ignored: Sequence[tuple[str, int]] = (),
    official_images: int | None = None,
) -> widerface.Truth:
    """Ground truth with one subset, ``all``, of boxes x, y, width, height."""
    rows = np.array([box for image in boxes.values() for box in image], np.float64).reshape(-1, 4)
    rows[:, 2:] += rows[:, :2]
    offsets = np.concatenate(([0], np.cumsum([len(image) for image in boxes.values()]))).astype(np.int64)
    counted = np.ones(len(rows), bool)
    for name, index in ignored:
        counted[offsets[list(boxes).index(name)] + index] = False
    return widerface.Truth(
        tuple(boxes), rows.astype(np.float32), offsets, {"all": counted}, {}, official_images
    )


def ap(predictions: dict[str, Faces], labels: widerface.Truth) -> float:
    return widerface.evaluate(predictions, labels, provenance=KNOWN).metrics["all"]


FAR = (500, 500, 9, 9)


class TestOverlap:
    def test_counts_both_border_pixels(self) -> None:
        # 10 × 10 pixels each, 5 columns in common: 50 / 150; without +1 it would be 9·4 / (81 + 81 - 36) = 0.286
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


class TestRule:
    def test_perfect(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20)], "b": [(5, 5, 30, 40), FAR]})
        found = {"a": faces((0, 0, 20, 20, 0.9)), "b": faces((5, 5, 30, 40, 0.8), (*FAR, 0.1))}
        assert ap(found, labels) == 1

    def test_iou_of_one_half_is_a_hit(self) -> None:
        # 10 × 10 pixels within 10 × 20: exactly .5
        labels = truth({"a": [(0, 0, 9, 19)], "b": [FAR]})
        found = {"a": faces((0, 0, 9, 9, 0.9)), "b": faces((*FAR, 0.1))}
        assert ap(found, labels) == 1
        # one row less: 90 / 200
        assert ap({**found, "a": faces((0, 0, 9, 8, 0.9))}, labels) == pytest.approx(0.5 * 0.5)

    def test_a_repeated_hit_stays_a_proposal(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20), FAR]})
        found = {"a": faces((0, 0, 20, 20, 0.9), (0, 0, 20, 20, 0.8), (*FAR, 0.1))}
        # recall 1/2 at precision 1, then 1 at precision 2/3
        assert ap(found, labels) == pytest.approx(0.5 + 0.5 * 2 / 3)

    def test_a_hit_on_an_ignored_box_is_neutral_however_often(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20), FAR]}, ignored=[("a", 0)])
        found = {"a": faces((0, 0, 20, 20, 0.9), (0, 0, 20, 20, 0.8), (*FAR, 0.1))}
        assert ap(found, labels) == 1

    def test_the_best_box_is_looked_for_among_ignored_boxes_too(self) -> None:
        # the prediction overlaps the counted face by more than .5 but the ignored one by more still
        labels = truth({"a": [(0, 0, 19, 19), (0, 2, 19, 19), FAR]}, ignored=[("a", 1)])
        found = {"a": faces((0, 2, 19, 19, 0.9), (*FAR, 0.1))}
        assert inclusive_iou(np.array([[0, 2, 19, 21]]), np.array([[0, 0, 19, 19]]))[0, 0] > 0.5
        assert ap(found, labels) == pytest.approx(0.5)

    def test_the_best_box_is_looked_for_among_found_boxes_too(self) -> None:
        # since 2017: a second prediction does not fall back to the neighbour that it also overlaps by .5
        labels = truth({"a": [(0, 0, 19, 19), (0, 3, 19, 19)]})
        found = {"a": faces((0, 0, 19, 19, 0.9), (0, 1, 19, 19, 0.1))}
        assert ap(found, labels) == pytest.approx(0.5)

    def test_equal_overlaps_go_to_the_first_box(self) -> None:
        twice = [(0, 0, 19, 19), (0, 0, 19, 19)]
        found = {"a": faces((0, 0, 19, 19, 0.9), (50, 50, 19, 19, 0.1))}
        assert ap(found, truth({"a": twice}, ignored=[("a", 1)])) == 1
        assert ap(found, truth({"a": twice}, ignored=[("a", 0)])) == 0

    def test_equal_scores_keep_the_file_order(self) -> None:
        labels = truth({"a": [(0, 0, 19, 19)]})
        matches = match([faces((0, 0, 19, 18, 0.5), (0, 0, 19, 19, 0.5), (0, 0, 19, 17, 0.9))], labels)
        assert matches.row.tolist() == [2, 0, 1]

    def test_predictions_in_an_image_without_boxes_cost_nothing(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20)], "b": []})
        false = faces((0, 0, 20, 20, 0.99), (50, 50, 20, 20, 0.98))
        assert ap({"a": faces((0, 0, 20, 20, 0.5)), "b": false}, labels) == 1
        # unlike in an image with a box
        assert ap({"a": faces((0, 0, 20, 20, 0.5)), "b": false}, truth({"a": [(0, 0, 20, 20)], "b": [FAR]})) < 0.2

    def test_they_still_take_part_in_the_normalisation(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20)], "b": []})
        found = {"a": faces((0, 0, 20, 20, 0.0004)), "b": faces((0, 0, 9, 9, 1.0), (0, 0, 9, 9, 0.0))}
        aligned = [found["a"], found["b"]]
        assert match(aligned, labels).threshold.tolist() == [999]
        assert match([found["a"], faces()], labels).threshold.tolist() == [1000]

    def test_faces_of_an_image_without_predictions_still_count(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20), FAR], "b": [FAR, (0, 0, 9, 9)]})
        found = {"a": faces((0, 0, 20, 20, 0.9), (*FAR, 0.2)), "b": faces()}
        result = widerface.evaluate(found, labels, provenance=KNOWN)
        assert result.metrics["all"] == pytest.approx(0.5)
        assert result.counts["images without predictions"] == 1

    def test_a_degenerate_box_can_be_hit(self) -> None:
        labels = truth({"a": [(3, 3, 0, 0), FAR]}, ignored=[("a", 0)])
        assert ap({"a": faces((3, 3, 0, 0, 0.9), (*FAR, 0.1))}, labels) == 1
        assert ap({"a": faces((3, 4, 0, 0, 0.9), (*FAR, 0.1))}, labels) == pytest.approx(0.5)


class TestScores:
    def test_only_their_order_and_spacing_count(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20), FAR]})
        rows = ((0, 0, 20, 20), (50, 50, 9, 9), FAR, (90, 90, 9, 9))
        plain, wide = (faces(*((*box, s) for box, s in zip(rows, scores, strict=True))) for scores in (
            (0.75, 0.5, 0.25, 0), (300, 200, 100, 0)
        ))
        assert ap({"a": plain}, labels) == ap({"a": wide}, labels) == pytest.approx(0.5 + 0.5 * 2 / 3)

    def test_scores_closer_than_a_threshold_are_not_told_apart(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20), FAR]})
        others = ((90, 90, 9, 9, 1.0), (200, 200, 9, 9, 0.0))
        # at .5 the face comes in together with the false box of .5002: one of three proposals
        assert ap({"a": faces((0, 0, 20, 20, 0.5009), (50, 50, 9, 9, 0.5002), *others)}, labels) == (
            pytest.approx(0.5 / 3)
        )
        # at .501 without it: one of two
        assert ap({"a": faces((0, 0, 20, 20, 0.5011), (50, 50, 9, 9, 0.5002), *others)}, labels) == (
            pytest.approx(0.5 / 2)
        )

    def test_maximum_starts_at_nought(self) -> None:
        assert normalised(np.array([-4.0, -3.0, -2.0])) == pytest.approx([0, 0.25, 0.5])
        assert normalised(np.array([-4.0, 0.0])) == pytest.approx([0, 1])
        assert normalised(np.array([2.0, 4.0])) == pytest.approx([0, 1])
        assert normalised(np.array([-1.0, -1.0])).tolist() == [0, 0]

    def test_equal_positive_scores_count_nothing_and_a_note_says_so(self) -> None:
        labels = truth({"a": [(0, 0, 20, 20)]})
        result = widerface.evaluate({"a": faces((0, 0, 20, 20, 0.7))}, labels, provenance=KNOWN)
        assert result.metrics["all"] == 0
        assert any("all scores are equal" in note for note in result.notes)

    def test_negative_scores_are_noted(self) -> None:
        found = {"a": faces((0, 0, 20, 20, -1), (60, 0, 20, 20, -2))}
        result = widerface.evaluate(found, truth({"a": [(0, 0, 20, 20)]}), provenance=KNOWN)
        assert any("negative" in note for note in result.notes)

    def test_thresholds(self) -> None:
        # t = 1 … 1000: .999, .998, …, 0
        reached = thresholds_reached(np.array([1, 0.999, 0.9985, 0.998, 0.0011, 0.0005, 0, np.nan]))
        assert reached.tolist() == [0, 0, 1, 1, 998, 999, 999, 1000]

    def test_every_threshold_is_reached_by_its_own_value(self) -> None:
        thresholds = [1 - t / 1000 for t in range(1, 1001)]
        assert thresholds_reached(np.array(thresholds)).tolist() == list(range(1000))


def random_image(rng: np.random.Generator) -> tuple[list[list[float]], list[list[float]]]:
    """Up to five boxes and eight predictions, small whole numbers, so that overlaps of one half, equal overlaps and
    equal scores are common; some boxes have no area."""
    boxes = np.concatenate((rng.integers(0, 24, (rng.integers(0, 6), 2)), np.zeros((0, 2), int)))
    boxes = np.concatenate((boxes, rng.integers(0, 12, (len(boxes), 2))), axis=1)
    rows = list[list[float]]()
    for _ in range(rng.integers(0, 9)):
        if len(boxes) and rng.random() < 0.7:
            box = boxes[rng.integers(len(boxes))] + rng.integers(-2, 3, 4)
            box[2:] = np.maximum(box[2:], 0)
        else:
            box = np.concatenate((rng.integers(0, 24, 2), rng.integers(0, 12, 2)))
        rows.append([*map(float, box), float(rng.integers(0, 17) / 16)])
    return boxes.astype(float).tolist(), rows


def as_truth(images: Sequence[slow.Image], counts: Sequence[Sequence[bool]]) -> widerface.Truth:
    labels = truth({f"e/{i}": boxes for i, (boxes, _) in enumerate(images)})
    flags = np.array([flag for image in counts for flag in image], bool)
    return widerface.Truth(labels.names, labels.boxes, labels.offsets, {"all": flags}, {}, None)


class TestAgainstReference:
    def test_proposals_and_recalled_faces_image_by_image(self) -> None:
        rng = np.random.default_rng(1)
        checked = 0
        for _ in range(3000):
            boxes, rows = random_image(rng)
            counts, iou = rng.random(len(boxes)) < 0.7, float(rng.choice([0.5, 0.75]))
            if not boxes or not rows:
                continue
            ordered = slow.normalise([(boxes, rows)])[0]
            recalled, proposals = slow.image_evaluation(ordered, boxes, counts.tolist(), iou)
            matches = match([faces(*rows)], as_truth([(boxes, rows)], [counts.tolist()]))
            result = precision_recall(matches, counts, iou)
            for t in (0, 249, 500, 999):
                kept = [i for i, row in enumerate(ordered) if row[4] >= 1 - (t + 1) / 1000]
                last = kept[-1] if kept else -1
                assert result.recalled[t] == (recalled[last] if kept else 0)
                assert result.proposals[t] == sum(value == 1 for value in proposals[: last + 1])
            checked += 1
        assert checked > 2000

    @pytest.mark.parametrize("seed", range(60))
    def test_average_precision_of_sets(self, seed: int) -> None:
        rng = np.random.default_rng(seed + 100)
        images = [random_image(rng) for _ in range(20)]
        if seed % 4 == 3:  # negative scores
            images = [(boxes, [[*row[:4], row[4] - 2] for row in rows]) for boxes, rows in images]
        counts = [(rng.random(len(boxes)) < 0.7).tolist() for boxes, _ in images]
        assert any(map(any, counts))
        labels = as_truth(images, counts)
        found = {name: faces(*rows) for name, (_, rows) in zip(labels.names, images, strict=True)}
        iou = 0.5 if seed % 2 else 0.6
        ours = precision_recall(match(list(found.values()), labels), labels.subsets["all"], iou)
        assert ours.average_precision == pytest.approx(slow.average_precision(images, counts, iou), abs=1e-12)
        if iou == 0.5:
            assert ap(found, labels) == ours.average_precision


class TestResult:
    labels = truth({"a": [(0, 0, 20, 20)], "b": [FAR]}, official_images=3226)
    found = {"a": faces((0, 0, 20, 20, 0.9), (80, 80, 9, 9, 0.1)), "b": faces()}  # noqa: RUF012

    def test_a_subset_is_said_loudly(self) -> None:
        result = widerface.evaluate(self.found, self.labels, provenance=KNOWN)
        assert result.is_subset
        assert result.scope == "2-image SUBSET of 3,226"
        assert any(note.startswith("SUBSET: 2 of 3,226 images") for note in result.notes)
        assert json.loads(json.dumps(result.to_dict()))["counts"]["boxes"] == 2

    def test_the_curve_ends_at_the_final_recall(self) -> None:
        curve = widerface.evaluate(self.found, self.labels, provenance=KNOWN).curves[0]
        assert curve.name == "all"
        assert (curve.x[-1], curve.y[-1]) == (0.5, 0.5)
        assert (np.diff(curve.x) >= 0).all()

    def test_subset_of_the_truth(self) -> None:
        labels = truth({"a": [FAR, FAR], "b": [], "c": [(1, 2, 3, 4)], "d": [FAR]}, ignored=[("d", 0)])
        part = labels.subset(["d", "c", "b"])
        assert part.names == ("b", "c", "d")
        assert part.offsets.tolist() == [0, 0, 1, 2]
        assert part.boxes[0].tolist() == [1, 2, 4, 6]
        assert part.subsets["all"].tolist() == [True, False]
        with pytest.raises(LabelError, match="'aa'; did you mean 'a'"):
            labels.subset(["aa", "b"])
        with pytest.raises(LabelError, match="no names"):
            labels.subset([])

    def test_a_subset_without_faces_has_no_average_precision(self) -> None:
        labels = truth({"a": [FAR]}, ignored=[("a", 0)])
        result = widerface.evaluate({"a": faces((*FAR, 0.5))}, labels, provenance=KNOWN)
        assert result.metrics == {}
        assert any("no face counts in 'all'" in note for note in result.notes)

    def test_no_predictions_at_all(self) -> None:
        result = widerface.evaluate({"a": faces(), "b": faces()}, self.labels, provenance=KNOWN)
        assert result.metrics["all"] == 0

    def test_names_must_fit(self) -> None:
        with pytest.raises(LabelError, match="no predictions for 1 of 2 images: 'b'"):
            widerface.evaluate({"a": self.found["a"]}, self.labels, provenance=KNOWN)
        with pytest.raises(LabelError, match="does not have: 'bb'; did you mean 'b'"):
            widerface.evaluate({"a": faces(), "bb": faces()}, self.labels, provenance=KNOWN)

    def test_challenge_is_the_mean_over_overlaps(self) -> None:
        # IoU 170/200 = .85 with the first, 1 with the second: a hit at 8 of the 10 thresholds
        labels = truth({"a": [(0, 0, 19, 9), FAR]})
        found = {"a": faces((0, 0, 16, 9, 0.9), (*FAR, 0.1))}
        result = widerface.evaluate_challenge(found, labels, provenance=KNOWN)
        assert result.protocol == "widerface-challenge"
        assert result.metrics["all @0.85"] == 1
        assert result.metrics["all @0.90"] == pytest.approx(0.25)
        assert result.metrics["all"] == pytest.approx((8 * 1 + 2 * 0.25) / 10)
        assert result.metrics["all @0.50"] == ap(found, labels)


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
        labels = truth({str(i): [box] for i, box in enumerate(sized)})
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


class TestBreakdown:
    labels = truth({"a": [(0, 0, 10, 10), (100, 0, 40, 40)], "b": [(0, 0, 10, 12), FAR]}, ignored=[("b", 1)])
    found = {  # noqa: RUF012
        "a": faces((0, 0, 10, 10, 0.9), (100, 0, 40, 40, 0.4), (300, 300, 9, 9, 0.8)),
        "b": faces((200, 0, 50, 50, 0.7), (*FAR, 0.95), (0, 300, 10, 10, 0.1)),
    }

    def test_sizes(self) -> None:
        small, large = widerface.breakdown(self.found, self.labels, threshold=0.5).sizes
        assert (small.smallest, small.below, small.faces) == (8, 16, 2)
        assert (small.recall, small.recall_above_threshold) == (0.5, 0.5)
        assert (large.smallest, large.faces, large.recall, large.recall_above_threshold) == (32, 1, 1, 0)
        # the false box of 50 px at .7 ranks before the large face at .4; those of 9 and 10 px do not count here
        assert large.average_precision == pytest.approx(0.5)
        assert small.average_precision == pytest.approx(0.5)

    def test_images_and_false_boxes(self) -> None:
        table = widerface.breakdown(self.found, self.labels, threshold=0.5)
        assert [(row.name, row.faces, row.missed, row.false) for row in table.images] == [
            ("a", 2, 1, 1),
            ("b", 1, 1, 1),
        ]
        assert [(row.name, row.score) for row in table.false_boxes] == [
            ("a", pytest.approx(0.8)),
            ("b", pytest.approx(0.7)),
            ("b", pytest.approx(0.1)),
        ]
        assert table.false_boxes[0].box == (300, 300, 309, 309)
        assert len(widerface.breakdown(self.found, self.labels, threshold=0.5, longest=1).images) == 1
        json.dumps(table.to_dict())

    def test_attributes(self) -> None:
        blur = np.array([0, 2, 2, 0], np.uint8)
        labels = widerface.Truth(
            self.labels.names, self.labels.boxes, self.labels.offsets, self.labels.subsets, {"blur": blur}, None
        )
        rows = widerface.breakdown(self.found, labels, threshold=0.5).attributes
        assert [(row.attribute, row.level, row.faces, row.recall) for row in rows] == [
            ("blur", "clear", 1, 1.0),
            ("blur", "heavy", 2, 0.5),
        ]

    def test_unknown_subset(self) -> None:
        with pytest.raises(ConfigError, match="no subset 'hard'; there are all"):
            widerface.breakdown(self.found, self.labels, threshold=0.5, subset="hard")


def write_lists(folder: Path, images: dict[str, Sequence[Sequence[int]]], subsets: dict[str, list[list[int]]]) -> None:
    """The official .mat files, in their nesting of cell arrays."""

    def cells(values: list[object]) -> np.ndarray:
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        return column

    events = sorted({name.split("/")[0] for name in images})
    inside = {event: [name for name in images if name.startswith(event + "/")] for event in events}
    names = cells([cells([name.split("/")[1] for name in inside[event]]) for event in events])
    boxes = cells([cells([np.array(images[name], np.int32) for name in inside[event]]) for event in events])
    common = {"event_list": cells(list(events)), "file_list": names}
    labels = {
        f"{attribute}_label_list": cells(
            [cells([np.zeros((len(images[name]), 1), np.uint8) for name in inside[event]]) for event in events]
        )
        for attribute in ATTRIBUTES
    }
    scipy.io.savemat(folder / "wider_face_val.mat", {**common, **labels, "face_bbx_list": boxes})
    order = [name for event in events for name in inside[event]]
    for subset, rows in subsets.items():
        kept = dict(zip(order, rows, strict=True))
        lists = cells(
            [cells([np.array(kept[name], np.uint8).reshape(-1, 1) for name in inside[event]]) for event in events]
        )
        scipy.io.savemat(folder / f"wider_{subset}_val.mat", {**common, "gt_list": lists})


class TestReaders:
    images = {  # noqa: RUF012
        "0--A/x": [(1, 2, 3, 4), (5, 6, 7, 8)],
        "0--A/y": [(0, 0, 0, 0)],
        "1--B/z": [(9, 9, 9, 9), (1, 1, 0, 1), (2, 2, 2, 2)],
    }
    subsets = {"easy": [[], [], [1]], "medium": [[2], [], [1]], "hard": [[1, 2], [], [1, 3]]}  # noqa: RUF012

    def test_official_lists(self, tmp_path: Path) -> None:
        write_lists(tmp_path, self.images, self.subsets)
        for path in (tmp_path, tmp_path / "wider_face_val.mat"):
            labels = widerface.load_truth(path)
            assert labels.names == tuple(self.images)
            assert labels.offsets.tolist() == [0, 2, 3, 6]
            assert labels.boxes[1].tolist() == [5, 6, 12, 14]
            assert labels.subsets["hard"].tolist() == [True, True, False, True, False, True]
            assert labels.subsets["medium"].tolist() == [False, True, False, True, False, False]
            assert set(labels.attributes) == set(ATTRIBUTES)
            assert labels.official_images == 3226

    def test_lists_that_do_not_belong_together(self, tmp_path: Path) -> None:
        write_lists(tmp_path, self.images, {**self.subsets, "hard": [[], [], []]})
        other = tmp_path / "other"
        other.mkdir()
        write_lists(other, {"0--A/x": [(1, 2, 3, 4)]}, {"hard": [[1]]})
        (other / "wider_hard_val.mat").replace(tmp_path / "wider_hard_val.mat")
        with pytest.raises(LabelError, match=r"wider_hard_val.mat: lists other images"):
            widerface.load_truth(tmp_path)
        (tmp_path / "wider_hard_val.mat").unlink()
        with pytest.raises(LabelError, match=r"wider_hard_val.mat: cannot be read"):
            widerface.load_truth(tmp_path)

    def test_marked_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.txt"
        landmarks = " -1" * 15
        path.write_text(f"# 0--A/x.jpg\n1 2 3 4\n5 6 7 8{landmarks}\n# 0--A/y.jpg\n# 1--B/z.jpg\n1 1 0 1\n9 9 9 9\n")
        labels = widerface.load_truth(path, official_images=5)
        assert labels.names == ("0--A/x", "0--A/y", "1--B/z")
        assert labels.offsets.tolist() == [0, 2, 2, 4]
        assert labels.boxes[1].tolist() == [5, 6, 12, 14]
        assert labels.subsets["all"].tolist() == [True, True, False, True]
        assert labels.attributes == {}
        assert labels.official_images == 5

    def test_original_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "wider_face_val_bbx_gt.txt"
        path.write_text(
            "0--A/x.jpg\n2\n1 2 3 4 2 0 0 0 1 0 \n5 6 7 8 0 1 0 1 2 1 \n"
            "0--A/y.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n1--B/z.jpg\n1\n9 9 9 9 1 0 1 0 0 0 \n"
        )
        labels = widerface.load_truth(path)
        assert labels.names == ("0--A/x", "0--A/y", "1--B/z")
        assert labels.offsets.tolist() == [0, 2, 2, 3]
        assert labels.subsets["all"].tolist() == [True, False, True]  # the second is marked invalid
        assert labels.attributes["blur"].tolist() == [2, 0, 1]
        assert labels.attributes["occlusion"].tolist() == [1, 2, 0]
        assert labels.attributes["pose"].tolist() == [0, 1, 0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("# a.jpg\n1 2 3\n", "bad.txt:2: 3 numbers"),
            ("# a.jpg\n1 2 3 4\n# a.png\n", "bad.txt:3: image 'a' was named before"),
            ("# a.jpg\n\n1 2 -3 4\n", r"bad.txt:3: box .* negative size"),
            ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "bad.txt:2: says 2 faces for 'a', but 1 lines"),
            ("a.jpg\n1\n1 2 3 4\n", "bad.txt:3: 4 numbers, expected 10"),
            ("a.jpg\nb.jpg\n", "bad.txt:2: expected the number of faces of 'a'"),
            ("a.jpg\n0\na.jpg\n0\n", "bad.txt:3: image 'a' was named before"),
            ("a.jpg\n", "bad.txt:1: the file ends after"),
        ],
    )
    def test_malformed_labels(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "bad.txt"
        path.write_text(text)
        with pytest.raises(LabelError, match=message):
            widerface.load_truth(path)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match=r"none.txt: cannot be read"):
            widerface.load_truth(tmp_path / "none.txt")


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (../shared/data/dev) is not here")
class TestOfficialFiles:
    def test_counts_of_the_validation_set(self) -> None:
        labels = widerface.load_truth(DATA / "ground-truth")
        assert len(labels.names) == widerface.OFFICIAL_IMAGES
        assert len({name.split("/")[0] for name in labels.names}) == 61
        assert len(labels.boxes) == 39708
        assert ((labels.boxes[:, 2:] - labels.boxes[:, :2]) <= 0).any(axis=1).sum() == 11
        assert {name: int(counted.sum()) for name, counted in labels.subsets.items()} == {
            "easy": 7211,
            "medium": 13319,
            "hard": 31958,
        }

    def test_label_file_of_the_subset_holds_the_same_boxes(self) -> None:
        part = widerface.load_truth(DATA / "widerface-val.txt")
        whole = widerface.load_truth(DATA / "ground-truth").subset(part.names)
        for name, boxes in zip(whole.names, whole.image_boxes(), strict=True):
            assert (boxes == part.image_boxes()[part.names.index(name)]).all()

    def test_reference_on_real_boxes(self) -> None:
        labels = widerface.load_truth(DATA / "ground-truth")
        labels = labels.subset([name for name in labels.names if name.startswith(("12--", "13--"))][:40])
        rng = np.random.default_rng(5)
        images, counts = list[slow.Image](), list[list[bool]]()
        for i, boxes in enumerate(labels.image_boxes()):
            sized = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1).astype(np.float64)
            noisy = np.round(sized + rng.normal(0, 0.15, sized.shape) * sized[:, 2:].repeat(2, axis=1))
            noisy[:, 2:] = np.maximum(noisy[:, 2:], 1)
            scores = rng.integers(0, 1025, (len(noisy), 1)) / 1024
            images.append((sized.tolist(), np.concatenate((noisy, scores), axis=1).tolist()))
            counts.append(labels.subsets["medium"][labels.offsets[i] : labels.offsets[i + 1]].tolist())
        found = {name: faces(*rows) for name, (_, rows) in zip(labels.names, images, strict=True)}
        result = widerface.evaluate(found, labels, provenance=KNOWN)
        assert 0.1 < result.metrics["medium"] < 0.9
        assert result.metrics["medium"] == pytest.approx(slow.average_precision(images, counts), abs=1e-12)
