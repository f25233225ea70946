"""Rewrites of an exported graph that leave its function as it is and make convolutions cheaper on CPUs.

(Batch normalisation is folded before: torch's exporter does that.) Runtimes keep maps in blocks of 16 channels on CPUs
with AVX-512. A convolution to 2 channels costs as much as one to 16, and one from 8 channels is no block at all.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith.export.precision import QUANTISED

BLOCK = 16
"""Channels of a block with AVX-512; a multiple of those of AVX2 and NEON."""

FloatArray = npt.NDArray[np.float32]


def fuse(proto: Any) -> None:
    """Rewrite an ONNX model in place: scales into weights, predictions of one map into one convolution, whole blocks.

    Outputs stay what they were but for rounding.
    """
    graph = _Graph(proto.graph)
    for conv in list(graph.convolutions()):
        _fold_scale_before(graph, conv)
        _fold_scale_behind(graph, conv)
    for siblings in graph.siblings():
        _merge(graph, siblings)
    for conv in list(graph.convolutions()):
        if _group(conv) == 1:
            _fill_block(graph, conv)
    graph.tidy()
    del proto.graph.value_info[:]  # shapes of what may be gone; runtimes infer them


class _Graph:
    """An ONNX graph with what is asked of it most."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {output.name for output in graph.output}
        self._fresh = 0

    def array(self, name: str) -> FloatArray | None:
        """The value of a constant; ``None``: it is none."""
        from onnx import numpy_helper

        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add(self, value: npt.NDArray[Any]) -> str:
        """A new constant; its name."""
        from onnx import numpy_helper

        while (name := f"fused_{self._fresh}") in self.constants:
            self._fresh += 1
        tensor = numpy_helper.from_array(value, name)
        self.graph.initializer.append(tensor)
        self.constants[name] = tensor
        return name

    def users(self, name: str) -> list[Any]:
        return [node for node in self.graph.node if name in node.input]

    def only_user(self, name: str) -> Any:
        """The one node that reads ``name``; ``None``: more or fewer, or it is an output."""
        users = self.users(name)
        return users[0] if len(users) == 1 and name not in self.outputs else None

    def maker(self, name: str) -> Any:
        return next((node for node in self.graph.node if name in node.output), None)

    def convolutions(self) -> Iterator[Any]:
        """Those of constant weights."""
        for node in self.graph.node:
            if node.op_type == "Conv" and node.input[1] in self.constants:
                yield node

    def weights(self, conv: Any) -> tuple[FloatArray, FloatArray]:
        """(out, in, h, w) and (out,)."""
        weight = self.array(conv.input[1])
        assert weight is not None
        bias = self.array(conv.input[2]) if len(conv.input) > 2 else None
        return weight, np.zeros(len(weight), np.float32) if bias is None else bias

    def set_weights(self, conv: Any, weight: FloatArray, bias: FloatArray) -> None:
        names = [self.add(np.ascontiguousarray(value, np.float32)) for value in (weight, bias)]
        conv.input[:] = [conv.input[0], *names]

    def siblings(self) -> list[list[Any]]:
        """Convolutions that read one map alike and whose results leave the network, where one for all is cheaper."""
        groups: dict[tuple[Any, ...], list[Any]] = {}
        for conv in self.convolutions():
            users = [user for name in conv.output for user in self.users(name)]
            if _group(conv) == 1 and not any(user.op_type in QUANTISED for user in users):
                attributes = sorted((one.name, tuple(one.ints), one.i, one.s) for one in conv.attribute)
                groups.setdefault((conv.input[0], *attributes), []).append(conv)
        return [group for group in groups.values() if self._blocks(group) > _blocks(self._channels(group))]

    def _channels(self, convolutions: list[Any]) -> int:
        return sum(len(self.weights(conv)[0]) for conv in convolutions)

    def _blocks(self, convolutions: list[Any]) -> int:
        return sum(_blocks(self._channels([conv])) for conv in convolutions)

    def tidy(self) -> None:
        """Drop constants that nothing reads any more."""
        read = {name for node in self.graph.node for name in node.input} | self.outputs
        for tensor in [tensor for tensor in self.graph.initializer if tensor.name not in read]:
            self.graph.initializer.remove(tensor)


def _blocks(channels: int) -> int:
    return -(-channels // BLOCK)


def _group(conv: Any) -> int:
    return next((int(one.i) for one in conv.attribute if one.name == "group"), 1)


def _scale(graph: _Graph, node: Any) -> tuple[str, float] | None:
    """(what it scales, by how much) of a multiplication by or division through one constant number."""
    if node is None or node.op_type not in ("Mul", "Div"):
        return None
    for at in (1, 0) if node.op_type == "Mul" else (1,):
        value = graph.array(node.input[at])
        if value is not None and value.size == 1:
            number = float(value.reshape(()))
            return node.input[1 - at], number if node.op_type == "Mul" else 1 / number
    return None


def _fold_scale_before(graph: _Graph, conv: Any) -> None:
    """c·x -> Conv becomes x -> Conv: zeros around the map stay zeros."""
    node = graph.maker(conv.input[0])
    found = _scale(graph, node)
    if found is not None and graph.only_user(conv.input[0]) is conv:
        weight, bias = graph.weights(conv)
        graph.set_weights(conv, weight * found[1], bias)
        conv.input[0] = found[0]
        graph.graph.node.remove(node)


def _fold_scale_behind(graph: _Graph, conv: Any) -> None:
    node = graph.only_user(conv.output[0])
    found = _scale(graph, node)
    if found is not None:
        weight, bias = graph.weights(conv)
        graph.set_weights(conv, weight * found[1], bias * found[1])
        conv.output[0] = node.output[0]
        graph.graph.node.remove(node)


def _merge(graph: _Graph, siblings: list[Any]) -> None:
    """One convolution and a split in the place of several."""
    from onnx import helper

    parts = [graph.weights(conv) for conv in siblings]
    first, outputs = siblings[0], [conv.output[0] for conv in siblings]
    name = f"{outputs[0]}_together"
    counts = graph.add(np.array([len(weight) for weight, _ in parts], np.int64))
    split = helper.make_node("Split", [name, counts], outputs, name=f"{name}_split", axis=1)
    graph.set_weights(first, np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts]))
    first.output[0] = name
    for conv in siblings[1:]:
        graph.graph.node.remove(conv)
    graph.graph.node.insert(list(graph.graph.node).index(first) + 1, split)


def _fill_block(graph: _Graph, conv: Any) -> None:
    """Zeros in the place of channels that are missing to a first whole block, if only convolutions read them."""
    channels = len(graph.weights(conv)[0])
    if channels >= BLOCK:
        return
    depthwise, readers = list[Any](), list[Any]()
    waiting = [conv]
    while waiting:
        output = waiting.pop().output[0]
        if (relu := graph.only_user(output)) is not None and relu.op_type == "Relu":
            output = relu.output[0]
        if output in graph.outputs:
            return
        for user in graph.users(output):
            if user.op_type != "Conv" or user.input[1] not in graph.constants:
                return
            if _group(user) == 1:
                readers.append(user)
            elif _group(user) == channels == len(graph.weights(user)[0]):
                depthwise.append(user)
                waiting.append(user)
            else:
                return
    missing = BLOCK - channels
    for one in (conv, *depthwise):
        weight, bias = graph.weights(one)
        graph.set_weights(one, np.pad(weight, ((0, missing), (0, 0), (0, 0), (0, 0))), np.pad(bias, (0, missing)))
    for one in depthwise:
        next(attribute for attribute in one.attribute if attribute.name == "group").i = BLOCK
    for one in readers:
        weight, bias = graph.weights(one)
        graph.set_weights(one, np.pad(weight, ((0, 0), (0, missing), (0, 0), (0, 0))), bias)
