from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from facesmith import geometry, images
from facesmith.errors import LabelError, ModelError
from facesmith.evaluation import embedding
from facesmith.evaluation.embedding import Embedder, Embeddings, embed
from facesmith.faces import Faces

TEMPLATE = geometry.ALIGNMENT_TEMPLATE + 0.5


def face(offset: tuple[float, float], size: float = 112, score: float = 0.9) -> Faces:
    points = (TEMPLATE * (size / 112) + np.array(offset))[None]
    box = np.array([[offset[0], offset[1], offset[0] + size, offset[1] + size]])
    return Faces(box, np.array([score]), points)


class Finder:
    """A detector that knows its answers by the picture's top-left pixel."""

    def __init__(self, answers: dict[int, Faces]) -> None:
        self.answers = answers

    def detect(self, source: Any) -> Faces:
        return self.answers[int(source[0, 0, 0])]


def mean_colour(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The mean of the left half and of the right half: a mirror image swaps them."""
    half = crops.shape[2] // 2
    return np.stack([crops[:, :, :half].mean(axis=(1, 2, 3)), crops[:, :, half:].mean(axis=(1, 2, 3))], 1, dtype="f4")


def picture(key: int, height: int = 200, width: int = 300) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(key)
    image = np.repeat(np.repeat(rng.integers(0, 256, (height // 10, width // 10, 3)), 10, axis=0), 10, axis=1)
    image[0, 0, 0] = key
    return image.astype(np.uint8)


def write_onnx(path: Path, shape: list[int | str], kind: int = TensorProto.FLOAT) -> Path:
    """Mean of each colour of the normalised crop; for other than float32 the crop itself."""
    pooled = helper.make_node("GlobalAveragePool", ["data"], ["mean"])
    last = helper.make_node("Flatten", ["mean" if kind == TensorProto.FLOAT else "data"], ["feature"])
    source = helper.make_tensor_value_info("data", kind, shape)
    target = helper.make_tensor_value_info("feature", kind, None)
    nodes = [pooled, last] if kind == TensorProto.FLOAT else [last]
    graph = helper.make_graph(nodes, "mean", [source], [target])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_faces_are_aligned_and_embedded_with_their_mirror_image() -> None:
    detector = Finder({1: face((40, 30)), 2: face((100, 50), score=0.4)})
    found = embed({"a": picture(1), "b": picture(2)}, detector, mean_colour)
    assert found.names == ("a", "b")
    assert found.features.shape == (2, 2, 2)
    assert found.missed == ()
    np.testing.assert_allclose(found.scores, [0.9, 0.4], rtol=1e-6)
    np.testing.assert_allclose(found.features[:, 0], found.features[:, 1, ::-1])
    crop = picture(1)[30:142, 40:152]
    assert found.features[0, 0, 0] == pytest.approx(crop[:, :56].mean(), abs=0.5)


def test_images_without_a_face_take_the_centre_and_are_named() -> None:
    nothing = Finder({1: face((40, 30)), 2: Faces.empty(), 3: Faces(np.array([[0, 0, 9, 9]]), np.array([0.9]))})
    found = embed({"a": picture(1), "b": picture(2), "c": picture(3)}, nothing, mean_colour)
    assert found.missed == ("b", "c")
    assert found.scores is not None
    assert found.scores[1:].tolist() == [0, 0]
    centre = picture(2)[12:188, 62:238]  # 7/8 of 200 is 175, rounded in place
    assert found.features[1, 0].mean() == pytest.approx(centre.mean(), abs=1.5)


def test_of_several_faces_the_large_and_central_one_is_taken() -> None:
    faces = Faces.concatenate([face((0, 0), 100, 0.99), face((105, 45), 90, 0.3), face((200, 90), 95, 0.8)])
    assert embedding.main_face(faces, 300, 200).scores.tolist() == pytest.approx([0.3])
    larger = Faces.concatenate([faces, face((10, 10), 180, 0.2)])
    assert embedding.main_face(larger, 300, 200).scores.tolist() == pytest.approx([0.2])
    lost = Faces(faces.boxes, faces.scores, np.full((3, 5, 2), np.nan))
    assert len(embedding.main_face(lost, 300, 200)) == 0


def test_batches_do_not_change_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {key: face((10.0 * key, 20)) for key in range(1, 8)}
    pictures = {str(key): picture(key) for key in answers}
    whole = embed(pictures, Finder(answers), mean_colour)
    monkeypatch.setattr(embedding, "_BATCH", 3)
    np.testing.assert_array_equal(embed(pictures, Finder(answers), mean_colour).features, whole.features)
    assert len(embed({}, Finder({}), mean_colour).names) == 0


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_onnx_embedder(batch: int | str, tmp_path: Path) -> None:
    network = Embedder(write_onnx(tmp_path / "m.onnx", [batch, 3, 112, 112]), threads=1)
    crops = np.random.default_rng(0).integers(0, 256, (6, 112, 112, 3)).astype(np.uint8)
    expected = (crops.astype(np.float64).mean(axis=(1, 2)) - 127.5) / 127.5
    np.testing.assert_allclose(network(crops), expected, atol=1e-5)
    assert network.side == 112
    other = Embedder(tmp_path / "m.onnx", mean=0, deviation=255, threads=1)
    np.testing.assert_allclose(other(crops), crops.mean(axis=(1, 2)) / 255, atol=1e-5)


def test_files_that_are_no_embedder(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("text")
    with pytest.raises(ModelError, match=r"x\.onnx: onnxruntime cannot load it"):
        Embedder(tmp_path / "x.onnx", threads=1)
    square = ["n", 3, 112, 112]
    for shape, kind, message in (
        (square, TensorProto.DOUBLE, r"m\.onnx: needs one input .* float32, not data tensor\(double\)"),
        (["n", 1, 112, 112], TensorProto.FLOAT, r"m\.onnx: needs one input \(batch, 3, side, side\)"),
        (["n", 3, 112, 96], TensorProto.FLOAT, r"m\.onnx: its input is 112 x 96, not square"),
    ):
        path = write_onnx(tmp_path / "m.onnx", shape, kind)
        with pytest.raises(ModelError, match=message):
            Embedder(path, threads=1)


def test_embeddings_are_saved_and_loaded(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(0, 1, (2, 2, 3)).astype(np.float32)
    found = Embeddings(("x/a", "x/b"), features, np.array([0.5, 0], np.float32), ("x/b",))
    found.save(tmp_path / "e.npz")
    read = Embeddings.load(tmp_path / "e.npz")
    assert (read.names, read.missed) == (found.names, ("x/b",))
    np.testing.assert_array_equal(read.features, features)
    np.testing.assert_array_equal(read.scores, found.scores)
    np.savez(tmp_path / "own.npz", names=np.array(["a.jpg"]), features=np.ones((1, 4)))
    own = Embeddings.load(tmp_path / "own.npz")
    assert (own.names, own.scores) == (("a",), None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"names": np.array(["a"])}, r"e\.npz: not a \.npz file with names and features"),
        ({"names": np.array(["a"]), "features": np.ones((2, 3))}, r"must have the shape \(1, d\)"),
        ({"names": np.array(["a"]), "features": np.ones((1, 3, 3))}, r"must have the shape \(1, d\)"),
        (
            {"names": np.array(["a"]), "features": np.full((1, 3), np.nan)},
            "image 'a': a feature is not finite",
        ),
        ({"names": np.array(["a", "a.jpg"]), "features": np.ones((2, 3))}, "two embeddings"),
        (
            {"names": np.array(["a"]), "features": np.ones((1, 3)), "scores": np.ones(2)},
            "need 1 detector scores",
        ),
        ({"names": np.array(["a"], object), "features": np.ones((1, 3))}, r"e\.npz: not a \.npz file"),
    ],
)
def test_bad_embedding_files(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", **columns)
    with pytest.raises(LabelError, match=message):
        Embeddings.load(tmp_path / "e.npz")


def test_missing_embedding_file(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"no\.npz"):
        Embeddings.load(tmp_path / "no.npz")


def test_image_paths(tmp_path: Path) -> None:
    for name in ("A/A_0001.jpg", "A/A_0002.png"):
        (tmp_path / "A").mkdir(exist_ok=True)
        images.write(tmp_path / name, picture(1))
    paths = embedding.image_paths(tmp_path, ["A/A_0002", "A/A_0001"])
    assert list(paths) == ["A/A_0002", "A/A_0001"]
    assert paths["A/A_0002"].suffix == ".png"
    with pytest.raises(LabelError, match=r"1 of 2 images are missing, the first is 'A/A_0003'; did you mean 'A/A"):
        embedding.image_paths(tmp_path, ["A/A_0001", "A/A_0003"])
