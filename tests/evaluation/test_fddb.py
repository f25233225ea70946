"""FDDB: the rule in hand-computed cases, against a slow reference, rotation, and the readers of its ground truth."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import slow_fddb as slow
from PIL import Image

from facesmith.errors import ImageError, LabelError
from facesmith.evaluation import fddb
from facesmith.evaluation.fddb import _roc
from facesmith.evaluation.fddb.matching import matching_steps
from facesmith.evaluation.fddb.regions import ellipse_masks, rectangle_spans, region_iou
from facesmith.evaluation.predictions import write_fddb_text, write_jsonl
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces

KNOWN = Provenance("test")
DATA = Path(__file__).parents[3] / "shared" / "data" / "dev"


def rectangles(*rows: Sequence[float]) -> Faces:
    """Faces of rows x, y, width, height, score."""
    values = np.array(rows, np.float64).reshape(-1, 5)
    return Faces(np.concatenate((values[:, :2], values[:, :2] + values[:, 2:4]), axis=1), values[:, 4])


def ellipses(*rows: Sequence[float]) -> fddb.Ellipses:
    """Ellipses of rows major, minor, angle, cx, cy, and possibly a score."""
    values = np.array([[*row, 1.0][:6] for row in rows], np.float64).reshape(-1, 6)
    return fddb.Ellipses(values[:, :5], values[:, 5])


def truth(images: dict[str, fddb.Ellipses], size: tuple[int, int] = (200, 150)) -> fddb.Truth:
    folds = np.arange(len(images)) % 10 + 1
    return fddb.Truth(tuple(images), tuple(images.values()), np.array([size] * len(images)), folds)


def run(predictions: dict[str, Faces] | dict[str, fddb.Ellipses], labels: fddb.Truth) -> dict[str, float]:
    return dict(fddb.evaluate(predictions, labels, provenance=KNOWN).metrics)


FACE = (30, 20, np.pi / 2, 60, 70)
OTHER = (25, 18, 1.4, 150, 60)


class TestRegions:
    def test_a_rectangle_includes_its_rounded_right_and_bottom_edges(self) -> None:
        spans = rectangle_spans(rectangles((2.4, 3.6, 5, 4, 1)), 100, 100)
        assert spans.tolist() == [[2, 4, 8, 9]]  # columns 2 … round(7.4), rows 4 … round(7.6)

    def test_halves_round_to_even_as_in_opencv(self) -> None:
        assert rectangle_spans(rectangles((0.5, 1.5, 2, 2, 1)), 100, 100).tolist() == [[0, 2, 3, 5]]

    def test_a_rectangle_without_area_is_a_pixel_and_one_outside_is_nothing(self) -> None:
        spans = rectangle_spans(rectangles((4, 5, 0, 0, 1), (-30, 5, 10, 10, 1), (300, 5, 1e8, 10, 1)), 100, 90)
        assert (spans[:, 2:] - spans[:, :2]).prod(axis=1).tolist() == [1, 0, 0]

    def test_regions_are_cut_off_at_the_border(self) -> None:
        spans = rectangle_spans(rectangles((-10, -10, 500, 500, 1)), 100, 90)
        assert spans.tolist() == [[0, 0, 100, 90]]
        (mask,) = ellipse_masks(ellipses((500, 500, 0, 50, 45)), 100, 90)
        assert mask.bits.shape == (90, 100)
        assert mask.bits.all()
        # so beyond it nothing is compared
        assert region_iou(rectangles((-10, -10, 500, 500, 1)), ellipses((500, 500, 0, 50, 45)), 100, 90) == 1

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
        for kind in (rectangles, ellipses) * 40:
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
        # first detection alone: .55 with face 0, a hit. With the second, .54 + .3 beats .55 + .28 … and .53
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
        for _ in range(1500):
            n, m = rng.integers(1, 6), rng.integers(1, 5)
            iou = rng.random((n, m)) * (rng.random((n, m)) < rng.choice([0.3, 0.6, 1]))
            totals, hits = (np.cumsum(steps) for steps in matching_steps(iou))
            for last in range(1, n + 1):
                best = max(all_matchings(iou[:last]))
                assert totals[last - 1] == pytest.approx(best[0], abs=1e-12)
                assert hits[last - 1] == best[1]


def all_matchings(iou: np.ndarray) -> list[tuple[float, int]]:
    """Summed IoU and hits of every way to give each face a detection of its own, or none."""
    n, m = iou.shape
    rows = [*range(n), *[None] * m]
    results = []
    for choice in set(itertools.permutations(rows, m)):
        values = [iou[row, column] for column, row in enumerate(choice) if row is not None]
        results.append((sum(values), sum(value > 0.5 for value in values)))
    return results


def random_image(rng: np.random.Generator, elliptic: bool = False) -> slow.Image:
    """A small image with up to four faces, some crowded, some sticking out, and up to nine detections."""
    width, height = int(rng.integers(30, 60)), int(rng.integers(30, 60))
    faces = [
        [*np.sort(rng.uniform(4, 14, 2))[::-1], rng.uniform(-1.8, 1.8), rng.uniform(0, width), rng.uniform(0, height)]
        for _ in range(rng.integers(0, 5))
    ]
    detections = []
    for _ in range(rng.integers(0, 10)):
        score = float(rng.integers(1, 9) / 8)
        if faces and rng.random() < 0.8:
            major, minor, angle, x, y = faces[rng.integers(len(faces))] + rng.normal(0, 2, 5) * [1, 1, 0.1, 1, 1]
        else:
            major, minor, angle, x, y = *rng.uniform(3, 15, 2), 0.0, *rng.uniform(-5, 60, 2)
        major, minor = max(major, 0.0), max(minor, 0.0)
        shape = [major, minor, angle, x, y] if elliptic else [x - minor, y - major, 2 * minor, 2 * major]
        detections.append([*map(float, shape), score])
    return slow.Image(width, height, faces, detections)


@pytest.mark.parametrize("elliptic", [False, True])
def test_roc_equals_the_reference(elliptic: bool) -> None:
    rng = np.random.default_rng(3)
    kind = ellipses if elliptic else rectangles
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
        labels = truth({"a": ellipses(FACE, OTHER), "b": ellipses(FACE), "c": ellipses()})
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
        faces = {f"{i:02}": ellipses(FACE) for i in range(60)}
        found = {
            name: rectangles((0, 0, 3, 3, 1 - i / 100), (40, 40, 40, 60, 0.995 - i / 100))
            for i, name in enumerate(faces)
        }
        metrics = run(found, truth(faces))
        assert metrics["discrete @1"] == pytest.approx(1 / 60)
        assert metrics["discrete @10"] == pytest.approx(10 / 60)
        assert metrics["discrete @50"] == pytest.approx(50 / 60)
        assert metrics["discrete @100"] == 1
        assert metrics["continuous @100"] == pytest.approx(60 / 50 * metrics["continuous @50"])

    def test_rectangles_and_ellipses_of_the_same_face_differ(self) -> None:
        labels = truth({"a": ellipses(FACE)})
        box = labels.ellipses[0].boxes()[0]
        assert run({"a": ellipses((*FACE, 1))}, labels)["continuous @1"] == 1
        inscribed = run({"a": rectangles((*box[:2], *(box[2:] - box[:2]), 1))}, labels)["continuous @1"]
        assert inscribed == pytest.approx(np.pi / 4, abs=0.02)

    def test_images_without_faces_or_detections(self) -> None:
        labels = truth({"a": ellipses(FACE), "b": ellipses(OTHER), "c": ellipses()})
        metrics = run({"a": ellipses((*FACE, 0.9)), "b": ellipses(), "c": ellipses()}, labels)
        assert metrics["discrete @1"] == 0.5
        assert set(run({"a": rectangles(), "b": rectangles(), "c": rectangles()}, labels).values()) == {0}

    def test_a_set_without_faces(self) -> None:
        result = fddb.evaluate({"a": rectangles((1, 1, 5, 5, 1))}, truth({"a": ellipses()}), provenance=KNOWN)
        assert result.metrics == {}
        assert "no image has a face, so there is no recall" in result.notes

    def test_names_must_fit(self) -> None:
        labels = truth({"2002/07/19/big/img_18": ellipses(FACE)})
        with pytest.raises(LabelError, match="did you mean '2002/07/19/big/img_18'"):
            run({"2002/07/19/big/img_81": rectangles()}, labels)
        assert run({"data/2002/07/19/big/img_18.jpg": ellipses((*FACE, 1))}, labels)["discrete @1"] == 1

    def test_edges_read_as_sizes_are_refused(self) -> None:
        shapes = {str(i): (20, 15, 1.5, 60 + i, 70) for i in range(30)}
        labels = truth({name: ellipses(shape) for name, shape in shapes.items()})
        boxes = {name: ellipses(shape).boxes()[0] for name, shape in shapes.items()}
        with pytest.raises(LabelError, match="look like x1 y1 x2 y2"):
            run({name: rectangles((*box, 1)) for name, box in boxes.items()}, labels)
        right = {name: rectangles((*box[:2], *(box[2:] - box[:2]), 1)) for name, box in boxes.items()}
        assert run(right, labels)["discrete @1"] == 1

    def test_folds(self) -> None:
        labels = truth({f"{i:02}": ellipses(FACE) for i in range(20)})
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
        result = fddb.evaluate({"a": rectangles(*rows)}, truth({"a": ellipses(OTHER)}), provenance=KNOWN)
        curve = result.curves[0]
        assert len(curve.x) <= 2000
        assert curve.x[:100].tolist() == list(range(1, 101))
        assert curve.x[-1] > 8900


class TestRotation:
    @pytest.mark.parametrize("turns", [1, -1, 2])
    def test_the_drawing_turns_with_the_picture(self, turns: int) -> None:
        shape = (31.0, 17.0, np.deg2rad(25), 52.0, 40.0)
        labels = truth({"a": ellipses(shape)}, size=(120, 90))
        turned = labels.rotated(turns)
        width, height = turned.sizes[0]
        assert (width, height) == ((90, 120) if turns % 2 else (120, 90))
        before = slow.ellipse_mask(shape, 120, 90)
        after = slow.ellipse_mask(turned.ellipses[0].shapes[0], width, height)
        # equal but for single pixels, since OpenCV draws a polygon
        assert cv2.countNonZero(np.rot90(before, turns) ^ after) <= 0.01 * cv2.countNonZero(before)

    def test_there_and_back(self) -> None:
        labels = truth({"a": ellipses(FACE, OTHER)})
        back = labels.rotated(1).rotated(-1)
        assert back.ellipses[0].shapes[:, [0, 1, 3, 4]] == pytest.approx(labels.ellipses[0].shapes[:, [0, 1, 3, 4]])
        assert (back.sizes == labels.sizes).all()
        assert run({"a": labels.ellipses[0]}, back)["continuous @1"] == 1

    def test_a_quarter_turn_counter_clockwise_takes_the_right_edge_to_the_top(self) -> None:
        turned = ellipses((5, 4, 0.0, 199, 30)).rotated(200, 150, 1)
        assert turned.shapes[0] == pytest.approx([5, 4, -np.pi / 2, 30, 0])


class TestReaders:
    def write(self, folder: Path) -> fddb.truth.Sizes:
        (folder / "FDDB-fold-01-ellipseList.txt").write_text(
            "2002/a/img_1\n1\n30.5 20.25 1.5 60 70  1\n2002/a/img_2\n2\n30 20 -1.5 60 70 1\n10 9 0 5 6  1\n"
        )
        (folder / "FDDB-fold-02-ellipseList.txt").write_text("2003/b/img_3\n1\n8 7 0.5 20 21 1\n")
        return {"2002/a/img_1": (100, 90), "2002/a/img_2": (100, 80), "2003/b/img_3": (50, 60)}

    def test_lists(self, tmp_path: Path) -> None:
        labels = fddb.load_truth(tmp_path, self.write(tmp_path))
        assert labels.names == ("2002/a/img_1", "2002/a/img_2", "2003/b/img_3")
        assert labels.folds.tolist() == [1, 1, 2]
        assert labels.sizes.tolist() == [[100, 90], [100, 80], [50, 60]]
        assert labels.ellipses[0].shapes.tolist() == [[30.5, 20.25, 1.5, 60, 70]]
        assert labels.fold(2).names == ("2003/b/img_3",)

    def test_subset(self, tmp_path: Path) -> None:
        sizes = self.write(tmp_path)
        names = ["2003/b/img_3", "2002/a/img_2"]
        chosen = fddb.load_truth(tmp_path, {name: sizes[name] for name in names}, names=names)
        assert chosen.names == ("2002/a/img_2", "2003/b/img_3")
        assert fddb.load_truth(tmp_path, sizes).subset(names).names == chosen.names
        with pytest.raises(LabelError, match="'2002/a/img_9'; did you mean '2002/a/img_"):
            fddb.load_truth(tmp_path, sizes, names=["2002/a/img_9"])
        with pytest.raises(LabelError, match="1 of 3 listed images have no size, the first is '2003/b/img_3'"):
            fddb.load_truth(tmp_path, {name: sizes[name] for name in list(sizes)[:2]})

    def test_an_image_in_two_folds(self, tmp_path: Path) -> None:
        sizes = self.write(tmp_path)
        (tmp_path / "FDDB-fold-03-ellipseList.txt").write_text("2003/b/img_3\n0\n")
        with pytest.raises(LabelError, match=r"fold-03.*'2003/b/img_3' is in fold 2 already"):
            fddb.load_truth(tmp_path, sizes)

    def test_no_lists(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="no FDDB-fold-XX-ellipseList.txt"):
            fddb.load_truth(tmp_path, {})

    def test_rectangles_instead_of_ellipses(self, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text("a\n1\n8 7 0.5 20 1\n")
        with pytest.raises(LabelError, match=r"list.txt:3: 5 numbers, expected 6"):
            fddb.load_truth(path, {"a": (10, 10)})

    def test_image_sizes(self, tmp_path: Path) -> None:
        folder = tmp_path / "2002" / "big"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(folder / "img_1.jpg")
        assert fddb.image_sizes(tmp_path) == {"2002/big/img_1": (40, 30)}
        (folder / "img_2.jpg").write_bytes(b"no image")
        with pytest.raises(ImageError, match="img_2.jpg"):
            fddb.image_sizes(tmp_path)
        with pytest.raises(ImageError, match="no .jpg"):
            fddb.image_sizes(tmp_path / "none")

    def test_predictions_of_either_kind(self, tmp_path: Path) -> None:
        boxes, rounds = {"a": rectangles((1, 2, 3, 4, 0.5))}, {"a": ellipses((*FACE, 0.5))}
        write_fddb_text(boxes, tmp_path / "boxes.txt")
        write_fddb_text(rounds, tmp_path / "ellipses.txt")
        write_jsonl(boxes, tmp_path / "boxes.jsonl")
        assert isinstance(fddb.read_predictions(tmp_path / "boxes.txt")["a"], Faces)
        assert isinstance(fddb.read_predictions(tmp_path / "boxes.jsonl")["a"], Faces)
        read = fddb.read_predictions(tmp_path / "ellipses.txt")["a"]
        assert isinstance(read, fddb.Ellipses)
        assert (read.shapes == rounds["a"].shapes).all()

    def test_ellipses_are_checked(self) -> None:
        with pytest.raises(ValueError, match="radii not negative"):
            ellipses((-1, 2, 0, 3, 4))
        with pytest.raises(ValueError, match="finite"):
            ellipses((1, np.nan, 0, 3, 4))
        with pytest.raises(ValueError, match="2 shapes but 1 scores"):
            fddb.Ellipses(np.ones((2, 5)), np.ones(1))

    def test_boxes_of_ellipses(self) -> None:
        assert ellipses(FACE).boxes()[0] == pytest.approx([40, 40, 80, 100])
        assert ellipses((30, 20, 0, 60, 70)).boxes()[0] == pytest.approx([30, 50, 90, 90])
        half = np.sqrt((30**2 + 20**2) / 2)
        assert ellipses((30, 20, np.pi / 4, 60, 70)).boxes()[0] == pytest.approx([60 - half, 70 - half, 60 + half, 70 + half])


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (../shared/data/dev) is not here")
def test_official_lists() -> None:
    names = [
        line
        for path in sorted((DATA / "ground-truth" / "FDDB-folds").glob("*.txt"))
        for line in path.read_text().splitlines()
        if line.startswith("200")
    ]
    labels = fddb.load_truth(DATA / "ground-truth" / "FDDB-folds", dict.fromkeys(names, (450, 450)))
    assert len(labels.names) == fddb.OFFICIAL_IMAGES
    assert sum(map(len, labels.ellipses)) == 5171
    assert np.bincount(labels.folds).tolist() == [0, 290, 285, 274, 302, 298, 302, 279, 276, 259, 280]
    chosen = labels.subset((DATA / "fddb-images.txt").read_text().split())
    assert len(chosen.names) == 350
    found = dict(zip(chosen.names, chosen.ellipses, strict=True))
    assert fddb.evaluate(found, chosen, provenance=KNOWN).metrics["continuous @1"] == pytest.approx(1)
