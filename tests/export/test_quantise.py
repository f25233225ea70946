"""The released network, quantised once on pictures of noise."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from conftest import tiny_network
from facesmith import load, weights
from facesmith.errors import ConfigError, ModelError
from facesmith.export.onnx import smooth_noise
from facesmith.export.precision import integer_nodes, network_nodes
from facesmith.export.quantise import quantise

NAME = "retinaface-mobilenet0.25"


def pictures(seed: int) -> np.ndarray:
    return smooth_noise(np.random.default_rng(seed), (1, 96, 128))


@pytest.fixture(scope="module")
def original() -> bytes:
    return weights.read(weights.records()[NAME])


@pytest.fixture(scope="module")
def quantised(original: bytes) -> bytes:
    return quantise(original, [pictures(seed) for seed in range(4)])


def test_it_runs_where_the_original_does(original: bytes, quantised: bytes, tmp_path: Path) -> None:
    """Same signature, any size; scores and boxes are close but not the same."""
    (tmp_path / "int8.onnx").write_bytes(quantised)
    exact, rounded = load(NAME, threads=1), load(tmp_path / "int8.onnx", threads=1)
    assert rounded.name == NAME
    batch = smooth_noise(np.random.default_rng(9), (2, 80, 120))
    expected, found = exact.raw(batch), rounded.raw(batch)
    assert found.boxes.shape == expected.boxes.shape
    assert 0 < abs(found.scores - expected.scores).max() < 0.1
    # the best candidates of both lie in the same places: the same anchors answer
    assert np.median(abs(found.boxes[:, :5] - expected.boxes[:, :5])) < 4


def test_weights_are_integers_and_decoding_is_not_touched(original: bytes, quantised: bytes) -> None:
    before, after = onnx.load_from_string(original), onnx.load_from_string(quantised)
    kinds = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    maker = {output: node for node in after.graph.node for output in node.output}
    assert len(convolutions) == 50
    chosen = {node.name for node in integer_nodes(before.graph)}
    left = {node.name for node in convolutions} - chosen
    assert 0 < len(left) < 6, "some near the picture are faster in float32"
    for node in convolutions:
        if node.name in left:
            assert kinds[node.input[1]] == onnx.TensorProto.FLOAT
        else:
            dequantised = maker[node.input[1]]
            assert dequantised.op_type == "DequantizeLinear"
            assert kinds[dequantised.input[0]] == onnx.TensorProto.INT8
    decoding = {node.name for node in before.graph.node} - {node.name for node in network_nodes(before.graph)}
    assert "Sigmoid" in {node.op_type for node in before.graph.node if node.name in decoding}
    untouched = {node.name: list(node.input) for node in before.graph.node if node.name in decoding}
    inputs = {node.name: list(node.input) for node in after.graph.node}
    quantised_maps = {output for node in before.graph.node if node.op_type == "Conv" for output in node.output}
    assert all(
        [name for name in inputs[node] if "DequantizeLinear" not in name]
        == [name for name in names if name not in quantised_maps]
        for node, names in untouched.items()
    )
    assert len(quantised) < 0.6 * len(original)


def test_or_everything_is_in_integers(original: bytes) -> None:
    after = onnx.load_from_string(quantise(original, [pictures(0)], everything=True))
    maker = {output: node for node in after.graph.node for output in node.output}
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    assert {maker[node.input[1]].op_type for node in convolutions} == {"DequantizeLinear"}


def test_metadata(original: bytes, quantised: bytes) -> None:
    facts = [
        {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
        for data in (original, quantised)
    ]
    assert facts[1].keys() == {"facesmith"}
    before, after = (json.loads(fact["facesmith"]) for fact in facts)
    assert after == {**before, "precision": "int8"}


def test_refusals(original: bytes, quantised: bytes) -> None:
    with pytest.raises(ConfigError, match="calibration pictures"):
        quantise(original, [])
    with pytest.raises(ModelError, match="quantised already"):
        quantise(quantised, [pictures(0)])
    with pytest.raises(ModelError, match="has none"):
        quantise(tiny_network().SerializeToString(), [pictures(0)])
