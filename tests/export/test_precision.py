"""Which convolutions of a drawn network are quantised."""

import onnx
from onnx import TensorProto, helper

from facesmith.export.precision import integer_nodes, network_nodes


class Drawing:
    """A graph in the making; every method adds a node and gives the name of its output, which is the node's too."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, bytes(4 * _size(shape)), raw=True))
        return name

    def conv(self, name: str, source: str, out: int, channels: int, kernel: int = 3, stride: int = 1) -> str:
        weight = self.weight(f"{name}_w", out, channels, kernel, kernel)
        group = out if channels == 1 else 1
        return self.node("Conv", name, source, weight, strides=[stride, stride], group=group)

    def node(self, kind: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def chosen(self) -> set[str]:
        graph = helper.make_graph(self.nodes, "drawing", [], [], self.weights)
        assert {node.name for node in network_nodes(graph)} >= {n.name for n in self.nodes if n.op_type == "Conv"}
        return {node.name for node in integer_nodes(graph)}


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


def test_light_convolutions_near_the_picture_stay_in_float() -> None:
    g = Drawing()
    stem = g.node("Relu", "stem_r", g.conv("stem", "images", 16, 3, stride=2))
    deep = g.node("Relu", "deep_r", g.conv("deep", stem, 16, 1, stride=2))
    point = g.node("Relu", "point_r", g.conv("point", deep, 64, 16, kernel=1))
    g.conv("end", point, 64, 64)
    assert g.chosen() == {"point", "point_r", "end"}


def test_heavy_ones_near_the_picture_do_not() -> None:
    g = Drawing()
    stem = g.node("Relu", "stem_r", g.conv("stem", "images", 64, 3, stride=2))
    g.conv("next", stem, 64, 64)
    assert g.chosen() == {"next"}


def test_wide_depthwise_kernels_stay_in_float_and_3x3_do_not() -> None:
    g = Drawing()
    map_ = g.conv("first", "images", 64, 3, kernel=7, stride=8)
    wide = g.node("Relu", "wide_r", g.conv("wide", map_, 64, 1, kernel=7))
    small = g.conv("small", g.conv("middle", wide, 64, 64, kernel=1), 64, 1)
    g.conv("end", small, 64, 64)
    assert g.chosen() == {"first", "middle", "small", "end"}


def test_between_group_norms_only_the_heavy_convolutions_are_integers() -> None:
    g = Drawing()
    map_ = g.conv("first", "images", 64, 3, kernel=7, stride=8)
    scale = g.weight("scale", 64, 1, 1)
    for name, kernel in (("light", 1), ("heavy", 3)):
        normal = g.node("InstanceNormalization", f"{name}_n", map_, scale, scale)
        shifted = g.node("Relu", f"{name}_r", g.node("Add", f"{name}_a", normal, scale))
        map_ = g.node(
            "InstanceNormalization", f"{name}_out", g.conv(name, shifted, 64, 64, kernel=kernel), scale, scale
        )
    g.conv("end", map_, 64, 64)
    assert g.chosen() == {"first", "heavy", "end"}


def test_a_sum_of_an_integer_map_and_a_float_one_is_an_integer_one() -> None:
    g = Drawing()
    stem = g.conv("stem", "images", 16, 3, stride=2)
    side = g.conv("side", g.conv("up", stem, 64, 16), 16, 64)
    g.conv("end", g.node("Concat", "both", stem, side, axis=1), 16, 32)
    assert g.chosen() == {"up", "side", "both", "end"}
