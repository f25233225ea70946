import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from facesmith.errors import ConfigError, LabelError
from facesmith.evaluation import coco
from facesmith.evaluation.result import Provenance, Result
from facesmith.faces import Faces

SIGMAS = (0.025, 0.025, 0.026, 0.035, 0.035)
PROVENANCE = Provenance("test")
BOX = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
BOX += ("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")
KEYPOINT = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR_20", "AR50", "AR75", "AR_medium", "AR_large")


def random_case(seed: int, images: int = 12, shared_scores: bool = False) -> tuple[dict[str, Any], dict[str, Faces]]:
    """Annotations and predictions with crowds, faces of all sizes, misses, duplicates and empty images."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    predictions: dict[str, Faces] = {}
    for image in range(images):
        n = int(rng.integers(0, 9)) if image else 0
        size = np.exp(rng.uniform(np.log(8), np.log(200), (n, 1))) * rng.uniform(0.8, 1.2, (n, 2))
        corner = rng.uniform(0, 300, (n, 2))
        points = corner[:, None] + rng.uniform(0.1, 0.9, (n, 5, 2)) * size[:, None]
        flags = rng.integers(0, 3, (n, 5))
        flags[rng.random(n) < 0.2] = 0
        for i in range(n):
            row = {
                "id": len(annotations) + 1,
                "image_id": image + 1,
                "category_id": 1,
                "bbox": [*corner[i], *size[i]],
                "area": float(size[i].prod() * rng.uniform(0.6, 1.0)),
                "iscrowd": int(rng.random() < 0.15),
                "keypoints": np.concatenate([points[i], flags[i, :, None]], axis=1).ravel().tolist(),
                "num_keypoints": int((flags[i] > 0).sum()),
            }
            annotations.append(row)
        source = rng.integers(0, n, int(rng.integers(0, 3 * n))) if n else np.zeros(0, int)
        far = rng.uniform(0, 300, (int(rng.integers(0, 4)), 2))
        noise = rng.normal(0, 0.12, (len(source), 4)) * np.tile(size[source], 2)
        near = np.concatenate([corner[source], corner[source] + size[source]], axis=1) + noise
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        boxes = np.concatenate([near, np.concatenate([far, far + 40], axis=1)]).astype(np.float32)
        moved = points[source] + rng.normal(0, 0.04, (len(source), 5, 2)) * size[source, None]
        landmarks = np.concatenate([moved, far[:, None] + rng.uniform(0, 40, (len(far), 5, 2))])
        scores = rng.integers(0, 5, len(boxes)) / 8 if shared_scores else rng.random(len(boxes))
        predictions[f"folder/{image}"] = Faces(boxes, scores, landmarks.astype(np.float32))
    rows = [{"id": i + 1, "file_name": f"folder/{i}.jpg", "width": 600, "height": 600} for i in range(images)]
    return {
        "images": rows,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "face"}],
    }, predictions


def reference(
    document: dict[str, Any], predictions: dict[str, Faces], kind: str, sigmas: tuple[float, ...]
) -> list[float]:
    """pycocotools' own summary."""
    rows = []
    for image, faces in enumerate(predictions.values()):
        for i in range(len(faces)):
            x1, y1, x2, y2 = faces.boxes[i].astype(np.float64)
            row = {"image_id": image + 1, "category_id": 1, "score": float(faces.scores[i])}
            if kind == "bbox":
                row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            else:
                assert faces.landmarks is not None
                points = np.concatenate([faces.landmarks[i].astype(np.float64), np.ones((5, 1))], axis=1)
                row["keypoints"] = points.ravel().tolist()
            rows.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(document))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows), kind)
        if kind == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def truth_of(document: Mapping[str, Any], folder: Path) -> coco.Truth:
    (folder / "truth.json").write_text(json.dumps(document))
    return coco.load_truth(folder / "truth.json")


def one_image(boxes: list[list[float]], folder: Path, **extra: list[Any]) -> coco.Truth:
    rows = [{"id": i, "image_id": 7, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    for key, values in extra.items():
        for row, value in zip(rows, values, strict=True):
            row[key] = value
    return truth_of({"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": rows}, folder)


def score(truth: coco.Truth, boxes: list[list[float]], scores: list[float]) -> Result:
    faces = Faces(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))
    return coco.evaluate({"a": faces}, truth, provenance=PROVENANCE)


@pytest.mark.parametrize("shared_scores", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_boxes_equal_pycocotools(seed: int, shared_scores: bool, tmp_path: Path) -> None:
    document, predictions = random_case(seed, shared_scores=shared_scores)
    result = coco.evaluate(predictions, truth_of(document, tmp_path), provenance=PROVENANCE)
    expected = reference(document, predictions, "bbox", SIGMAS)
    assert 0.05 < expected[0] < 0.95, "a case that cannot tell good from bad"
    for name, value in zip(BOX, expected, strict=True):
        assert result.metrics.get(name, -1.0) == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("seed", range(12))
def test_keypoints_equal_pycocotools(seed: int, tmp_path: Path) -> None:
    document, predictions = random_case(100 + seed)
    result = coco.evaluate(predictions, truth_of(document, tmp_path), provenance=PROVENANCE, sigmas=SIGMAS)
    expected = reference(document, predictions, "keypoints", SIGMAS)
    assert 0.02 < expected[0] < 0.95
    for name, value in zip(KEYPOINT, expected, strict=True):
        if name not in ("AR50", "AR75"):  # figures that COCO prints and nobody reports
            assert result.metrics.get("keypoint_" + name, -1.0) == pytest.approx(value, abs=1e-9), name


def test_more_detections_than_the_limits_equal_pycocotools(tmp_path: Path) -> None:
    document, predictions = random_case(5, images=4)
    rng = np.random.default_rng(0)
    for name, faces in predictions.items():
        many = faces[rng.integers(0, len(faces), 130)] if len(faces) else faces
        shifted = many.boxes + rng.normal(0, 6, (len(many), 1)).astype(np.float32)
        predictions[name] = Faces(shifted, rng.random(len(many)), many.landmarks)
    result = coco.evaluate(predictions, truth_of(document, tmp_path), provenance=PROVENANCE, sigmas=SIGMAS)
    for prefix, kind, names in (("", "bbox", BOX), ("keypoint_", "keypoints", KEYPOINT)):
        for name, value in zip(names, reference(document, predictions, kind, SIGMAS), strict=True):
            if name not in ("AR50", "AR75"):
                assert result.metrics.get(prefix + name, -1.0) == pytest.approx(value, abs=1e-9), name


def test_results_do_not_depend_on_how_images_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document, predictions = random_case(3)
    truth = truth_of(document, tmp_path)
    whole = coco.evaluate(predictions, truth, provenance=PROVENANCE)
    monkeypatch.setattr(coco, "_CELLS", 1)
    assert coco.evaluate(predictions, truth, provenance=PROVENANCE).metrics == whole.metrics


def test_a_subset_is_the_truth_of_its_images(tmp_path: Path) -> None:
    document, predictions = random_case(4)
    names = ["folder/3", "folder/7", "folder/11"]
    kept = {int(name[7:]) + 1 for name in names}
    for key, column in (("images", "id"), ("annotations", "image_id")):
        document[key] = [row for row in document[key] if row[column] in kept]
    small = {name: predictions[name] for name in names}
    whole = truth_of(random_case(4)[0], tmp_path)
    expected = coco.evaluate(small, truth_of(document, tmp_path), provenance=PROVENANCE)
    result = coco.evaluate(small, whole.subset(names), provenance=PROVENANCE)
    assert result.metrics == expected.metrics
    assert (result.images, result.counts) == (3, expected.counts)


def test_iou_of_exactly_one_half_counts(tmp_path: Path) -> None:
    truth = one_image([[0, 0, 40, 40]], tmp_path)
    assert score(truth, [[0, 0, 40, 20]], [0.9]).metrics["AP50"] == pytest.approx(1.0)
    assert score(truth, [[0, 0, 40, 19.99]], [0.9]).metrics["AP50"] == 0.0


def test_a_second_detection_of_a_face_is_a_false_positive(tmp_path: Path) -> None:
    truth = one_image([[0, 0, 40, 40], [100, 0, 40, 40]], tmp_path)
    faces = [[0, 0, 40, 40], [0, 0, 40, 40], [100, 0, 140, 40]]
    # hit, duplicate, hit: precision is 1 up to recall .5 (51 of 101 points), then 2/3
    assert score(truth, faces, [0.9, 0.8, 0.7]).metrics["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_crowds_and_ignored_faces_are_neutral(tmp_path: Path) -> None:
    faces = [[0.0, 0, 40, 40], [100, 0, 140, 40], [110, 0, 150, 40], [120, 0, 160, 40]]
    boxes = [[0, 0, 40, 40], [90, 0, 100, 50]]
    crowd = one_image(boxes, tmp_path, iscrowd=[0, 1])
    assert score(crowd, faces, [0.1, 0.9, 0.8, 0.7]).metrics["AP"] == pytest.approx(1.0)
    ignored = one_image([boxes[0], [100, 0, 40, 40]], tmp_path, ignore=[0, 1])
    result = score(ignored, faces[:2], [0.1, 0.9])
    assert result.metrics["AP"] == pytest.approx(1.0)
    assert result.counts == {"faces": 1, "ignored": 1}
    assert score(ignored, [*faces[:2], faces[1]], [0.1, 0.9, 0.8]).metrics["AP"] == pytest.approx(0.5)


def test_no_small_faces_leaves_the_figure_out_with_a_note(tmp_path: Path) -> None:
    result = score(one_image([[0, 0, 200, 200]], tmp_path), [[0, 0, 200, 200]], [1.0])
    assert "AP_small" not in result.metrics
    assert result.metrics["AP_large"] == pytest.approx(1.0)
    assert any("small" in note for note in result.notes)


def test_no_detections_and_no_images(tmp_path: Path) -> None:
    assert score(one_image([[0, 0, 40, 40]], tmp_path), [], []).metrics["AP"] == 0.0
    empty = truth_of({"images": [], "annotations": []}, tmp_path)
    assert coco.evaluate({}, empty, provenance=PROVENANCE).metrics == {}


def test_a_detection_without_landmarks_has_no_similarity(tmp_path: Path) -> None:
    points = [20.0, 20, 2, 60, 20, 2, 40, 40, 2, 25, 60, 2, 55, 60, 2]
    truth = one_image([[0, 0, 80, 80]], tmp_path, keypoints=[points])
    right = np.array(points, np.float32).reshape(1, 5, 3)[:, :, :2]
    boxes, scores = np.array([[0, 0, 80, 80]] * 2, np.float32), np.array([0.9, 0.5], np.float32)
    faces = Faces(boxes, scores, np.concatenate([np.full_like(right, np.nan), right]))
    result = coco.evaluate({"a": faces}, truth, provenance=PROVENANCE, sigmas=SIGMAS)
    assert result.metrics["keypoint_AP"] == pytest.approx(0.5)


def test_only_the_face_category_is_read(tmp_path: Path) -> None:
    document, _ = random_case(1)
    count = len(document["annotations"])
    document["categories"].append({"id": 2, "name": "dog"})
    document["annotations"].append({"id": 999, "image_id": 1, "category_id": 2, "bbox": [0, 0, 9, 9]})
    assert len(truth_of(document, tmp_path).boxes) == count
    document["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    with pytest.raises(LabelError, match="none of the categories"):
        truth_of(document, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [0, 0, 5]}, "annotation 3: .*bbox"),
        ({"bbox": [0, 0, 5, float("nan")]}, "annotation 3: bbox must be four finite"),
        ({"bbox": [0, 0, -5, 5]}, "annotation 3: bbox must be four finite"),
        ({"bbox": None}, "annotation 3: .*needs bbox"),
        ({"image_id": 99}, "annotation 3: image_id 99"),
        ({"keypoints": [1.0] * 14}, "annotation 3: keypoints"),
    ],
)
def test_bad_annotations_name_file_and_annotation(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    row = {"id": 3, "image_id": 1, "bbox": [0, 0, 5, 5]} | change
    with pytest.raises(LabelError, match=r"truth\.json: " + message):
        truth_of({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [row]}, tmp_path)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    (tmp_path / "y.json").write_text('{"images": [], "annotations": [1]}')
    for name in ("x.json", "y.json", "missing.json"):
        with pytest.raises(LabelError, match=name):
            coco.load_truth(tmp_path / name)
    twice = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.png"}]
    with pytest.raises(LabelError, match="two images"):
        truth_of({"images": twice, "annotations": []}, tmp_path)


def test_bad_predictions(tmp_path: Path) -> None:
    document, predictions = random_case(2)
    truth = truth_of(document, tmp_path)
    bare = {name: Faces(faces.boxes, faces.scores) for name, faces in predictions.items()}
    with pytest.raises(LabelError, match="without landmarks"):
        coco.evaluate(bare, truth, provenance=PROVENANCE, sigmas=SIGMAS)
    with pytest.raises(ConfigError, match="five positive"):
        coco.evaluate(predictions, truth, provenance=PROVENANCE, sigmas=(0.1,))
    plain = one_image([[0, 0, 4, 4]], tmp_path)
    with pytest.raises(LabelError, match="no keypoints"):
        coco.evaluate({"a": Faces.empty()}, plain, provenance=PROVENANCE, sigmas=SIGMAS)
    renamed = {"folder/I1" if name == "folder/11" else name: faces for name, faces in predictions.items()}
    with pytest.raises(LabelError, match=r"'folder/I1'; did you mean 'folder/1'"):
        coco.evaluate(renamed, truth, provenance=PROVENANCE)
    del predictions["folder/4"]
    with pytest.raises(LabelError, match="no predictions for 1 of 12 images: 'folder/4'"):
        coco.evaluate(predictions, truth, provenance=PROVENANCE)
