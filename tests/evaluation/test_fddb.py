"""FDDB: the rule in hand-computed cases and against a slow reference."""

from collections.abc import Iterator

import numpy as np
import pytest
import slow_fddb as slow
from detection_cases import KNOWN, ellipses, faces, fddb_truth

from facesmith.errors import LabelError
from facesmith.evaluation import fddb
from facesmith.evaluation.fddb import _roc
from facesmith.evaluation.fddb.matching import matching_steps
from facesmith.evaluation.fddb.regions import ellipse_masks, rectangle_spans, region_iou
from facesmith.faces import Faces


def run(predictions: dict[str, Faces] | dict[str, fddb.Ellipses], labels: fddb.Truth) -> dict[str, float]:
    return dict(fddb.evaluate(predictions, labels, provenance=KNOWN).metrics)


FACE = (30, 20, np.pi / 2, 60, 70)
OTHER = (25, 18, 1.4, 150, 60)


class TestRegions:
    def test_a_rectangle_includes_its_rounded_right_and_bottom_edges(self) -> None:
        spans = rectangle_spans(faces((2.4, 3.6, 5, 4, 1)), 100, 100)
        assert spans.tolist() == [[2, 4, 8, 9]]  # columns 2 … round(7.4), rows 4 … round(7.6)

    def test_halves_round_to_even_as_in_opencv(self) -> None:
        assert rectangle_spans(faces((0.5, 1.5, 2, 2, 1)), 100, 100).tolist() == [[0, 2, 3, 5]]

    def test_a_rectangle_without_area_is_a_pixel_and_one_outside_is_nothing(self) -> None:
        spans = rectangle_spans(faces((4, 5, 0, 0, 1), (-30, 5, 10, 10, 1), (300, 5, 1e8, 10, 1)), 100, 90)
        assert (spans[:, 2:] - spans[:, :2]).prod(axis=1).tolist() == [1, 0, 0]

    def test_regions_are_cut_off_at_the_border(self) -> None:
        spans = rectangle_spans(faces((-10, -10, 500, 500, 1)), 100, 90)
        assert spans.tolist() == [[0, 0, 100, 90]]
        (mask,) = ellipse_masks(ellipses((500, 500, 0, 50, 45)), 100, 90)
        assert mask.bits.shape == (90, 100)
        assert mask.bits.all()
        # so beyond it nothing is compared
        assert region_iou(faces((-10, -10, 500, 500, 1)), ellipses((500, 500, 0, 50, 45)), 100, 90) == 1

    def test_an_upright_ellipse(self) -> None:
        (mask,) = ellipse_masks(ellipses((3.9, 2.9, np.pi / 2, 10.4, 20.6)), 100, 100)
        rows, columns = np.nonzero(mask.bits)
        # radii 3 and 2 about (10, 21)
        assert (columns.min() + mask.x, columns.max() + mask.x) == (8, 12)
        assert (rows.min() + mask.y, rows.max() + mask.y) == (18, 24)

    def test_the_angle_turns_from_x_towards_y(self) -> None:
        (mask,) = ellipse_masks(ellipses((40, 5, np.pi / 4, 50, 50)), 100, 100)
        assert mask.bits[70 - mask.y, 70 - mask.x] == 1
        assert mask.bits[30 - mask.y, 70 - mask.x] == 0

    def test_masks_equal_whole_drawings(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(400):
            shape = (*rng.uniform(0, 60, 2), rng.uniform(-4, 4), *rng.uniform(-40, 140, 2))
            (mask,) = ellipse_masks(ellipses(shape), 100, 80)
            height, width = mask.bits.shape
            whole = np.zeros((80, 100), np.uint8)
            whole[mask.y : mask.y + height, mask.x : mask.x + width] = mask.bits
            assert (whole == slow.ellipse_mask(shape, 100, 80)).all()

    def test_overlaps_equal_counted_pixels(self) -> None:
        rng = np.random.default_rng(1)
        for kind in (faces, ellipses) * 40:
            image = random_image(rng, elliptic=kind is ellipses)
            ours = region_iou(kind(*image.detections), ellipses(*image.faces), image.width, image.height)
            assert ours == pytest.approx(slow.iou_matrix(image), abs=1e-15)


class TestMatching:
    def test_one_face_takes_its_best_detection_so_far(self) -> None:
        continuous, discrete = matching_steps(np.array([[0.4], [0.0], [0.3], [0.75], [0.6]]))
        assert continuous == pytest.approx([0.4, 0, 0, 0.35, 0])
        assert discrete.tolist() == [0, 0, 0, 1, 0]

    def test_exactly_one_half_is_no_hit(self) -> None:
        assert matching_steps(np.array([[0.5]]))[1].tolist() == [0]
        assert matching_steps(np.array([[0.5000001]]))[1].tolist() == [1]

    def test_a_duplicate_changes_nothing(self) -> None:
        continuous, discrete = matching_steps(np.array([[0.8], [0.8]]))
        assert continuous.tolist() == [0.8, 0]
        assert discrete.tolist() == [1, 0]

    def test_the_largest_sum_wins_even_if_it_costs_a_hit(self) -> None:
        # alone the first detection takes face 0; .45 + .52 beats .55 + 0
        iou = np.array([[0.55, 0.45], [0.52, 0.0]])
        continuous, discrete = matching_steps(iou)
        assert continuous == pytest.approx([0.55, 0.45 + 0.52 - 0.55])
        assert discrete.tolist() == [1, 0]
        # .49 + .49 beats .6 + 0: the hit is lost
        continuous, discrete = matching_steps(np.array([[0.6, 0.49], [0.49, 0.0]]))
        assert continuous == pytest.approx([0.6, 0.38])
        assert discrete.tolist() == [1, -1]

    def test_groups_do_not_mix(self) -> None:
        iou = np.array([[0.6, 0, 0], [0, 0.3, 0.7], [0.9, 0, 0], [0, 0.6, 0.8]])
        continuous, discrete = matching_steps(iou)
        assert continuous == pytest.approx([0.6, 0.7, 0.3, 1.3 - 0.7])
        assert discrete.tolist() == [1, 1, 0, 1]

    def test_nothing_to_match(self) -> None:
        for shape in ((0, 3), (3, 0), (0, 0), (2, 2)):
            continuous, discrete = matching_steps(np.zeros(shape))
            assert continuous.tolist() == discrete.tolist() == [0] * shape[0]

    def test_every_prefix_has_the_largest_sum(self) -> None:
        rng = np.random.default_rng(2)
        for _ in range(1000):
            n, m = rng.integers(1, 5), rng.integers(1, 5)
            iou = rng.random((n, m)) * (rng.random((n, m)) < rng.choice([0.3, 0.6, 1]))
            totals, hits = (np.cumsum(steps) for steps in matching_steps(iou))
            for last in range(1, n + 1):
                best = max(all_matchings(iou[:last]))
                assert totals[last - 1] == pytest.approx(best[0], abs=1e-12)
                assert hits[last - 1] == best[1]


def all_matchings(iou: np.ndarray, taken: tuple[int, ...] = ()) -> Iterator[tuple[float, int]]:
    """Summed IoU and hits of every way to give each detection a face of its own, or none."""
    if not len(iou):
        yield 0.0, 0
        return
    yield from all_matchings(iou[1:], taken)
    for column in range(iou.shape[1]):
        if column not in taken:
            for total, hits in all_matchings(iou[1:], (*taken, column)):
                yield total + iou[0, column], hits + int(iou[0, column] > 0.5)


def random_image(rng: np.random.Generator, elliptic: bool = False) -> slow.Image:
    """A small image with up to four faces, some crowded, some sticking out, and up to nine detections."""
    width, height = int(rng.integers(30, 60)), int(rng.integers(30, 60))
    faces = [
        [
            *np.sort(rng.uniform(4, 14, 2))[::-1],
            rng.uniform(-1.8, 1.8),
            rng.uniform(0, width),
            rng.uniform(0, height),
        ]
        for _ in range(rng.integers(0, 5))
    ]
    detections = []
    for _ in range(rng.integers(0, 10)):
        score = float(rng.integers(1, 9) / 8)
        if faces and rng.random() < 0.8:
            major, minor, angle, x, y = faces[rng.integers(len(faces))] + rng.normal(0, 2, 5) * [
                1,
                1,
                0.1,
                1,
                1,
            ]
        else:
            major, minor, angle, x, y = *rng.uniform(3, 15, 2), 0.0, *rng.uniform(-5, 60, 2)
        major, minor = max(major, 0.0), max(minor, 0.0)
        shape = [major, minor, angle, x, y] if elliptic else [x - minor, y - major, 2 * minor, 2 * major]
        detections.append([*map(float, shape), score])
    return slow.Image(width, height, faces, detections)


@pytest.mark.parametrize("elliptic", [False, True])
def test_roc_equals_the_reference(elliptic: bool) -> None:
    rng = np.random.default_rng(3)
    kind = ellipses if elliptic else faces
    compared = 0
    for _ in range(60):
        images = [random_image(rng, elliptic) for _ in range(rng.integers(1, 20))]
        labels = fddb.Truth(
            tuple(map(str, range(len(images)))),
            tuple(ellipses(*image.faces) for image in images),
            np.array([(image.width, image.height) for image in images]),
            np.ones(len(images), np.int64),
        )
        ours = _roc([kind(*image.detections) for image in images], labels)
        expected = slow.roc(images)
        assert ours.false_positives.tolist() == [row[1] for row in expected]
        assert ours.discrete.tolist() == [row[2] for row in expected]
        assert ours.continuous == pytest.approx([row[3] for row in expected], abs=1e-9)
        compared += len(images)
    assert compared > 500


class TestEvaluate:
    def test_hand_computed(self) -> None:
        labels = fddb_truth({"a": ellipses(FACE, OTHER), "b": ellipses(FACE), "c": ellipses()})
        found = {
            "a": ellipses((*FACE, 0.9), (*FACE, 0.6), (8, 8, 0, 20, 20, 0.95)),
            "b": ellipses((*FACE, 0.5)),
            "c": ellipses((*FACE, 0.4), (*OTHER, 0.3)),
        }
        result = fddb.evaluate(found, labels, provenance=KNOWN)
        # scores .95 .9 .6 .5 .4 .3: FP 1 1 2 2 3 4, TP 0 1 1 2 2 2 of 3 faces
        discrete, continuous = result.curves
        assert discrete.x.tolist() == [1, 2, 3, 4]
        assert discrete.y == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3])
        assert continuous.y == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3])
        assert result.metrics["discrete @1"] == pytest.approx(1 / 3)
        assert result.metrics["discrete @10"] == pytest.approx(2 / 3)
        assert result.counts == {"faces": 3, "detections": 6, "false positives": 4}
        assert any(note.startswith("only 4 false positives in all: recall at 10, 50") for note in result.notes)
        assert result.scope == "3-image SUBSET of 2,845"

    def test_recall_at_few_false_positives(self) -> None:
        # 60 images; the face comes after as many false positives as the image's number
        true = {f"{i:02}": ellipses(FACE) for i in range(60)}
        found = {
            name: faces((0, 0, 3, 3, 1 - i / 100), (40, 40, 40, 60, 0.995 - i / 100)) for i, name in enumerate(true)
        }
        metrics = run(found, fddb_truth(true))
        assert metrics["discrete @1"] == pytest.approx(1 / 60)
        assert metrics["discrete @10"] == pytest.approx(10 / 60)
        assert metrics["discrete @50"] == pytest.approx(50 / 60)
        assert metrics["discrete @100"] == 1
        assert metrics["continuous @100"] == pytest.approx(60 / 50 * metrics["continuous @50"])

    def test_rectangles_and_ellipses_of_the_same_face_differ(self) -> None:
        labels = fddb_truth({"a": ellipses(FACE)})
        box = labels.ellipses[0].boxes()[0]
        assert run({"a": ellipses((*FACE, 1))}, labels)["continuous @1"] == 1
        inscribed = run({"a": faces((*box[:2], *(box[2:] - box[:2]), 1))}, labels)["continuous @1"]
        assert inscribed == pytest.approx(np.pi / 4, abs=0.02)

    def test_images_without_faces_or_detections(self) -> None:
        labels = fddb_truth({"a": ellipses(FACE), "b": ellipses(OTHER), "c": ellipses()})
        metrics = run({"a": ellipses((*FACE, 0.9)), "b": ellipses(), "c": ellipses()}, labels)
        assert metrics["discrete @1"] == 0.5
        assert set(run({"a": faces(), "b": faces(), "c": faces()}, labels).values()) == {0}

    def test_a_set_without_faces(self) -> None:
        result = fddb.evaluate({"a": faces((1, 1, 5, 5, 1))}, fddb_truth({"a": ellipses()}), provenance=KNOWN)
        assert result.metrics == {}
        assert "no image has a face, so there is no recall" in result.notes

    def test_names_must_fit(self) -> None:
        labels = fddb_truth({"2002/07/19/big/img_18": ellipses(FACE)})
        with pytest.raises(LabelError, match="did you mean '2002/07/19/big/img_18'"):
            run({"2002/07/19/big/img_81": faces()}, labels)
        assert run({"data/2002/07/19/big/img_18.jpg": ellipses((*FACE, 1))}, labels)["discrete @1"] == 1

    def test_edges_read_as_sizes_are_refused(self) -> None:
        shapes = {str(i): (20, 15, 1.5, 60 + i, 70) for i in range(30)}
        labels = fddb_truth({name: ellipses(shape) for name, shape in shapes.items()})
        boxes = {name: ellipses(shape).boxes()[0] for name, shape in shapes.items()}
        with pytest.raises(LabelError, match="look like x1 y1 x2 y2"):
            run({name: faces((*box, 1)) for name, box in boxes.items()}, labels)
        right = {name: faces((*box[:2], *(box[2:] - box[:2]), 1)) for name, box in boxes.items()}
        assert run(right, labels)["discrete @1"] == 1

    def test_folds(self) -> None:
        labels = fddb_truth({f"{i:02}": ellipses(FACE) for i in range(20)})
        found = {name: ellipses((*FACE, 1)) if i % 10 < 5 else ellipses() for i, name in enumerate(labels.names)}
        results = fddb.evaluate_folds(found, labels, provenance=KNOWN)
        assert list(results) == list(range(1, 11))
        assert [result.metrics["discrete @1"] for result in results.values()] == [1] * 5 + [0] * 5
        assert {result.images for result in results.values()} == {2}
        with pytest.raises(LabelError, match="no image of fold 11"):
            labels.fold(11)
        with pytest.raises(LabelError, match="no predictions for 19 of 20"):
            fddb.evaluate_folds({"00": ellipses()}, labels, provenance=KNOWN)

    def test_long_curves_are_thinned_at_the_far_end(self) -> None:
        rng = np.random.default_rng(4)
        rows = np.concatenate((rng.uniform(0, 30, (9000, 2)), np.full((9000, 2), 4), rng.random((9000, 1))), axis=1)
        result = fddb.evaluate({"a": faces(*rows)}, fddb_truth({"a": ellipses(OTHER)}), provenance=KNOWN)
        curve = result.curves[0]
        assert len(curve.x) <= 2000
        assert curve.x[:100].tolist() == list(range(1, 101))
        assert curve.x[-1] > 8900
