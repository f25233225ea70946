"""A network whose candidates are the pixels of its picture, so that a test can say what they are."""

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import tiny_network
from facesmith import geometry
from facesmith.errors import ConfigError, ModelError
from facesmith.export.suppression import with_suppression
from facesmith.runtime import EVALUATION_THRESHOLD


def echo_network() -> bytes:
    """A picture's row (7 pixels of 3 numbers) is a candidate: 4 numbers box, 1 score · 255, 10 landmarks, 6 unused."""

    def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [output], **attributes)

    nodes = [
        node("Cast", "images", "floats", to=TensorProto.FLOAT),
        node("Reshape", "floats rows", "table"),  # (B, H, 21)
        node("Slice", "table zero four two", "boxes"),
        node("Slice", "table four five two", "percent"),
        node("Div", "percent white", "column"),
        node("Squeeze", "column two", "scores"),
        node("Slice", "table five fifteen two", "points"),
        node("Reshape", "points pairs", "landmarks"),
    ]
    numbers = {"zero": [0], "two": [2], "four": [4], "five": [5], "fifteen": [15], "rows": [0, 0, 21]}
    numbers |= {"pairs": [0, 0, 5, 2]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    constants.append(numpy_helper.from_array(np.float32(255), "white"))
    outputs = {"boxes": ["B", "H", 4], "scores": ["B", "H"], "landmarks": ["B", "H", 5, 2]}
    graph = helper.make_graph(
        nodes,
        "echo",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"facesmith": json.dumps({"name": "echo"})})
    data: bytes = model.SerializeToString()
    return data


def candidates(seed: int, count: int) -> np.ndarray:
    """(count, 7, 3) uint8: clusters of overlapping boxes, scores falling, some too low."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 4, (count, 2)) * 40 + rng.integers(0, 12, (count, 2))
    table = np.zeros((count, 21), np.uint8)
    table[:, :4] = np.concatenate([corner, corner + rng.integers(20, 40, (count, 2))], axis=1)
    table[:, 4] = np.sort(rng.integers(0, 256, count))[::-1]
    table[:, 5:15] = rng.integers(0, 256, (count, 10))
    return table.reshape(count, 7, 3)


def run(model: bytes, images: np.ndarray) -> list[Any]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    results: list[Any] = session.run(["boxes", "scores", "landmarks"], {"images": images})
    return results


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 1.0])
def test_it_gives_what_numpy_gives(threshold: float) -> None:
    model = echo_network()
    images = np.stack([candidates(seed, 60) for seed in (1, 2, 3)])
    images[1, 12:] = 0
    boxes, scores, landmarks = run(model, images)
    found = run(with_suppression(model, threshold), images)
    kept = []
    for i in range(3):
        passed = np.flatnonzero(scores[i] > EVALUATION_THRESHOLD)
        rows = passed[geometry.nms(boxes[i][passed], scores[i][passed], threshold)]
        kept.append(len(rows))
        for mine, theirs in zip((boxes, scores, landmarks), found, strict=True):
            np.testing.assert_array_equal(theirs[i][: len(rows)], mine[i][rows])
        assert (found[1][i][len(rows) :] == 0).all()
    assert found[1].shape == (3, max(kept)), "as many rows as the fullest picture has"
    assert len(set(kept)) > 1
    assert threshold == 1 or max(kept) < 50, "something is suppressed"


def test_without_faces_there_is_one_empty_row() -> None:
    boxes, scores, landmarks = run(with_suppression(echo_network(), 0.4), np.zeros((2, 5, 7, 3), np.uint8))
    assert scores.tolist() == [[0.0], [0.0]]
    assert boxes.shape == (2, 1, 4)
    assert landmarks.shape == (2, 1, 5, 2)


def test_metadata_and_signature() -> None:
    proto = onnx.load_from_string(with_suppression(tiny_network().SerializeToString(), 0.45))
    assert json.loads(proto.metadata_props[0].value) == {"name": "tiny", "nms": 0.45}
    assert [output.name for output in proto.graph.output] == ["boxes", "scores", "landmarks"]
    assert {output.type.tensor_type.shape.dim[1].dim_param for output in proto.graph.output} == {"faces"}


def test_refusals() -> None:
    model = tiny_network().SerializeToString()
    with pytest.raises(ConfigError, match=r"between 0 and 1, not 1\.5"):
        with_suppression(model, 1.5)
    with pytest.raises(ModelError, match=r"at an IoU of 0\.4 already"):
        with_suppression(with_suppression(model, 0.4), 0.5)
