"""Which parts of an exported graph are worth computing in eight-bit integers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

QUANTISED = ("Conv", "Relu", "LeakyRelu", "MaxPool", "Add", "Concat", "Resize")
"""Operators that work on eight-bit maps. All others between them take the maps back to float32 and cost more than
the convolutions win."""

COARSE = 4.0
"""Stride from which on maps are small enough for the caches."""

FEW_PRODUCTS = 32
ISLAND_PRODUCTS = 128
"""Products that make one value of a map; see :func:`integer_nodes`."""


def network_nodes(graph: Any) -> list[Any]:
    """The nodes of an ONNX graph that a convolution depends on, and the convolutions; the rest decodes their maps."""
    maker = {output: node for node in graph.node for output in node.output}
    waiting, found = [node for node in graph.node if node.op_type == "Conv"], set[str]()
    while waiting:
        node = waiting.pop()
        if node.output[0] not in found:
            found.add(node.output[0])
            waiting += [maker[name] for name in node.input if name in maker]
    return [node for node in graph.node if node.output[0] in found]


def integer_nodes(graph: Any) -> list[Any]:
    """The nodes of an exported graph that are worth computing in integers.

    Measured with onnxruntime on one thread with AVX-512 VNNI at 640×480, int8 is this many times as fast as float32:
    3×3 of 64 channels 3.5, 1×1 of 64 and more 2.6, depthwise 3×3 .8 to .9. Not worth it are

    - near the picture, where few products make a value and moving the maps is the limit: a 3×3 of 3 channels .3,
      depthwise .3, 1×1 of 8 to 32 channels .8 to 1.2;
    - depthwise 5×5 and 7×7 anywhere: .2 to .5;
    - a light convolution between two float operators, such as group normalisation, which pays for two conversions;
    - what is no convolution and has float operators alone before it.
    """
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    network = [node for node in network_nodes(graph) if node.op_type in QUANTISED]
    strides = _strides(graph, weights)
    chosen = {
        node.name for node in network if node.op_type != "Conv" or _pays(weights[node.input[1]], strides[node.input[0]])
    }
    maker = {output: node.name for node in graph.node for output in node.output}
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    before = -1
    while before != len(chosen):  # what leaves may leave others alone
        before = len(chosen)
        for node in network:
            data = node.input[:1] if node.op_type in ("Conv", "Resize") else node.input
            alone = not any(maker.get(name) in chosen for name in data)
            if node.op_type == "Conv":
                light = int(np.prod(weights[node.input[1]][1:])) < ISLAND_PRODUCTS
                alone &= light and not any(reader in chosen for reader in readers.get(node.output[0], ()))
            if alone:
                chosen.discard(node.name)
    return [node for node in network if node.name in chosen]


def _pays(weight: tuple[int, ...], stride: float) -> bool:
    """Whether a convolution of (out, in, h, w) weights on a map of ``stride`` may be faster in integers."""
    _, channels, height, width = weight
    products = channels * height * width
    return not (channels == 1 and products > 9) and not (products <= FEW_PRODUCTS and stride < COARSE)


def _strides(graph: Any, weights: Mapping[str, Any]) -> dict[str, float]:
    """Pixels of the picture between two neighbours of a map, for the maps of the network."""
    strides = {"images": 1.0}
    for node in graph.node:
        known = [strides[name] for name in node.input if name in strides and name not in weights]
        if not known:
            continue
        own = next((one.ints[0] for one in node.attribute if one.name == "strides"), 1)
        factor = 0.5 if node.op_type == "Resize" else own  # every upsampling is a doubling
        strides.update(dict.fromkeys(node.output, max(known) * factor))
    return strides
