from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io

from facesmith.errors import LabelError
from facesmith.evaluation import landmark_truth, landmarks
from facesmith.evaluation.landmarks import Truth
from facesmith.evaluation.result import Provenance
from facesmith.faces import FIVE_OF, Faces
from facesmith.meshes import Meshes

Array = npt.NDArray[np.float64]
PROVENANCE = Provenance("test")
DEVELOPMENT = Path(__file__).parents[3] / "shared" / "data" / "dev" / "landmarks68.txt"
FACE = np.array([[30.0, 30], [70, 30], [50, 50], [35, 75], [65, 75]])


def shifted(points: Array, dx: float, dy: float) -> Array:
    return points + np.array([dx, dy])


def faces_of(points: Array, scores: list[float], grow: float = 10.0) -> Faces:
    """Detections whose boxes are ``grow`` pixels larger than their points on every side."""
    points = np.asarray(points, np.float64).reshape(-1, 5, 2)
    boxes = np.concatenate([points.min(axis=1) - grow, points.max(axis=1) + grow], axis=1)
    return Faces(boxes.astype(np.float32), np.array(scores, np.float32), points.astype(np.float32))


def wider(path: Path, rows: dict[str, list[tuple[list[float], Array | None]]]) -> Truth:
    """Truth from RetinaFace's label text; a face is its x y w h and its points."""
    lines = []
    for name, faces in rows.items():
        lines.append(f"# {name}.jpg")
        for box, points in faces:
            marks = [-1.0] * 15 if points is None else [v for x, y in points.tolist() for v in (x, y, 0.0)]
            lines.append(" ".join(map(str, [*box, *marks, 0.4])))
    (path / "label.txt").write_text("\n".join(lines) + "\n")
    return landmarks.load_truth(path / "label.txt", landmarks.WIDER_FACE)


# --- the shared measures


def test_nme_by_hand() -> None:
    truth = np.zeros((4, 2, 2))
    points = np.array([[[3, 4], [0, 0]], [[3, 4], [0, 0]], [[np.nan, 0], [6, 8]], [[1, 1], [1, 1]]])
    visible = np.array([[True, True], [True, False], [True, True], [False, False]])
    errors = landmarks.nme(points, truth, np.array([10.0, 10, 10, 10]), visible)
    assert errors[:3].tolist() == [0.25, 0.5, np.inf]
    assert np.isnan(errors[3])
    assert landmarks.nme(points[:1], truth[:1], [5.0]).tolist() == [0.5]


def test_nme_ignores_nan_at_invisible_points_and_takes_three_dimensions() -> None:
    points = np.array([[[np.nan, np.nan, np.nan], [2, 3, 6.0]]])
    assert landmarks.nme(points, np.zeros((1, 2, 3)), [7.0], [[False, True]]).tolist() == [1.0]


@pytest.mark.parametrize("seed", range(10))
def test_measures_equal_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 40)), int(rng.integers(1, 20))
    points, truth = rng.normal(0, 1, (2, n, k, 2))
    visible, scale = rng.random((n, k)) < 0.7, rng.uniform(1, 20, n)
    visible[:, 0] = True
    lost = rng.random(n) < 0.2
    points[lost] = np.nan
    expected = []
    for i in range(n):
        if lost[i]:
            expected.append(np.inf)
            continue
        used = [j for j in range(k) if visible[i, j]]
        distances = [np.hypot(*(points[i, j] - truth[i, j])) for j in used]
        expected.append(sum(distances) / len(used) / scale[i])
    errors = landmarks.nme(points, truth, scale, visible)
    np.testing.assert_allclose(errors, expected, rtol=1e-12)
    thresholds = [0.0, 0.1, 0.2, float(np.min(errors))]
    shares = [sum(e <= t for e in errors) / n for t in thresholds]
    assert landmarks.ced(errors, thresholds).tolist() == pytest.approx(shares)
    assert landmarks.failure_rate(errors, 0.2) == pytest.approx(1 - shares[2])
    steps = (np.arange(200_000) + 0.5) * 0.2 / 200_000
    assert landmarks.auc(errors, 0.2) == pytest.approx(landmarks.ced(errors, steps).mean(), abs=1e-5)


def test_an_error_equal_to_the_threshold_is_no_failure() -> None:
    errors = np.array([0.08, 0.0800001, np.inf])
    assert landmarks.failure_rate(errors, 0.08) == pytest.approx(2 / 3)
    assert landmarks.ced(errors, [0.08, 0.1, 1e9]).tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert landmarks.auc(np.array([0.0, 0.05, np.inf]), 0.1) == pytest.approx((1 + 0.5 + 0) / 3)


# --- which detection belongs to which face


def test_the_highest_overlap_wins_whatever_its_score() -> None:
    found = faces_of(np.stack([FACE + 8, FACE + 1]), [0.9, 0.1])
    assert landmarks.assign(found, [[20, 20, 80, 85]], [[50, 50]]).tolist() == [1]


def test_equal_overlaps_go_to_the_higher_score_then_to_the_first() -> None:
    twins = faces_of(np.stack([FACE] * 3), [0.5, 0.9, 0.9])
    assert landmarks.assign(twins, [[20, 20, 80, 85]], [[50, 50]]).tolist() == [1]


def test_a_detection_must_hold_the_nose() -> None:
    found = Faces(np.array([[0, 0, 49.9, 100]]), [0.9], FACE[None].astype(np.float32))
    assert landmarks.assign(found, [[0, 0, 100, 100]], [[50, 50]]).tolist() == [-1]
    assert landmarks.assign(found, [[0, 0, 100, 100]], [[49.9, 100]]).tolist() == [0]


def test_a_detection_serves_one_face_and_a_neighbour_claims_its_own() -> None:
    near = shifted(FACE, 12, 0)
    found = faces_of(near, [0.9])
    boxes, noses = [[20, 20, 80, 85], [32, 20, 92, 85]], [[50, 50], [62, 50]]
    assert landmarks.assign(found, boxes, noses).tolist() == [-1, 0]
    assert landmarks.assign(found, boxes[:1], noses[:1]).tolist() == [0]


def test_nothing_to_assign() -> None:
    assert landmarks.assign(Faces.empty(), [[0, 0, 9, 9]], [[5, 5]]).tolist() == [-1]
    assert landmarks.assign(faces_of(FACE, [1.0]), np.zeros((0, 4)), np.zeros((0, 2))).tolist() == []


def test_faces_without_landmarks_keep_their_detection_but_are_not_measured(tmp_path: Path) -> None:
    box = [20.0, 20, 60, 65]
    truth = wider(tmp_path, {"a": [(box, FACE), ([24, 20, 60, 65], None)], "b": [(box, None)], "c": []})
    predictions = {"a": faces_of(shifted(FACE, 4, 0), [0.9]), "b": Faces.empty(), "c": faces_of(FACE, [0.3])}
    result = landmarks.evaluate(predictions, truth, provenance=PROVENANCE)
    assert result.counts == {"faces": 1, "found": 0}
    assert result.metrics == {"failure@0.10": 1.0}
    assert "no nme" in result.notes[0]
    assert (result.images, result.official_images) == (3, 3226)


# --- the protocols


def test_five_points_of_wider_face(tmp_path: Path) -> None:
    box = [10.0, 20, 90, 40]  # sqrt(90 * 40) = 60
    truth = wider(tmp_path, {"x/a": [(box, FACE), ([200.0, 0, 50, 50], FACE + 170)], "x/b": [(box, FACE)]})
    moved = shifted(FACE, 6, 0)
    predictions = {"x/a": faces_of(moved, [0.9]), "x/b": faces_of(shifted(FACE, 0, 6.06), [0.9])}
    result = landmarks.evaluate(predictions, truth, provenance=PROVENANCE)
    assert result.metrics["nme"] == pytest.approx((0.1 + 0.101) / 2, rel=1e-6)
    assert result.metrics["nme_nose"] == pytest.approx((0.1 + 0.101) / 2, rel=1e-6)
    assert result.metrics["failure@0.10"] == pytest.approx(2 / 3)  # one missed, one above
    assert result.counts == {"faces": 3, "found": 2}
    assert result.curves[0].y[-1] == pytest.approx(1 / 3)


def test_a_detection_without_landmarks_is_a_miss(tmp_path: Path) -> None:
    truth = wider(tmp_path, {"a": [([20.0, 20, 60, 65], FACE)]})
    found = faces_of(FACE, [0.9])
    nothing = replace(found, landmarks=np.full((1, 5, 2), np.nan, np.float32))
    assert landmarks.evaluate({"a": nothing}, truth, provenance=PROVENANCE).counts["found"] == 0
    with pytest.raises(LabelError, match="image 'a': the predicted faces have no landmarks"):
        landmarks.evaluate({"a": replace(found, landmarks=None)}, truth, provenance=PROVENANCE)


def write_aflw(path: Path, n: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 100, (n, 2)), rng.uniform(50, 100, (n, 2))
    points = corner[:, None] + rng.random((n, 19, 2)) * size[:, None]
    names = np.empty((n, 1), object)
    names[:, 0] = [f"0/image{i // 2:05}.jpg" for i in range(n)]
    content = {
        "bbox": np.stack([corner[:, 0], corner[:, 0] + size[:, 0], corner[:, 1], corner[:, 1] + size[:, 1]], 1),
        "data": points.transpose(0, 2, 1).reshape(n, 38),
        "mask_new": (rng.random((n, 19)) < 0.8).astype(np.uint8),
        "nameList": names,
        "ra": rng.permutation(n)[None] + 1,
    }
    scipy.io.savemat(path, content)
    return content | {"points": points, "size": size}


def test_aflw_test_set_over_all_and_over_visible_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_truth, "AFLW_TRAINING_FACES", 30)
    content = write_aflw(tmp_path / "AFLWinfo_release.mat", 36)
    truth = landmarks.load_truth(tmp_path / "AFLWinfo_release.mat", landmarks.AFLW)
    test = content["ra"][0, 30:] - 1
    assert len(truth.points) == 6
    np.testing.assert_allclose(truth.points, content["points"][test])
    rng = np.random.default_rng(1)
    moved = truth.points + rng.normal(0, 3, truth.points.shape)
    predictions = {name: moved[truth.image == i] for i, name in enumerate(truth.images)}
    result = landmarks.evaluate(predictions, truth, provenance=PROVENANCE)
    distance = np.linalg.norm(moved - truth.points, axis=2) / np.sqrt(content["size"][test].prod(axis=1))[:, None]
    seen = content["mask_new"][test] == 1
    assert result.metrics["nme_all"] == pytest.approx(distance.mean(axis=1).mean())
    visible = np.mean([d[s].mean() for d, s in zip(distance, seen, strict=True)])
    assert result.metrics["nme_visible"] == pytest.approx(visible)
    assert (result.images, result.official_images, result.is_subset) == (6, 4386, True)
    assert {curve.name for curve in result.curves} == {"CED_all", "CED_visible"}


def test_five_points_of_all_aflw(tmp_path: Path) -> None:
    content = write_aflw(tmp_path / "a.mat", 7)
    truth = landmarks.load_truth(tmp_path / "a.mat", landmarks.AFLW_FIVE)
    np.testing.assert_allclose(truth.points, content["points"][:, list(FIVE_OF[19])])
    assert truth.images == ("0/image00000", "0/image00001", "0/image00002", "0/image00003")
    assert truth.image.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert (truth.visible == (content["mask_new"][:, list(FIVE_OF[19])] == 1)).all()
    with pytest.raises(LabelError, match="more than 20,000"):
        landmarks.load_truth(tmp_path / "a.mat", landmarks.AFLW)
    exact = {name: truth.points[truth.image == i] for i, name in enumerate(truth.images)}
    result = landmarks.evaluate(exact, truth, provenance=PROVENANCE)
    assert result.metrics["nme_visible"] == result.metrics["failure_visible@0.10"] == 0.0
    assert result.metrics["nme_left_mouth"] == 0.0


def test_aflw2000_yaw_ranges(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    yaws = [0, -30, 30.0001, -60, 60.0001, 89]
    offsets = [1.0, 3, 5, 7, 9, 11]
    predictions = {}
    for i, yaw in enumerate(yaws):
        points = rng.uniform(0, 1, (3, 68)) * 100
        points[:2, 0], points[:2, 1] = (0, 0), (160, 90)  # sqrt(160 * 90) = 120
        points[:, 2:] = np.minimum(points[:, 2:], 90)
        pose = np.array([[0.1, np.radians(yaw), -0.2, 5, 5, 0, 1]])
        scipy.io.savemat(tmp_path / f"image{i}.mat", {"pt3d_68": points, "Pose_Para": pose})
        predictions[f"image{i}"] = shifted(points[:2].T, offsets[i], 0)
    truth = landmarks.load_truth(tmp_path, landmarks.AFLW2000_3D)
    result = landmarks.evaluate(predictions, truth, provenance=PROVENANCE)
    assert result.metrics["nme_yaw_0_30"] == pytest.approx(2 / 120)
    assert result.metrics["nme_yaw_30_60"] == pytest.approx(6 / 120)
    assert result.metrics["nme_yaw_60_90"] == pytest.approx(10 / 120)
    assert result.metrics["nme_mean"] == pytest.approx(6 / 120)
    two = {name: predictions[name] for name in ("image0", "image5")}
    part = landmarks.evaluate(two, truth.subset(two), provenance=PROVENANCE).metrics
    assert "nme_mean" not in part
    assert part["nme"] == pytest.approx(6 / 120)


def pts(points: Array) -> str:
    rows = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points:  68\n{{\n{rows}\n}}\n"


def test_300w_by_the_outer_eye_corners(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    predictions = {}
    for i, name in enumerate(("ibug/a", "helen/testset/b", "lfpw/testset/c", "helen/trainset/d")):
        points = rng.uniform(50, 150, (68, 2))
        points[36], points[45] = (60, 80), (120, 160)  # 100 apart
        file = tmp_path / f"{name}.pts"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(pts(points + 0.5))  # stored from 1, ours is half a pixel less
        predictions[name] = shifted(points, 0, (8, 8.001, 10)[i % 3])
    del predictions["helen/trainset/d"]
    truth = landmarks.load_truth(tmp_path, landmarks.W300)
    result = landmarks.evaluate(predictions, truth, provenance=PROVENANCE)
    assert result.metrics["nme"] == pytest.approx(26.001 / 300)
    assert result.metrics["nme_challenging"] == pytest.approx(0.08)
    assert result.metrics["nme_common"] == pytest.approx(18.001 / 200)
    assert result.metrics["failure@0.08"] == pytest.approx(2 / 3)
    assert result.metrics["auc@0.10"] == pytest.approx((0.02 + 0.01999) / 0.3)
    assert result.official_images == 689
    assert landmarks.load_truth(tmp_path / "helen", landmarks.W300).images == ("testset/b", "trainset/d")


def frames_file(path: Path, points: Array) -> Path:
    lines = [f"# set/frame-{i}.webp\n" + " ".join(f"{v}" for v in face.ravel()) for i, face in enumerate(points)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_development_frames_five_points_of_68(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(100, 200, (3, 68, 2))
    eyes = np.array([[120.0, 130], [160, 130]])
    for face in points:
        face[36:42] += eyes[0] - face[36:42].mean(axis=0)
        face[42:48] += eyes[1] - face[42:48].mean(axis=0)
        face[30] = (140, 150)
    truth = landmarks.load_truth(frames_file(tmp_path / "f.txt", points), landmarks.FRAMES)
    five = np.stack([*np.broadcast_to(eyes[:, None], (2, 3, 2)), points[:, 30], points[:, 48], points[:, 54]], 1)
    np.testing.assert_allclose(truth.points, five)
    predictions = {
        "set/frame-0": faces_of(shifted(five[0], 2, 0), [0.9]),
        "set/frame-1": faces_of(np.stack([shifted(five[1], 0, 300), shifted(five[1], 0, 4)]), [0.9, 0.2]),
        "set/frame-2": Faces.empty(),
    }
    result = landmarks.evaluate(predictions, truth, provenance=PROVENANCE)
    size = np.sqrt(np.ptp(points, axis=1).prod(axis=1))
    assert result.metrics["nme_interocular"] == pytest.approx((2 / 40 + 4 / 40) / 2)
    assert result.metrics["nme_box"] == pytest.approx((2 / size[0] + 4 / size[1]) / 2)
    assert result.metrics["failure_box@0.10"] == pytest.approx(1 / 3)
    assert result.counts == {"faces": 3, "found": 2}
    full = landmarks.load_truth(tmp_path / "f.txt", landmarks.FRAMES_68)
    exact = {name: points[i] for i, name in enumerate(full.images)}
    assert landmarks.evaluate(exact, full, provenance=PROVENANCE).metrics["nme"] == 0.0


@pytest.mark.skipif(not DEVELOPMENT.is_file(), reason="needs the development data beside the checkout")
def test_the_development_labels_are_complete() -> None:
    truth = landmarks.load_truth(DEVELOPMENT, landmarks.FRAMES)
    assert len(truth.images) == len(truth.points) == 300
    assert (truth.points[:, 0, 0] < truth.points[:, 1, 0]).mean() > 0.95
    result = landmarks.evaluate(
        {name: faces_of(face, [1.0]) for name, face in zip(truth.images, truth.points, strict=True)},
        truth,
        provenance=PROVENANCE,
    )
    assert result.counts == {"faces": 300, "found": 300}
    assert result.metrics["nme_box"] == pytest.approx(0.0, abs=1e-6)
    assert not result.is_subset


# --- bad input


def test_bad_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = frames_file(tmp_path / "f.txt", rng.uniform(0, 100, (2, 68, 2)))
    truth = landmarks.load_truth(path, landmarks.FRAMES_68)
    good = {"set/frame-0": np.zeros((68, 2)), "set/frame-1": np.zeros((68, 2))}
    for bad, message in (
        (np.zeros((67, 2)), r"'set/frame-1': points of shape \(1, 67, 2\), expected \(1, 68, 2\)"),
        (np.full((68, 2), np.nan), "'set/frame-1': a predicted point is not finite"),
        (Faces([[0, 0, 9, 9]], [1]), "'set/frame-1': the predicted faces have no meshes, whose 68 points are judged"),
    ):
        with pytest.raises(LabelError, match=message):
            landmarks.evaluate(good | {"set/frame-1": bad}, truth, provenance=PROVENANCE)
    with pytest.raises(LabelError, match=r"'set/frame-9'; did you mean 'set/frame-1'"):
        landmarks.evaluate(good | {"set/frame-9": np.zeros((68, 2))}, truth, provenance=PROVENANCE)
    with pytest.raises(LabelError, match="no predictions for 1 of 2 images"):
        landmarks.evaluate({"set/frame-0": np.zeros((68, 2))}, truth, provenance=PROVENANCE)


def test_points_of_meshes(tmp_path: Path) -> None:
    """Of several faces the one around the labelled nose counts; a picture without a face is a face not found."""
    points = np.random.default_rng(0).uniform(0, 100, (2, 68, 2))
    truth = landmarks.load_truth(frames_file(tmp_path / "f.txt", points), landmarks.FRAMES_68)
    place = np.dstack([points[[0, 0]] + [[[500.0, 0]], [[1.0, 0]]], np.zeros((2, 68))])
    boxes = [[490, -9, 609, 109], [-9, -9, 109, 109]]
    meshes = Meshes(place, np.zeros((1, 3)), place, place, np.zeros((2, 3)))
    found = {"set/frame-0": Faces(boxes, [0.9, 0.8], meshes=meshes), "set/frame-1": Faces.empty()}
    result = landmarks.evaluate(found, truth, provenance=PROVENANCE)
    assert result.counts == {"faces": 2, "found": 1}
    assert result.metrics["nme"] == pytest.approx(1 / np.linalg.norm(points[0, 36] - points[0, 45]))


def test_a_truth_without_any_landmark(tmp_path: Path) -> None:
    truth = wider(tmp_path, {"a": [([0.0, 0, 9, 9], None)]})
    with pytest.raises(LabelError, match="none of the labelled faces has landmarks"):
        landmarks.evaluate({"a": Faces.empty()}, truth, provenance=PROVENANCE)
