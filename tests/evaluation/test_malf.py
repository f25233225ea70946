from pathlib import Path

import numpy as np
import pytest

from facesmith.errors import LabelError
from facesmith.evaluation import malf
from facesmith.evaluation.predictions import read_fddb_text
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces

PROVENANCE = Provenance("test")


def truth_of(text: str, folder: Path) -> malf.Truth:
    (folder / "labels.txt").write_text(text)
    return malf.load_truth(folder / "labels.txt")


def faces(*rows: tuple[float, ...]) -> Faces:
    """Of x, y, side, score."""
    values = np.array(rows, np.float32).reshape(-1, 4)
    corner, side = values[:, :2], values[:, 2:3]
    return Faces(np.concatenate([corner, corner + side], axis=1), values[:, 3])


def slow_rates(predictions: dict[str, Faces], truth: malf.Truth) -> list[tuple[float, float, float]]:
    """(threshold, TPR, mean false positives an image), by counting anew at every threshold."""
    thresholds = sorted({float(s) for f in predictions.values() for s in f.scores}, reverse=True)
    rows = []
    total = sum(int((~i).sum()) for i in truth.ignored)
    for threshold in thresholds:
        hits = misses = 0
        for name, boxes, ignored in zip(truth.names, truth.boxes, truth.ignored, strict=True):
            taken = set()
            for i in np.argsort(-predictions[name].scores, kind="stable"):
                if predictions[name].scores[i] < threshold:
                    continue
                a, best, overlap = predictions[name].boxes[i].astype(np.float64), -1, 0.0
                for j, b in enumerate(boxes):
                    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
                    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
                    areas = [(x[2] - x[0] + 1) * (x[3] - x[1] + 1) for x in (a, b)]
                    if w * h / (sum(areas) - w * h) >= overlap:
                        best, overlap = j, w * h / (sum(areas) - w * h)
                if overlap <= 0.5:
                    misses += 1
                elif not ignored[best]:
                    misses, hits = misses + (best in taken), hits + (best not in taken)
                    taken.add(best)
        rows.append((threshold, hits / total, misses / len(truth.names)))
    return rows


@pytest.mark.parametrize("seed", range(15))
def test_equal_to_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, ignored, predictions = [], [], {}
    for i in range(6):
        n = int(rng.integers(0, 5)) if i else 1
        corner, side = rng.uniform(0, 200, (n, 2)), rng.uniform(20, 60, (n, 1))
        boxes.append(np.concatenate([corner, corner + side], axis=1))
        ignored.append((rng.random(n) < 0.25) & (i > 0))
        source = rng.integers(0, n, 2 * n) if n else np.zeros(0, int)
        near = np.concatenate([corner[source], side[source]], axis=1) + rng.normal(0, 5, (len(source), 3))
        far = np.concatenate([rng.uniform(0, 200, (2, 2)), np.full((2, 1), 30)], axis=1)
        rows = np.concatenate([near, far])
        predictions[str(i)] = faces(*map(tuple, np.append(rows, rng.integers(0, 6, (len(rows), 1)), axis=1)))
    truth = malf.Truth(malf.MALF, tuple("012345"), tuple(boxes), tuple(ignored))
    result = malf.evaluate(predictions, truth, provenance=PROVENANCE)
    rows = slow_rates(predictions, truth)
    np.testing.assert_allclose(result.curves[0].y[1:], [row[1] for row in rows], atol=1e-12)
    np.testing.assert_allclose(result.curves[0].x[1:], [row[2] for row in rows], atol=1e-12)
    assert result.metrics["recall"] == pytest.approx(rows[-1][1])
    for most in (0.01, 0.1, 1.0):
        expected = max([0.0] + [row[1] for row in rows if row[2] <= most])
        assert result.metrics[f"TPR@{most:g}"] == pytest.approx(expected)


def test_faces_under_20_pixels_and_flagged_ones_are_ignored(tmp_path: Path) -> None:
    text = "# a.jpg\n0 0 19.9 30 0\n50 0 20 20 0\n100 0 40 40 1\n200 0 40 40\n"
    truth = truth_of(text, tmp_path)
    assert truth.ignored[0].tolist() == [True, False, True, False]
    found = faces((0, 0, 20, 0.9), (100, 0, 40, 0.8), (50, 0, 20, 0.7), (200, 0, 40, 0.6))
    result = malf.evaluate({"a": found}, truth, provenance=PROVENANCE)
    assert result.metrics["AP"] == 1.0
    assert result.metrics["TPR@0.01"] == 1.0
    assert result.counts == {"faces": 2, "ignored": 2, "detections": 4}


def test_true_positive_rate_at_false_positives_an_image(tmp_path: Path) -> None:
    truth = truth_of("# a\n0 0 40 40\n# b\n0 0 40 40\n# c\n", tmp_path)
    predictions = {
        "a": faces((300, 0, 40, 0.8), (0, 0, 40, 0.9)),
        "b": faces((0, 0, 40, 0.5)),
        "c": faces((0, 0, 40, 0.5), (0, 0, 40, 0.4)),
    }
    result = malf.evaluate(predictions, truth, provenance=PROVENANCE)
    assert result.curves[0].x.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    assert result.curves[0].y.tolist() == [0, 0.5, 0.5, 1, 1]
    assert result.metrics["TPR@0.1"] == 0.5
    assert result.metrics["TPR@1"] == 1.0
    assert result.is_subset
    assert result.notes


def test_no_detections(tmp_path: Path) -> None:
    truth = truth_of("# a\n0 0 40 40\n", tmp_path)
    result = malf.evaluate({"a": Faces.empty()}, truth, provenance=PROVENANCE)
    assert set(result.metrics.values()) == {0.0}


def test_subset_and_missing_images(tmp_path: Path) -> None:
    truth = truth_of("# a\n0 0 40 40\n# b\n0 0 40 40\n", tmp_path)
    one = {"a": faces((0, 0, 40, 1))}
    assert malf.evaluate(one, truth.subset(["a"]), provenance=PROVENANCE).metrics["AP"] == 1.0
    with pytest.raises(LabelError, match="no predictions for 1 of 2 images: 'b'"):
        malf.evaluate(one, truth, provenance=PROVENANCE)


def test_a_submission_holds_every_test_image(tmp_path: Path) -> None:
    names = [f"{i:04}" for i in range(5000)]
    predictions = {name: Faces.empty() for name in reversed(names)} | {"0007": faces((1.5, 2, 40, 0.25))}
    malf.write_submission(predictions, names, tmp_path / "out.txt")
    read = read_fddb_text(tmp_path / "out.txt")
    assert list(read) == names
    assert read["0007"].boxes.tolist() == [[1.5, 2, 41.5, 42]]
    with pytest.raises(LabelError, match=r"5,000 test images; got 4,999"):
        malf.write_submission(predictions, names[1:], tmp_path / "out.txt")
    with pytest.raises(LabelError, match=r"got 5,000 names, 4,999"):
        malf.write_submission(predictions, [*names[1:], "0001"], tmp_path / "out.txt")
    del predictions["0100"]
    with pytest.raises(LabelError, match="no predictions for 1 of 5,000 images: '0100'"):
        malf.write_submission(predictions, names, tmp_path / "out.txt")
