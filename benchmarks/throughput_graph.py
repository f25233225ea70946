"""An exported model taken apart: how much it multiplies and moves, and the part that decodes its maps alone."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from facesmith.export.precision import network_nodes

Arrays = dict[str, npt.NDArray[Any]]
_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


class Work(NamedTuple):
    """What one image costs at least.

    Attributes:
        flops: of the network's convolutions and matrix products, a multiplication and an addition being two.
        decoding_flops: of the matrix products behind them.
        maps: elements that the network's convolutions read and write, were all else fused into them.
        weights: elements of their weights, read once a batch.
        raw: bytes of the raw maps and of the outputs, which decoding reads and writes.
    """

    flops: float
    decoding_flops: float
    maps: float
    weights: float
    raw: float


class Graph:
    """An exported model of float32.

    Args:
        model: the ONNX file.
        images: (B, H, W, 3) uint8, at the size to look into.
    """

    def __init__(self, model: bytes, images: npt.NDArray[np.uint8]) -> None:
        self._proto = onnx.load_from_string(model)
        self._network = network_nodes(self._proto.graph)
        inside = {node.output[0] for node in self._network}
        self._decoding = [node for node in self._proto.graph.node if node.output[0] not in inside]
        heads = {node.output[0] for node in self._network if node.op_type == "Conv"}
        self._raw = sorted({name for node in self._decoding for name in node.input} & heads)
        self._images = images
        self._constants = {tensor.name: tuple(tensor.dims) for tensor in self._proto.graph.initializer}

    def work(self) -> Work:
        """Counted on the shapes that the graph has on one of the images."""
        products = [node for node in self._proto.graph.node if node.op_type in _PRODUCTS]
        names = {name for node in products for name in (*node.input[:2], *node.output)} - {"images"}
        outputs = [output.name for output in self._proto.graph.output]
        values = self._run(sorted(names - self._constants.keys() | {*self._raw, *outputs}), self._images[:1])
        shapes = {**self._constants, **{name: value.shape for name, value in values.items()}}
        inside = {node.output[0] for node in self._network}
        flops, maps, weights = {True: 0.0, False: 0.0}, 0.0, 0.0
        for node in products:
            ours = node.output[0] in inside
            source, factor, target = (shapes[name] for name in (*node.input[:2], node.output[0]))
            flops[ours] += _flops(node, source, factor, target)
            if ours:
                maps += np.prod(source) + np.prod(target)
                weights += np.prod(factor)
        raw = sum(values[name].nbytes for name in (*self._raw, *outputs))
        return Work(flops[True], flops[False], float(maps), float(weights), float(raw))

    def decoding(self) -> tuple[bytes, Arrays]:
        """The graph behind the raw maps as a model, and what to feed it for the images.

        Raises:
            SystemExit: it cannot be cut off there.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        maker = {output: node for node in proto.graph.node for output in node.output}
        waiting, needed = [output.name for output in proto.graph.output], set[str]()
        while waiting:
            name = waiting.pop()
            if name in maker and name not in self._raw and maker[name].output[0] not in needed:
                needed.add(maker[name].output[0])
                waiting += maker[name].input
        kept = [node for node in proto.graph.node if node.output[0] in needed]
        if any(node.op_type == "Conv" for node in kept):
            raise SystemExit("this model's decoding reads more of the network than its last maps: it cannot be timed")
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        feeds: Arrays = self._run(self._raw, self._images)
        used = {name for node in kept for name in node.input}
        if "images" in used:
            feeds["images"] = self._images
        else:
            del proto.graph.input[:]
        for name in self._raw:
            kind = onnx.TensorProto.FLOAT
            proto.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, [None] * feeds[name].ndim))
        del proto.graph.value_info[:]
        return proto.SerializeToString(), feeds

    def _run(self, names: list[str], images: npt.NDArray[np.uint8]) -> Arrays:
        """The values of any tensors of the graph."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        del proto.graph.output[:]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, {"images": images}), strict=True))


def _flops(node: Any, source: tuple[int, ...], factor: tuple[int, ...], target: tuple[int, ...]) -> float:
    """``source`` and ``factor`` are the shapes of the first two inputs, ``target`` that of the output."""
    if node.op_type == "ConvTranspose":
        return 2.0 * float(np.prod(source)) * float(np.prod(factor[1:]))
    if node.op_type == "Conv":
        return 2.0 * float(np.prod(target)) * float(np.prod(factor[1:]))
    transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
    return 2.0 * float(np.prod(target)) * source[-2 if transposed else -1]
