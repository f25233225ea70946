"""WIDER FACE: the rule in hand-computed cases and against a slow reference, and what the result says."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import slow_widerface as slow
from detection_cases import DATA, FAR, KNOWN, faces, wider_truth

from facesmith.errors import LabelError
from facesmith.evaluation import widerface
from facesmith.evaluation.overlap import inclusive_iou
from facesmith.evaluation.widerface.average_precision import (
    match,
    normalised,
    precision_recall,
    thresholds_reached,
)
from facesmith.faces import Faces


def ap(predictions: dict[str, Faces], labels: widerface.Truth) -> float:
    return widerface.evaluate(predictions, labels, provenance=KNOWN).metrics["all"]


class TestRule:
    def test_perfect(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20)], "b": [(5, 5, 30, 40), FAR]})
        found = {"a": faces((0, 0, 20, 20, 0.9)), "b": faces((5, 5, 30, 40, 0.8), (*FAR, 0.1))}
        assert ap(found, labels) == 1

    def test_iou_of_one_half_is_a_hit(self) -> None:
        # 10 × 10 pixels within 10 × 20: exactly .5
        labels = wider_truth({"a": [(0, 0, 9, 19)], "b": [FAR]})
        found = {"a": faces((0, 0, 9, 9, 0.9)), "b": faces((*FAR, 0.1))}
        assert ap(found, labels) == 1
        # one row less: 90 / 200
        assert ap({**found, "a": faces((0, 0, 9, 8, 0.9))}, labels) == pytest.approx(0.5 * 0.5)

    def test_a_repeated_hit_stays_a_proposal(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20), FAR]})
        found = {"a": faces((0, 0, 20, 20, 0.9), (0, 0, 20, 20, 0.8), (*FAR, 0.1))}
        # recall 1/2 at precision 1, then 1 at precision 2/3
        assert ap(found, labels) == pytest.approx(0.5 + 0.5 * 2 / 3)

    def test_a_hit_on_an_ignored_box_is_neutral_however_often(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20), FAR]}, ignored=[("a", 0)])
        found = {"a": faces((0, 0, 20, 20, 0.9), (0, 0, 20, 20, 0.8), (*FAR, 0.1))}
        assert ap(found, labels) == 1

    def test_the_best_box_is_looked_for_among_ignored_boxes_too(self) -> None:
        # the prediction overlaps the counted face by more than .5 but the ignored one by more still
        labels = wider_truth({"a": [(0, 0, 19, 19), (0, 2, 19, 19), FAR]}, ignored=[("a", 1)])
        found = {"a": faces((0, 2, 19, 19, 0.9), (*FAR, 0.1))}
        assert inclusive_iou(np.array([[0, 2, 19, 21]]), np.array([[0, 0, 19, 19]]))[0, 0] > 0.5
        assert ap(found, labels) == pytest.approx(0.5)

    def test_the_best_box_is_looked_for_among_found_boxes_too(self) -> None:
        # since 2017: a second prediction does not fall back to the neighbour that it also overlaps by .5
        labels = wider_truth({"a": [(0, 0, 19, 19), (0, 3, 19, 19)]})
        found = {"a": faces((0, 0, 19, 19, 0.9), (0, 1, 19, 19, 0.1))}
        assert ap(found, labels) == pytest.approx(0.5)

    def test_equal_overlaps_go_to_the_first_box(self) -> None:
        twice = [(0, 0, 19, 19), (0, 0, 19, 19)]
        found = {"a": faces((0, 0, 19, 19, 0.9), (50, 50, 19, 19, 0.1))}
        assert ap(found, wider_truth({"a": twice}, ignored=[("a", 1)])) == 1
        assert ap(found, wider_truth({"a": twice}, ignored=[("a", 0)])) == 0

    def test_equal_scores_keep_the_file_order(self) -> None:
        labels = wider_truth({"a": [(0, 0, 19, 19)]})
        matches = match([faces((0, 0, 19, 18, 0.5), (0, 0, 19, 19, 0.5), (0, 0, 19, 17, 0.9))], labels)
        assert matches.row.tolist() == [2, 0, 1]

    def test_predictions_in_an_image_without_boxes_cost_nothing(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20)], "b": []})
        false = faces((0, 0, 20, 20, 0.99), (50, 50, 20, 20, 0.98))
        assert ap({"a": faces((0, 0, 20, 20, 0.5)), "b": false}, labels) == 1
        # unlike in an image with a box
        assert (
            ap(
                {"a": faces((0, 0, 20, 20, 0.5)), "b": false},
                wider_truth({"a": [(0, 0, 20, 20)], "b": [FAR]}),
            )
            < 0.2
        )

    def test_they_still_take_part_in_the_normalisation(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20)], "b": []})
        found = {"a": faces((0, 0, 20, 20, 0.0004)), "b": faces((0, 0, 9, 9, 1.0), (0, 0, 9, 9, 0.0))}
        aligned = [found["a"], found["b"]]
        assert match(aligned, labels).threshold.tolist() == [999]
        assert match([found["a"], faces()], labels).threshold.tolist() == [1000]

    def test_faces_of_an_image_without_predictions_still_count(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20), FAR], "b": [FAR, (0, 0, 9, 9)]})
        found = {"a": faces((0, 0, 20, 20, 0.9), (*FAR, 0.2)), "b": faces()}
        result = widerface.evaluate(found, labels, provenance=KNOWN)
        assert result.metrics["all"] == pytest.approx(0.5)
        assert result.counts["images without predictions"] == 1

    def test_a_degenerate_box_can_be_hit(self) -> None:
        labels = wider_truth({"a": [(3, 3, 0, 0), FAR]}, ignored=[("a", 0)])
        assert ap({"a": faces((3, 3, 0, 0, 0.9), (*FAR, 0.1))}, labels) == 1
        assert ap({"a": faces((3, 4, 0, 0, 0.9), (*FAR, 0.1))}, labels) == pytest.approx(0.5)


class TestScores:
    def test_only_their_order_and_spacing_count(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20), FAR]})
        rows = ((0, 0, 20, 20), (50, 50, 9, 9), FAR, (90, 90, 9, 9))
        plain, wide = (
            faces(*((*box, s) for box, s in zip(rows, scores, strict=True)))
            for scores in ((0.75, 0.5, 0.25, 0), (300, 200, 100, 0))
        )
        assert ap({"a": plain}, labels) == ap({"a": wide}, labels) == pytest.approx(0.5 + 0.5 * 2 / 3)

    def test_scores_closer_than_a_threshold_are_not_told_apart(self) -> None:
        labels = wider_truth({"a": [(0, 0, 20, 20), FAR]})
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
        labels = wider_truth({"a": [(0, 0, 20, 20)]})
        result = widerface.evaluate({"a": faces((0, 0, 20, 20, 0.7))}, labels, provenance=KNOWN)
        assert result.metrics["all"] == 0
        assert any("all scores are equal" in note for note in result.notes)

    def test_negative_scores_are_noted(self) -> None:
        found = {"a": faces((0, 0, 20, 20, -1), (60, 0, 20, 20, -2))}
        result = widerface.evaluate(found, wider_truth({"a": [(0, 0, 20, 20)]}), provenance=KNOWN)
        assert any("negative" in note for note in result.notes)

    def test_thresholds(self) -> None:
        # t = 1 … 1000: .999, .998, …, 0
        reached = thresholds_reached(np.array([1, 0.999, 0.9985, 0.998, 0.0011, 0.0005, 0, np.nan]))
        assert reached.tolist() == [0, 0, 1, 1, 998, 999, 999, 1000]

    def test_every_threshold_is_reached_by_its_own_value(self) -> None:
        thresholds = [1 - t / 1000 for t in range(1, 1001)]
        assert thresholds_reached(np.array(thresholds)).tolist() == list(range(1000))


def random_image(rng: np.random.Generator) -> tuple[list[list[float]], list[list[float]]]:
    """Up to five boxes and eight predictions, small whole numbers, so that overlaps of one half, equal
    overlaps and equal scores are common; some boxes have no area."""
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
    labels = wider_truth({f"e/{i}": boxes for i, (boxes, _) in enumerate(images)})
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
    labels = wider_truth({"a": [(0, 0, 20, 20)], "b": [FAR]}, official_images=3226)
    found = {"a": faces((0, 0, 20, 20, 0.9), (80, 80, 9, 9, 0.1)), "b": faces()}

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
        labels = wider_truth({"a": [FAR, FAR], "b": [], "c": [(1, 2, 3, 4)], "d": [FAR]}, ignored=[("d", 0)])
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
        labels = wider_truth({"a": [FAR]}, ignored=[("a", 0)])
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
        labels = wider_truth({"a": [(0, 0, 19, 9), FAR]})
        found = {"a": faces((0, 0, 16, 9, 0.9), (*FAR, 0.1))}
        result = widerface.evaluate_challenge(found, labels, provenance=KNOWN)
        assert result.protocol == "widerface-challenge"
        assert result.metrics["all @0.85"] == 1
        assert result.metrics["all @0.90"] == pytest.approx(0.25)
        assert result.metrics["all"] == pytest.approx((8 * 1 + 2 * 0.25) / 10)
        assert result.metrics["all @0.50"] == ap(found, labels)


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (../shared/data/dev) is not here")
def test_reference_on_real_boxes() -> None:
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
