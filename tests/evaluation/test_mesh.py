from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
from scipy.spatial.transform import Rotation

from facesmith.errors import LabelError
from facesmith.evaluation import mesh
from facesmith.evaluation.result import Provenance

Array = npt.NDArray[np.float64]
PROVENANCE = Provenance("test")


def landmarks() -> Array:
    """68 points that span 160 x 90 pixels: errors are divided by 120."""
    points = np.random.default_rng(0).uniform(0, 90, (68, 3))
    points[0, :2], points[1, :2] = (0, 0), (160, 90)
    return points


def write(folder: Path, yaws: list[float], count: int = 50) -> dict[str, Array]:
    """A truth folder of .npz files."""
    rng = np.random.default_rng(1)
    meshes = {f"image{i}": rng.uniform(0, 150, (count, 3)) for i in range(len(yaws))}
    for (name, vertices), yaw in zip(meshes.items(), yaws, strict=True):
        np.savez(folder / f"{name}.npz", vertices=vertices, landmarks=landmarks(), yaw=yaw)
    return meshes


def test_a_shift_by_hand(tmp_path: Path) -> None:
    meshes = write(tmp_path, [0.0])
    truth = mesh.load_truth(tmp_path)
    result = mesh.evaluate({"image0": meshes["image0"] + [3, 0, 4]}, truth, provenance=PROVENANCE)
    assert result.metrics["nme"] == pytest.approx(5 / 120)
    assert result.metrics["nme_depth"] == pytest.approx(3 / 120)
    assert result.metrics["nme_rigid"] == pytest.approx(0, abs=1e-12)
    assert result.is_subset
    assert result.curves[0].y[-1] == 1.0


def test_rigid_alignment_undoes_a_turn_but_no_scale_and_no_mirror() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 40, (200, 3))
    turned = Rotation.from_euler("xyz", [20, -50, 170], degrees=True).apply(points) + np.array([5, -80, 300])
    np.testing.assert_allclose(mesh.rigid(turned, points), points, atol=1e-9)
    larger = mesh.rigid(points * 2, points)
    np.testing.assert_allclose(larger - larger.mean(axis=0), 2 * (points - points.mean(axis=0)), atol=1e-9)
    mirrored = mesh.rigid(points * [1, 1, -1], points)
    assert np.linalg.norm(mirrored - points, axis=1).mean() > 5


@pytest.mark.parametrize("seed", range(5))
def test_rigid_alignment_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 40, (60, 3))
    target = Rotation.random(rng=rng).apply(points) + rng.normal(0, 8, (60, 3))
    a, b = points - points.mean(axis=0), target - target.mean(axis=0)
    expected = Rotation.align_vectors(b, a)[0].apply(a) + target.mean(axis=0)
    np.testing.assert_allclose(mesh.rigid(points, target), expected, atol=1e-8)


def test_yaw_ranges_and_their_mean(tmp_path: Path) -> None:
    yaws = [0, -30, 45, -60, 61, 90.0]
    meshes = write(tmp_path, yaws)
    shifts = {f"image{i}": float(i + 1) for i in range(6)}
    predictions = {name: meshes[name] + [shifts[name], 0, 0] for name in meshes}
    result = mesh.evaluate(predictions, mesh.load_truth(tmp_path), provenance=PROVENANCE)
    assert result.metrics["nme_yaw_0_30"] == pytest.approx(1.5 / 120)
    assert result.metrics["nme_yaw_30_60"] == pytest.approx(3.5 / 120)
    assert result.metrics["nme_yaw_60_90"] == pytest.approx(5.5 / 120)
    assert result.metrics["nme_mean"] == result.metrics["nme"] == pytest.approx(3.5 / 120)
    assert result.counts == {"faces_yaw_0_30": 2, "faces_yaw_30_60": 2, "faces_yaw_60_90": 2}
    part = mesh.load_truth(tmp_path).subset(["image0", "image5"])
    few = {name: predictions[name] for name in ("image0", "image5")}
    metrics = mesh.evaluate(few, part, provenance=PROVENANCE).metrics
    assert metrics["nme"] == pytest.approx(3.5 / 120)
    assert "nme_mean" not in metrics


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_loop(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    meshes = write(tmp_path, list(rng.uniform(-90, 90, 4)))
    predictions = {name: vertices + rng.normal(0, 5, vertices.shape) for name, vertices in meshes.items()}
    total = depth = 0.0
    for name, vertices in meshes.items():
        offsets = [predictions[name][i] - vertices[i] for i in range(len(vertices))]
        mean = sum(o[2] for o in offsets) / len(offsets)
        total += sum((o[0] ** 2 + o[1] ** 2 + o[2] ** 2) ** 0.5 for o in offsets) / len(offsets) / 120
        moved = [(o[0] ** 2 + o[1] ** 2 + (o[2] - mean) ** 2) ** 0.5 for o in offsets]
        depth += sum(moved) / len(moved) / 120
    result = mesh.evaluate(predictions, mesh.load_truth(tmp_path), provenance=PROVENANCE)
    assert result.metrics["nme"] == pytest.approx(total / 4, rel=1e-12)
    assert result.metrics["nme_depth"] == pytest.approx(depth / 4, rel=1e-12)
    assert result.metrics["nme_rigid"] < result.metrics["nme_depth"] * 1.05


def test_original_files_and_a_folder_of_predictions(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "found").mkdir()
    vertices = np.random.default_rng(0).uniform(0, 150, (3, 40))
    pose = np.array([[0.0, np.radians(-45), 0, 0, 0, 0, 1]])
    content = {"Fitted_Face": vertices, "pt3d_68": landmarks().T, "Pose_Para": pose}
    scipy.io.savemat(tmp_path / "truth" / "image00002.mat", content)
    np.save(tmp_path / "found" / "image00002.npy", (vertices.T + np.array([0, 12, 0])).astype(np.float32))
    found = mesh.read_vertices(tmp_path / "found")
    assert list(found) == ["image00002"]
    result = mesh.evaluate(found, mesh.load_truth(tmp_path / "truth"), provenance=PROVENANCE)
    assert result.metrics["nme_yaw_30_60"] == pytest.approx(0.1, rel=1e-6)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"holds no \.mat or \.npz file"):
        mesh.load_truth(tmp_path)
    with pytest.raises(LabelError, match=r"holds no \.npy file"):
        mesh.read_vertices(tmp_path)
    with pytest.raises(LabelError, match="no such folder"):
        mesh.load_truth(tmp_path / "nowhere")
    file = tmp_path / "a.npz"
    for columns, message in (
        ({"vertices": np.zeros((4, 3)), "yaw": 0.0}, r"a\.npz: not a \.npz file with landmarks"),
        ({"landmarks": np.zeros((67, 2)), "yaw": 0.0}, r"a\.npz: needs 68 finite"),
        ({"landmarks": landmarks(), "yaw": np.nan}, r"a\.npz: needs 68 finite"),
        ({"landmarks": np.zeros((68, 2)), "yaw": 0.0}, r"a\.npz: the landmarks span no area"),
        ({"landmarks": np.array(["pickled"], object), "yaw": 0.0}, r"a\.npz: not a \.npz file"),
    ):
        np.savez(file, **columns)
        with pytest.raises(LabelError, match=message):
            mesh.load_truth(tmp_path)
    file.write_text("text")
    with pytest.raises(LabelError, match=r"a\.npz: not a \.npz file"):
        mesh.load_truth(tmp_path)


def test_bad_predictions(tmp_path: Path) -> None:
    meshes = write(tmp_path, [0.0, 10.0])
    truth = mesh.load_truth(tmp_path)
    for bad, message in (
        (np.zeros((49, 3)), "image 'image1': 49 vertices, but the truth has 50"),
        (np.zeros((50, 2)), r"image 'image1': needs finite vertices of the shape \(V, 3\)"),
        (np.full((50, 3), np.inf), "image 'image1': needs finite vertices"),
    ):
        with pytest.raises(LabelError, match=message):
            mesh.evaluate(meshes | {"image1": bad}, truth, provenance=PROVENANCE)
    with pytest.raises(LabelError, match="'imag1'; did you mean 'image1'"):
        mesh.evaluate({"image0": meshes["image0"], "imag1": meshes["image1"]}, truth, provenance=PROVENANCE)
    with pytest.raises(LabelError, match="no predictions for 1 of 2 images: 'image1'"):
        mesh.evaluate({"image0": meshes["image0"]}, truth, provenance=PROVENANCE)
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "image0.npy").write_text("text")
    with pytest.raises(LabelError, match=r"image0\.npy: not a readable"):
        mesh.evaluate(mesh.read_vertices(tmp_path / "found"), truth.subset(["image0"]), provenance=PROVENANCE)


def test_a_truth_without_meshes_says_what_is_missing(tmp_path: Path) -> None:
    pose = np.zeros((1, 7))
    scipy.io.savemat(tmp_path / "a.mat", {"pt3d_68": landmarks().T, "Pose_Para": pose})
    truth = mesh.load_truth(tmp_path)
    with pytest.raises(LabelError, match=r"a\.mat: has no variable 'Fitted_Face'"):
        mesh.evaluate({"a": np.zeros((4, 3))}, truth, provenance=PROVENANCE)
