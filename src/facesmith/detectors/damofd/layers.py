"""What DamoFD's stages, neck and head are made of: convolutions and residual units, as data.

Parameter and MAC counters, latency graphs and the network all read the same description. No torch here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from facesmith.detectors.damofd.config import Block, DamoFDConfig, Stage


class Conv(NamedTuple):
    """A convolution (padding kernel // 2) and what follows it at once.

    Attributes:
        in_channels, out_channels, kernel, stride, groups: of the convolution.
        bias: whether it has one.
        norm: whether a normalisation with scale and shift follows: batch normalisation in the backbone, group
            normalisation in the head.
        relu: whether ReLU follows that.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = True
    relu: bool = True

    @property
    def weights(self) -> int:
        """Elements of the kernel."""
        return self.in_channels // self.groups * self.out_channels * self.kernel**2

    @property
    def parameters(self) -> int:
        """Kernel, bias, and the normalisation's scale and shift."""
        return self.weights + self.out_channels * (self.bias + 2 * self.norm)


class Unit(NamedTuple):
    """Convolutions in a row, with or without a shortcut around them.

    Attributes:
        convs: in order; at most one has stride 2.
        residual: whether the input is added to the last convolution's output, ReLU following.
        projection: the shortcut's 1×1 convolution; None: the input as it is.
    """

    convs: tuple[Conv, ...]
    residual: bool
    projection: Conv | None = None


def first_units(stage: Stage) -> tuple[Unit, ...]:
    """The units of a stage's first sub-layer, which has the stage's stride and always a projection
    shortcut."""
    return _sublayer(stage, stage.in_channels, stage.stride, True)


def later_units(stage: Stage) -> tuple[Unit, ...]:
    """The units of each further sub-layer."""
    return _sublayer(stage, stage.out_channels, 1, False)


def _sublayer(stage: Stage, in_channels: int, stride: int, first: bool) -> tuple[Unit, ...]:
    k, mid, out = stage.kernel, stage.bottleneck, stage.out_channels
    match stage.block:
        case Block.CONV:
            return (Unit((Conv(in_channels, out, k, stride),), residual=False),)
        case Block.KXK:
            convs = (Conv(in_channels, mid, k, stride), Conv(mid, out, k, relu=False))
            return (_residual(convs, first),)
        case Block.K1KXK1:
            return (
                _residual(_squeezed(in_channels, mid, out, k, stride, 1), first),
                _residual(_squeezed(out, mid, out, k, 1, 1), False),
            )
        case Block.IDWE:
            wide, wider = stage.expansion * mid, stage.expansion * out
            return (
                _residual(_squeezed(in_channels, wide, mid, k, stride, wide), first),
                _residual(_squeezed(mid, wider, out, k, 1, wider), False),
            )


def _squeezed(in_channels: int, mid: int, out: int, kernel: int, stride: int, groups: int) -> tuple[Conv, ...]:
    """1×1, K×K, 1×1; the stride lies in the middle."""
    return (
        Conv(in_channels, mid, 1),
        Conv(mid, mid, kernel, stride, groups),
        Conv(mid, out, 1, relu=False),
    )


def _residual(convs: tuple[Conv, ...], first: bool) -> Unit:
    """With a projection shortcut in the first unit of a stage, and wherever the widths differ."""
    in_channels, out = convs[0].in_channels, convs[-1].out_channels
    if not first and in_channels == out:
        return Unit(convs, residual=True)
    stride = max(conv.stride for conv in convs)
    return Unit(convs, True, Conv(in_channels, out, 1, stride, bias=True, relu=False))


def lateral(config: DamoFDConfig, channels: int) -> Conv:
    """The neck's 1×1 convolution from a tap of so many channels."""
    return Conv(channels, config.neck_channels, 1, bias=True, norm=False, relu=False)


def smoothing(config: DamoFDConfig, stride: int = 1) -> Conv:
    """A 3×3 convolution of the PAFPN: one after the top-down sum on each level; on the upper two levels also
    one of stride 2 from the level below and one after the bottom-up sum.

    (Without the three first ones the published parameter counts would come out 3 to 7 % short.)
    """
    return Conv(config.neck_channels, config.neck_channels, 3, stride, bias=True, norm=False, relu=False)


def tower(config: DamoFDConfig) -> Iterator[Conv]:
    """The head's convolutions, which all levels and all branches share."""
    width = config.neck_channels
    for _ in range(config.head_convs):
        if config.head_depthwise:
            yield Conv(width, width, 3, groups=width)
        yield Conv(width, config.head_channels, 1 if config.head_depthwise else 3)
        width = config.head_channels


def predictions(config: DamoFDConfig) -> Iterator[Conv]:
    """The head's last convolutions: scores, boxes and landmarks of two anchors a position."""
    for values in (1, 4, 10) if config.landmarks else (1, 4):
        yield Conv(config.head_channels, 2 * values, 3, bias=True, norm=False, relu=False)
