"""ONNX graphs of DamoFD's stages, neck and head with random weights, for measuring latency without torch.

Batch normalisation is folded into the convolutions, as in an exported detector. Inputs are float32 (1, C, H,
W). Needs the ``onnx`` package (extra ``export``).
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from facesmith.detectors.damofd.config import Backbone, DamoFDConfig, Stage
from facesmith.detectors.damofd.layers import (
    Conv,
    Unit,
    first_units,
    later_units,
    lateral,
    predictions,
    smoothing,
    tower,
)
from facesmith.errors import MissingExtraError

Feature = tuple[str, int, int, int]
"""Name of a tensor, its channels, height and width."""


def stage_graph(stage: Stage, size: tuple[int, int], *, later: bool = False) -> bytes:
    """The first sub-layer of ``stage``, or one of the later ones, on an input of height and width
    ``size``."""
    graph = _Graph()
    feature = graph.input("x", stage.out_channels if later else stage.in_channels, size)
    units = later_units(stage) if later else first_units(stage)
    return graph.finish([graph.units(feature, units)])


def backbone_graph(backbone: Backbone, size: tuple[int, int]) -> bytes:
    """A whole backbone with the outputs of the last three stages."""
    graph = _Graph()
    return graph.finish(graph.backbone(graph.input("images", 3, size), backbone))


def neck_and_head_graph(config: DamoFDConfig, size: tuple[int, int]) -> bytes:
    """Neck and head on the taps of ``config``'s backbone, for a detector input of height and width
    ``size``."""
    graph = _Graph()
    taps, (height, width) = [], size
    for index, channels in enumerate(config.net.taps):
        height, width = (height + 1) // 2, (width + 1) // 2
        if index == 0:
            height, width = (height + 1) // 2, (width + 1) // 2
        else:
            taps.append(graph.input(f"tap{index}", channels, (height, width)))
    return graph.finish(graph.neck_and_head(taps, config))


def detector_graph(config: DamoFDConfig, size: tuple[int, int]) -> bytes:
    """The whole detector up to its raw maps."""
    graph = _Graph()
    taps = graph.backbone(graph.input("images", 3, size), config.net)
    return graph.finish(graph.neck_and_head(taps, config))


class _Graph:
    """Nodes and weights of an ONNX graph under construction."""

    def __init__(self) -> None:
        self._onnx = _import_onnx()
        self._inputs: list[Any] = []
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._random = np.random.default_rng(0)

    def input(self, name: str, channels: int, size: tuple[int, int]) -> Feature:
        shape = [1, channels, *size]
        kind = self._onnx.TensorProto.FLOAT
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, shape))
        return name, channels, *size

    def backbone(self, feature: Feature, backbone: Backbone) -> list[Feature]:
        taps = []
        for stage in backbone.stages:
            feature = self.units(feature, first_units(stage))
            for _ in range(stage.layers - 1):
                feature = self.units(feature, later_units(stage))
            taps.append(feature)
        return taps[2:]

    def units(self, feature: Feature, units: Sequence[Unit]) -> Feature:
        for unit in units:
            result = feature
            for conv in unit.convs:
                result = self.conv(result, conv)
            if unit.residual:
                shortcut = self.conv(feature, unit.projection) if unit.projection else feature
                result = self.relu(self.add(result, shortcut))
            feature = result
        return feature

    def neck_and_head(self, taps: Sequence[Feature], config: DamoFDConfig) -> list[Feature]:
        levels = [self.conv(tap, lateral(config, tap[1])) for tap in taps]
        for upper in range(len(levels) - 1, 0, -1):
            levels[upper - 1] = self.add(levels[upper - 1], self.enlarge(levels[upper], levels[upper - 1]))
        levels = [self.conv(level, smoothing(config)) for level in levels]
        for lower in range(len(levels) - 1):
            down = self.conv(levels[lower], smoothing(config, stride=2))
            levels[lower + 1] = self.add(levels[lower + 1], down)
        levels[1:] = [self.conv(level, smoothing(config)) for level in levels[1:]]
        outputs = []
        for level in levels:
            for conv in tower(config):
                level = self.group_norm(self.conv(level, conv._replace(relu=False)), config.head_groups)
                level = self.relu(level)
            outputs += [self.conv(level, conv) for conv in predictions(config)]
        return outputs

    def conv(self, feature: Feature, conv: Conv) -> Feature:
        name, channels, height, width = feature
        if channels != conv.in_channels:
            raise ValueError(f"{conv} on {channels} channels")
        shape = (conv.out_channels, conv.in_channels // conv.groups, conv.kernel, conv.kernel)
        scale = (conv.weights / conv.out_channels) ** -0.5
        weights = [self._weight(self._random.standard_normal(shape) * scale)]
        if conv.bias or conv.norm:
            weights.append(self._weight(self._random.standard_normal(conv.out_channels) * 0.1))
        pad = conv.kernel // 2
        result = self._node(
            "Conv",
            [name, *weights],
            kernel_shape=[conv.kernel] * 2,
            strides=[conv.stride] * 2,
            pads=[pad] * 4,
            group=conv.groups,
        )
        size = -(-height // conv.stride), -(-width // conv.stride)
        feature = result, conv.out_channels, *size
        return self.relu(feature) if conv.relu else feature

    def relu(self, feature: Feature) -> Feature:
        return self._node("Relu", [feature[0]]), *feature[1:]

    def add(self, one: Feature, other: Feature) -> Feature:
        return self._node("Add", [one[0], other[0]]), *one[1:]

    def enlarge(self, feature: Feature, like: Feature) -> Feature:
        """Nearest neighbour, to the size of ``like``."""
        sizes = self._weight(np.array([1, feature[1], *like[2:]], np.int64))
        settings = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return self._node("Resize", [feature[0], "", "", sizes], **settings), feature[1], *like[2:]

    def group_norm(self, feature: Feature, groups: int) -> Feature:
        name, channels, height, width = feature
        flat = self._node("Reshape", [name, self._weight(np.array([1, groups, -1], np.int64))])
        plain = [self._weight(np.ones(groups)), self._weight(np.zeros(groups))]
        normal = self._node("InstanceNormalization", [flat, *plain])
        shape = self._weight(np.array([1, channels, height, width], np.int64))
        full = self._node("Reshape", [normal, shape])
        scale = self._weight(1 + 0.1 * self._random.standard_normal((1, channels, 1, 1)))
        shift = self._weight(0.1 * self._random.standard_normal((1, channels, 1, 1)))
        return self._node("Add", [self._node("Mul", [full, scale]), shift]), *feature[1:]

    def finish(self, outputs: Sequence[Feature]) -> bytes:
        helper = self._onnx.helper
        ends = [helper.make_tensor_value_info(f[0], self._onnx.TensorProto.FLOAT, [1, *f[1:]]) for f in outputs]
        graph = helper.make_graph(self._nodes, "part", self._inputs, ends, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _weight(self, values: Any) -> str:
        array = values if values.dtype == np.int64 else values.astype(np.float32)
        name = f"w{len(self._weights)}"
        self._weights.append(self._onnx.numpy_helper.from_array(array, name))
        return name


def _import_onnx() -> ModuleType:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise MissingExtraError("measuring latency needs the onnx package: pip install 'facesmith[export]'") from error
    return onnx
