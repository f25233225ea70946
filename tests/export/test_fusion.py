"""Small random networks before and after: the same function, other convolutions."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from facesmith.export.fusion import fuse

Weights = dict[str, np.ndarray]


def network(nodes: list[onnx.NodeProto], weights: Weights, outputs: list[str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}_{i}" for i in range(4)]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def conv(source: str, output: str, *, group: int = 1, stride: int = 1, kernel: int = 3) -> onnx.NodeProto:
    pads = [kernel // 2] * 4
    names = [source, f"{output}_w", f"{output}_b"]
    return helper.make_node(
        "Conv", names, [output], name=f"node_{output}", group=group, strides=[stride] * 2, pads=pads
    )


def drawn(**shapes: tuple[int, ...]) -> Weights:
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}_w"] = rng.normal(size=shape).astype(np.float32)
        weights[f"{name}_b"] = rng.normal(size=shape[0]).astype(np.float32)
    return weights


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).normal(size=(2, 3, 13, 18)).astype(np.float32)
    results: list[np.ndarray] = session.run(None, {"images": images})
    return results


def fused(model: onnx.ModelProto) -> Any:
    """The graph after, once the two have given the same."""
    before = run(model)
    fuse(model)
    onnx.checker.check_model(model, full_check=True)
    for a, b in zip(before, run(model), strict=True):
        assert np.abs(a).max() > 0.1
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    return model.graph


def kinds(graph: Any) -> list[str]:
    return [node.op_type for node in graph.node]


@pytest.mark.parametrize("kind", ["Mul", "Div"])
def test_scales_go_into_the_weights(kind: str) -> None:
    nodes = [
        helper.make_node(kind, ["images", "number"], ["scaled"]),
        conv("scaled", "a", stride=2),
        helper.make_node(kind, ["a", "number"], ["end"]),
    ]
    graph = fused(network(nodes, {**drawn(a=(5, 3, 3, 3)), "number": np.float32(3.5)}, ["end"]))
    assert kinds(graph) == ["Conv"]
    assert len(graph.initializer) == 2, "weights and bias; the old ones are gone"


def test_a_scaled_map_that_others_read_stays() -> None:
    nodes = [
        helper.make_node("Mul", ["images", "number"], ["scaled"]),
        conv("scaled", "a"),
        helper.make_node("Mul", ["a", "number"], ["b"]),
        helper.make_node("Add", ["scaled", "a"], ["c"]),
    ]
    graph = fused(network(nodes, {**drawn(a=(3, 3, 3, 3)), "number": np.float32(2)}, ["b", "c"]))
    assert kinds(graph) == ["Mul", "Conv", "Mul", "Add"]


def test_predictions_of_one_map_become_one_convolution() -> None:
    counts = {"scores": 2, "boxes": 8, "points": 20}
    nodes = [conv("images", name) for name in counts]
    nodes += [helper.make_node("Transpose", [name], [f"{name}_t"], perm=[0, 2, 3, 1]) for name in counts]
    weights = drawn(**{name: (count, 3, 3, 3) for name, count in counts.items()})
    graph = fused(network(nodes, weights, [f"{name}_t" for name in counts]))
    assert sorted(kinds(graph)) == ["Conv", "Split", "Transpose", "Transpose", "Transpose"]


def test_branches_of_the_network_and_whole_blocks_are_not_merged() -> None:
    nodes = [conv("images", "a"), conv("images", "b"), conv("images", "c"), conv("images", "d")]
    nodes += [helper.make_node("Relu", [name], [f"{name}_r"]) for name in ("a", "b")]
    nodes += [helper.make_node("Transpose", [name], [f"{name}_t"]) for name in ("c", "d")]
    weights = drawn(a=(4, 3, 3, 3), b=(4, 3, 3, 3), c=(16, 3, 3, 3), d=(32, 3, 3, 3))
    graph = fused(network(nodes, weights, ["a_r", "b_r", "c_t", "d_t"]))
    assert kinds(graph).count("Conv") == 4


def test_missing_channels_of_a_block_are_filled_through_depthwise_convolutions() -> None:
    nodes = [
        conv("images", "stem", stride=2),
        helper.make_node("Relu", ["stem"], ["stem_r"]),
        conv("stem_r", "deep", group=8),
        helper.make_node("Relu", ["deep"], ["deep_r"]),
        conv("deep_r", "end", kernel=1),
    ]
    weights = drawn(stem=(8, 3, 3, 3), deep=(8, 1, 3, 3), end=(20, 8, 1, 1))
    graph = fused(network(nodes, weights, ["end"]))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = [shapes[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert found == [(16, 3, 3, 3), (16, 1, 3, 3), (20, 16, 1, 1)]


def test_channels_that_something_else_reads_are_not_filled() -> None:
    nodes = [conv("images", "a"), conv("a", "b"), helper.make_node("Add", ["a", "b"], ["c"])]
    graph = fused(network(nodes, drawn(a=(8, 3, 3, 3), b=(8, 8, 3, 3)), ["c"]))
    assert {tuple(t.dims) for t in graph.initializer} == {(8, 3, 3, 3), (8, 8, 3, 3), (8,)}
