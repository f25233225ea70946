from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io

from facesmith.errors import LabelError
from facesmith.evaluation import face_eval
from facesmith.evaluation.face_eval import AFW, PASCAL, Truth
from facesmith.evaluation.result import Provenance, Result
from facesmith.faces import Faces

PROVENANCE = Provenance("test")
Rows = list[list[float]]


def truth_of(boxes: dict[str, Rows], ignored: dict[str, list[bool]] | None = None) -> Truth:
    """Truth as the readers make it, from x1 y1 x2 y2."""
    names = sorted(boxes)
    arrays = [np.array(boxes[name], np.float64).reshape(-1, 4) for name in names]
    flags = [np.array((ignored or {}).get(name, [False] * len(boxes[name])), bool) for name in names]
    small = [((b[:, 2:] - b[:, :2]) < 30).any(axis=1) for b in arrays]
    return Truth(AFW, tuple(names), tuple(arrays), tuple(f | s for f, s in zip(flags, small, strict=True)))


def faces(boxes: Rows, scores: list[float]) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def score(truth: Truth, boxes: Rows, scores: list[float]) -> Result:
    return face_eval.evaluate({"a": faces(boxes, scores)}, truth, provenance=PROVENANCE)


def slow_overlap(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    inside = max(w, 0) * max(h, 0)
    areas = [(x[2] - x[0] + 1) * (x[3] - x[1] + 1) for x in (a, b)]
    return inside / (sum(areas) - inside)


def slow_evaluation(predictions: dict[str, Faces], truth: Truth) -> list[tuple[float, list[float]]]:
    """Loop by loop: AP of each round, and the transform applied after it."""
    found = []
    for name in truth.names:
        for i in range(len(predictions[name])):
            box = predictions[name].boxes[i].astype(np.float64)
            if box[2] - box[0] > 21 or box[3] - box[1] > 21:
                found.append((float(predictions[name].scores[i]), name, box))
    found.sort(key=lambda row: -row[0])
    total = sum(int((~ignored).sum()) for ignored in truth.ignored)
    rounds = []
    for _ in range(5):
        taken: set[tuple[str, int]] = set()
        points: list[tuple[float, float]] = []
        deltas = []
        hits = misses = 0
        for _, name, box in found:
            image = truth.names.index(name)
            best, overlap = -1, 0.0
            for j, label in enumerate(truth.boxes[image]):
                value = slow_overlap(box, label)
                if value >= overlap:
                    best, overlap = j, value
            if overlap > 0.5 and truth.ignored[image][best]:
                continue
            if overlap > 0.5 and (name, best) not in taken:
                taken.add((name, best))
                hits += 1
                label = truth.boxes[image][best]
                w, h = box[2] - box[0], box[3] - box[1]
                dx = ((label[0] + label[2]) / 2 - (box[0] + box[2]) / 2) / w
                dy = ((label[1] + label[3]) / 2 - (box[1] + box[3]) / 2) / h
                deltas.append([dx, dy, (label[2] - label[0]) / w, (label[3] - label[1]) / h])
            else:
                misses += 1
            points.append((hits / total, hits / (hits + misses)))
        area, before = 0.0, 0.0
        for i, (recall, _) in enumerate(points):
            area += (recall - before) * max(precision for _, precision in points[i:])
            before = recall
        mean = [sum(column) / len(deltas) for column in zip(*deltas, strict=True)] if deltas else [0, 0, 1, 1]
        rounds.append((area, [float(value) for value in mean]))
        moved = []
        for value, name, box in found:
            w, h = box[2] - box[0], box[3] - box[1]
            cx, cy = (box[0] + box[2]) / 2 + mean[0] * w, (box[1] + box[3]) / 2 + mean[1] * h
            w, h = w * mean[2], h * mean[3]
            moved.append((value, name, np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])))
        found = moved
    return rounds


def random_case(seed: int) -> tuple[dict[str, Faces], Truth]:
    rng = np.random.default_rng(seed)
    boxes: dict[str, Rows] = {}
    ignored: dict[str, list[bool]] = {}
    predictions: dict[str, Faces] = {}
    for i in range(8):
        n = int(rng.integers(0, 6)) if i else 0
        corner, size = rng.uniform(0, 300, (n, 2)), rng.uniform(22, 110, (n, 2))
        labels = np.round(np.concatenate([corner, corner + size], axis=1))
        boxes[f"{i}"] = labels.tolist()
        ignored[f"{i}"] = (rng.random(n) < 0.2).tolist()
        source = rng.integers(0, n, int(rng.integers(0, 2 * n + 1))) if n else np.zeros(0, int)
        near = labels[source] + rng.normal(0.08, 0.1, (len(source), 4)) * np.tile(size[source], 2)
        far = rng.uniform(0, 300, (int(rng.integers(0, 4)), 2))
        found = np.concatenate([near, np.concatenate([far, far + rng.uniform(15, 60, far.shape)], axis=1)])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        predictions[f"{i}"] = Faces(found.astype(np.float32), rng.integers(0, 9, len(found)) / 8)
    return predictions, truth_of(boxes, ignored)


@pytest.mark.parametrize("seed", range(25))
def test_equal_to_the_loop(seed: int) -> None:
    predictions, truth = random_case(seed)
    result = face_eval.evaluate(predictions, truth, provenance=PROVENANCE)
    rounds = slow_evaluation(predictions, truth)
    assert result.metrics["AP"] == pytest.approx(rounds[0][0], abs=1e-12)
    assert result.metrics["AP_refined"] == pytest.approx(rounds[4][0], abs=1e-12)
    dx, sx = 0.0, 1.0
    for _, mean in rounds[:4]:
        dx, sx = dx + mean[0] * sx, sx * mean[2]
    assert result.metrics["refined_dx"] == pytest.approx(dx, abs=1e-12)
    assert result.metrics["refined_sx"] == pytest.approx(sx, abs=1e-12)


def test_overlap_counts_border_pixels_and_must_exceed_one_half() -> None:
    truth = truth_of({"a": [[0, 0, 59, 59]]})  # 60 x 60 pixels
    assert score(truth, [[0, 0, 59, 29]], [1.0]).metrics["AP"] == 0.0  # 60 x 30: exactly .5
    assert score(truth, [[0, 0, 59, 29.01]], [1.0]).metrics["AP"] == 1.0
    assert score(truth, [[0, 0, 58, 29.6]], [1.0]).metrics["AP"] == 1.0  # below .5 without the border pixels


def test_duplicates_are_false_positives() -> None:
    truth = truth_of({"a": [[0, 0, 40, 40], [100, 0, 140, 40]]})
    boxes: Rows = [[0, 0, 40, 40], [1, 0, 41, 40], [100, 0, 140, 40]]
    assert score(truth, boxes, [0.9, 0.8, 0.7]).metrics["AP"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_detection_of_an_ignored_face_is_neutral_even_twice() -> None:
    truth = truth_of({"a": [[0, 0, 40, 40], [100, 0, 140, 40]]}, {"a": [False, True]})
    boxes: Rows = [[100, 0, 140, 40], [101, 0, 141, 40], [0, 0, 40, 40]]
    result = score(truth, boxes, [0.9, 0.8, 0.7])
    assert result.metrics["AP"] == 1.0
    assert result.counts == {"faces": 1, "ignored": 1, "detections": 3}


def test_the_best_match_decides_even_if_it_is_ignored() -> None:
    """A detection over .5 with two faces belongs to the better one; an ignored one makes it neutral."""
    truth = truth_of({"a": [[0, 0, 50, 50], [0, 5, 50, 55]]}, {"a": [False, True]})
    assert score(truth, [[0, 5, 50, 55]], [1.0]).metrics["AP"] == 0.0
    assert score(truth, [[0, 0, 50, 50]], [1.0]).metrics["AP"] == 1.0


def test_equal_overlaps_go_to_the_last_face() -> None:
    boxes: Rows = [[0, 0, 50, 50], [0, 0, 50, 50]]
    assert score(truth_of({"a": boxes}, {"a": [True, False]}), [boxes[0]], [1.0]).metrics["AP"] == 1.0
    assert score(truth_of({"a": boxes}, {"a": [False, True]}), [boxes[0]], [1.0]).metrics["AP"] == 0.0


def test_faces_under_30_pixels_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("# x/a.jpg\n0 0 29 60\n0 100 60 29.5\n\n100 0 30 30\n200 0 90 90 1\n# b.png\n")
    truth = face_eval.load_truth(tmp_path / "t.txt", AFW)
    assert truth.names == ("b", "x/a")
    assert truth.ignored[1].tolist() == [True, True, False, True]
    assert truth.boxes[1][2].tolist() == [100, 0, 130, 30]
    assert truth.boxes[0].shape == (0, 4)


def test_detections_stay_if_one_side_is_over_21_pixels() -> None:
    truth = truth_of({"a": [[0, 0, 40, 40]]})
    boxes: Rows = [[300, 0, 321, 21], [350, 0, 372, 5], [0, 0, 40, 40]]
    result = score(truth, boxes, [0.9, 0.8, 0.7])
    assert result.counts["detections"] == 2
    assert result.metrics["AP"] == pytest.approx(0.5)


def test_refinement_mends_a_constant_offset() -> None:
    """Boxes a third too large and shifted reach IoU .5 only for some; the mean transform finds the rest."""
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 900, (30, 2)), rng.uniform(40, 90, (30, 1)) * np.ones((1, 2))
    labels = np.concatenate([corner, corner + size], axis=1)
    centre = corner + size / 2 + size * [0.03, 0.2]
    half = size * rng.uniform(0.55, 0.75, (30, 1))
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    truth = truth_of({f"{i:02}": [row] for i, row in enumerate(labels.tolist())})
    predictions = {f"{i:02}": faces([row], [1 - i / 40]) for i, row in enumerate(boxes.tolist())}
    result = face_eval.evaluate(predictions, truth, provenance=PROVENANCE)
    assert result.metrics["AP"] < 0.9 < result.metrics["AP_refined"]
    assert result.metrics["refined_dy"] == pytest.approx(-0.2 / 1.3, abs=0.02)
    assert result.metrics["refined_sx"] == pytest.approx(1 / 1.3, abs=0.03)


def test_five_rounds_see_four_refinements() -> None:
    """Boxes 1.2 to 2.8 times too wide and high: every round shrinks them and finds some more."""
    factors = np.linspace(1.2, 2.8, 40)
    boxes = {f"{i:02}": [[-30.0 * f, -30 * f, 30 * f, 30 * f]] for i, f in enumerate(factors)}
    truth = truth_of({name: [[-30, -30, 30, 30]] for name in boxes})
    predictions = {name: faces(rows, [1 - i / 50]) for i, (name, rows) in enumerate(boxes.items())}
    result = face_eval.evaluate(predictions, truth, provenance=PROVENANCE)
    areas = [area for area, _ in slow_evaluation(predictions, truth)]
    assert areas == sorted(set(areas)), "a case in which the number of rounds makes no difference"
    assert result.metrics["AP"] == pytest.approx(areas[0], abs=1e-12)
    assert result.metrics["AP_refined"] == pytest.approx(areas[4], abs=1e-12)


def test_without_hits_refinement_changes_nothing() -> None:
    result = score(truth_of({"a": [[0, 0, 40, 40]]}), [[200, 0, 240, 40]], [1.0])
    assert result.metrics["AP_refined"] == 0.0
    assert (result.metrics["refined_dx"], result.metrics["refined_sx"]) == (0.0, 1.0)


def test_images_without_faces_and_without_detections() -> None:
    truth = truth_of({"a": [[0, 0, 40, 40]], "b": [], "c": [[0, 0, 40, 40]]})
    detections = {
        "a": faces([[0, 0, 40, 40]], [0.5]),
        "b": faces([[0, 0, 40, 40]], [0.9]),
        "c": Faces.empty(),
    }
    result = face_eval.evaluate(detections, truth, provenance=PROVENANCE)
    assert result.metrics["AP"] == pytest.approx(0.25)  # precision 1/2 at recall 1/2
    assert result.is_subset
    assert (result.images, result.official_images) == (3, 205)


def write_mat(path: Path, images: dict[str, npt.NDArray[np.generic]]) -> None:
    records = np.zeros((len(images), 1), dtype=[("imgname", object), ("objects", object)])
    for record, (name, objects) in zip(records[:, 0], images.items(), strict=True):
        record["imgname"], record["objects"] = name, objects
    scipy.io.savemat(path, {"Annotations": records})


def test_original_label_files(tmp_path: Path) -> None:
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.array([[1, 2, 51, 62]]), np.array([[5, 5, 65, 66, 0, 1]])
    images = {
        "237815567.jpg": np.array([[10, 20, 70, 90, 0, 0], [200, 20, 260, 90, 0, 1.0]]),
        "empty.jpg": np.zeros((0, 0)),
        "pascal.jpg": np.array([[10, 20, 70, 90.0]]),
        "cells.jpg": cells,
    }
    write_mat(tmp_path / "a.mat", images)
    truth = face_eval.load_truth(tmp_path / "a.mat", PASCAL)
    assert truth.names == ("237815567", "cells", "empty", "pascal")
    assert [len(b) for b in truth.boxes] == [2, 2, 0, 1]
    assert [flags.tolist() for flags in truth.ignored] == [[False, True], [False, True], [], [False]]
    assert truth.boxes[0][0].tolist() == [10, 20, 70, 90]


def test_a_subset_of_the_truth() -> None:
    predictions, truth = random_case(1)
    names = ["2", "5"]
    part = face_eval.evaluate({n: predictions[n] for n in names}, truth.subset(names), provenance=PROVENANCE)
    assert part.images == 2
    with pytest.raises(LabelError, match="no predictions for 6 of 8 images"):
        face_eval.evaluate({n: predictions[n] for n in names}, truth, provenance=PROVENANCE)


def test_other_versions_of_the_labels_are_noted() -> None:
    small = face_eval.Benchmark("afw", 1, 2)
    for count, noted in ((2, False), (1, True)):
        row = truth_of({"a": [[0, 0, 40, 40], [100, 0, 140, 40]][:count]})
        result = score(Truth(small, row.names, row.boxes, row.ignored), [], [])
        assert bool(result.notes) is noted
    assert "1 faces that count, the official ones 2" in result.notes[0]


def test_errors_name_the_place(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    for text, message in (
        ("1 2 3 4\n", "t.txt:1: expected '# image name'"),
        ("# a\n1 2 3\n", "t.txt:2: 3 numbers, expected"),
        ("# a\n1 2 x 4\n", "t.txt:2: expected 'x y w h'"),
        ("# a\n1 2 -3 4\n", "t.txt:2: width and height"),
        ("# a\n1 2 3 4 2\n", "t.txt:2: the fifth number"),
        ("# a\n1 2 inf 4\n", "t.txt:2: a number is not finite"),
        ("# a\n# b\n# a\n", "t.txt:3: image 'a' was named before"),
    ):
        path.write_text(text)
        with pytest.raises(LabelError, match=message):
            face_eval.load_truth(path, AFW)
    with pytest.raises(LabelError, match=r"nothing\.txt"):
        face_eval.load_truth(tmp_path / "nothing.txt", AFW)
    scipy.io.savemat(tmp_path / "b.mat", {"other": np.zeros(3)})
    with pytest.raises(LabelError, match=r"b\.mat: has no variable 'Annotations'"):
        face_eval.load_truth(tmp_path / "b.mat", AFW)
    scipy.io.savemat(tmp_path / "b.mat", {"Annotations": np.zeros(3)})
    with pytest.raises(LabelError, match=r"b\.mat: not face-eval's"):
        face_eval.load_truth(tmp_path / "b.mat", AFW)
    write_mat(tmp_path / "c.mat", {"x.jpg": np.array([[1.0, 2, 3]])})
    with pytest.raises(LabelError, match=r"c\.mat: image 'x\.jpg': a face needs"):
        face_eval.load_truth(tmp_path / "c.mat", AFW)
    truth = truth_of({"a": [[0, 0, 10, 10]]})
    with pytest.raises(LabelError, match="none of the 1 labelled faces counts"):
        score(truth, [], [])
