"""A DamoFD network as data: blocks, backbone, neck and head; the one-line text form; the four published nets.

Source: "DamoFD: Digging into Backbone Design on Face Detection" (ICLR 2023). What the paper leaves out (block
layouts, neck, head, the released nets) follows the authors' public configurations. No torch here.
"""

import enum
import re
from dataclasses import dataclass
from functools import cached_property

from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.errors import ConfigError


class Block(enum.Enum):
    """What a stage's sub-layers are made of. Every unit ends with batch normalisation, shortcut, ReLU."""

    CONV = "Conv"
    """The stem: K×K convolutions, no shortcut."""
    KXK = "KxK"
    """One residual unit: K×K to the bottleneck width, K×K to the out width."""
    K1KXK1 = "K1KxK1"
    """Two bottleneck residual units: 1×1, K×K, 1×1."""
    IDWE = "IDWE"
    """Two inverted residual units: 1×1, depthwise K×K, 1×1; the first to the bottleneck width, the second
    to the out width."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Sub-layers of one resolution, in the papers' notation ``TYPE(in, out, stride, bottleneck, layers)``.

    Attributes:
        block: kind of the sub-layers.
        kernel: side of the K×K convolutions, odd.
        in_channels, out_channels: widths.
        stride: of the first sub-layer's K×K convolution (1 or 2).
        bottleneck: inner width; 0 in the stem, which has none.
        layers: number of sub-layers.
        expansion: of the depthwise convolutions (``IDWE`` only, else 1).
    """

    block: Block
    kernel: int
    in_channels: int
    out_channels: int
    stride: int
    bottleneck: int
    layers: int
    expansion: int = 1

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.layers, self.expansion) < 1:
            raise ConfigError(f"stage {self}: widths, layers and expansion must be at least 1")
        if self.kernel % 2 == 0 or self.kernel < 1:
            raise ConfigError(f"stage {self}: the kernel must be odd, got {self.kernel}")
        if self.stride not in (1, 2):
            raise ConfigError(f"stage {self}: the stride must be 1 or 2, got {self.stride}")
        if (self.bottleneck == 0) != (self.block is Block.CONV) or self.bottleneck < 0:
            raise ConfigError(f"stage {self}: every block but the stem needs a bottleneck width")
        if self.expansion != 1 and self.block is not Block.IDWE:
            raise ConfigError(f"stage {self}: only IDWE blocks have an expansion, got {self.expansion}")

    def __str__(self) -> str:
        k = self.kernel
        match self.block:
            case Block.CONV:
                return f"K{k}({self.in_channels},{self.out_channels},{self.stride},{self.layers})"
            case Block.KXK:
                name = f"K{k}K{k}"
            case Block.K1KXK1:
                name = f"K1K{k}K1"
            case Block.IDWE:
                name = f"IDWE{self.expansion}K{k}"
        return f"{name}({self.in_channels},{self.out_channels},{self.stride},{self.bottleneck},{self.layers})"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A stem and four stages, each halving the resolution: taps at strides 4, 8, 16, 32 of the input.

    ``str(backbone)`` is the one-line text form, ``Backbone.parse`` reads it back.
    """

    stages: tuple[Stage, Stage, Stage, Stage, Stage]

    def __post_init__(self) -> None:
        if len(self.stages) != 5:
            raise ConfigError(f"a backbone has a stem and four stages, got {len(self.stages)} in all: {self}")
        if [s.block is Block.CONV for s in self.stages] != [True] + [False] * 4:
            raise ConfigError(f"a backbone begins with its only stem, such as K3(3,32,2,1); got {self}")
        if self.stages[0].in_channels != 3:
            raise ConfigError(f"the stem takes the 3 colours, got {self.stages[0].in_channels} in {self}")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            if before.out_channels != after.in_channels:
                raise ConfigError(
                    f"{after} must take the {before.out_channels} channels that {before} gives, in {self}"
                )
        if any(s.stride != 2 for s in self.stages):
            raise ConfigError(f"every stage must have stride 2, in {self}")

    def __str__(self) -> str:
        return "".join(map(str, self.stages))

    @property
    def layers(self) -> int:
        """Sub-layers in all, the stem's convolutions included."""
        return sum(s.layers for s in self.stages)

    @property
    def taps(self) -> tuple[int, ...]:
        """Channels at strides 4, 8, 16, 32."""
        return tuple(stage.out_channels for stage in self.stages[1:])

    @classmethod
    def parse(cls, text: str) -> "Backbone":
        """Read ``K3(3,32,2,1)IDWE1K3(32,32,2,8,1)…``.

        Stages may be parted by spaces or commas, and the authors' longer names (``SuperConvK3BNRELU``,
        ``SuperResIDWE1K3``) are understood.

        Raises:
            ConfigError: the text is not five such stages that fit each other.
        """
        stages, position = [], 0
        for found in _STAGE.finditer(text):
            if text[position : found.start()].strip(" ,\n"):
                break
            stages.append(_stage(found["name"], found["numbers"], text))
            position = found.end()
        if text[position:].strip(" ,\n") or len(stages) != 5:
            raise ConfigError(
                f"cannot read a backbone from {text!r}: wanted a stem and four stages, such as "
                "K3(3,32,2,1)IDWE1K3(32,32,2,8,1)…, "
                + (f"found {len(stages)} stages" if len(stages) != 5 else f"stuck at {text[position:]!r}")
            )
        return cls(tuple(stages))  # type: ignore[arg-type]  # the length was checked


_RELEASED_HALF_G = "K3(3,32,2,1)IDWE1K3(32,32,2,8,1)IDWE1K7(32,64,2,40,1)IDWE1K7(64,120,2,40,2)IDWE1K5(120,160,2,120,1)"
_STAGE = re.compile(r"(?P<name>[A-Za-z0-9]+)\((?P<numbers>[^()]*)\)")
_STEM_NAME = re.compile(r"(?:SuperConv)?K(\d+)(?:BNRELU)?")
_IDWE_NAME = re.compile(r"(?:SuperRes)?IDWE(\d+)K(\d+)")
_KXK_NAME = re.compile(r"(?:SuperRes)?K(\d+)K\1")
_K1KXK1_NAME = re.compile(r"(?:SuperRes)?K1K(\d+)K1")


def _stage(name: str, numbers: str, text: str) -> Stage:
    try:
        values = [int(n) for n in numbers.split(",")]
    except ValueError:
        raise ConfigError(f"{name}({numbers}) in {text!r}: wanted whole numbers") from None
    stem = _STEM_NAME.fullmatch(name)
    wanted = 4 if stem else 5
    if len(values) != wanted:
        raise ConfigError(f"{name}({numbers}) in {text!r}: wanted {wanted} numbers, got {len(values)}")
    in_channels, out_channels, stride, *bottleneck, layers = values
    expansion = 1
    if stem:
        block, kernel = Block.CONV, int(stem[1])
    elif found := _IDWE_NAME.fullmatch(name):
        block, kernel, expansion = Block.IDWE, int(found[2]), int(found[1])
    elif found := _KXK_NAME.fullmatch(name):
        block, kernel = Block.KXK, int(found[1])
    elif found := _K1KXK1_NAME.fullmatch(name):
        block, kernel = Block.K1KXK1, int(found[1])
    else:
        raise ConfigError(f"unknown block {name!r} in {text!r}; known: K3, K3K3, K1K3K1, IDWE1K3")
    return Stage(
        block,
        kernel,
        in_channels,
        out_channels,
        stride,
        bottleneck[0] if bottleneck else 0,
        layers,
        expansion,
    )


@dataclass(frozen=True)
class DamoFDLossConfig:
    """The loss (facts/damofd).

    Attributes:
        score: weight of the quality focal loss.
        box: weight of the DIoU loss.
        landmark: weight of the smooth-L1 loss of landmarks.
        unlabelled_score: where labels are incomplete, a background anchor that scores higher is taken for an
            unlabelled face and left out.
    """

    score: float = 1.0
    box: float = 2.0
    landmark: float = 0.1
    unlabelled_score: float = 0.5


@dataclass(frozen=True)
class DamoFDConfig:
    """A whole detector: backbone, PAFPN neck on the last three taps, one head that the three levels share.

    The defaults are the released DamoFD-0.5G with a landmark branch.

    Attributes:
        backbone: in the one-line text form (:attr:`net` is the same as data), or a MobileNet with taps at strides 8,
            16, 32, to compare with in the same framework.
        neck_channels: width of the three pyramid levels.
        head_convs, head_channels: the tower that scores, boxes and landmarks share.
        head_depthwise: depthwise-separable convolutions in the tower instead of full 3×3 ones.
        head_groups: groups of the tower's group normalisation.
        landmarks: whether the head has a landmark branch. The released nets come without and with it ("KPS").
        candidates: rows that the network's ``decode`` gives, best scores first.
        loss: weights of the loss.

    Raises:
        ConfigError: a value is out of range, or the backbone's text is no backbone.
    """

    backbone: str | MobileNetConfig = _RELEASED_HALF_G
    neck_channels: int = 16
    head_convs: int = 2
    head_channels: int = 64
    head_depthwise: bool = True
    head_groups: int = 16
    landmarks: bool = True
    candidates: int = 2000
    loss: DamoFDLossConfig = DamoFDLossConfig()

    def __post_init__(self) -> None:
        if isinstance(self.backbone, str):
            Backbone.parse(self.backbone)
        if min(self.neck_channels, self.head_convs, self.head_channels, self.head_groups) < 1:
            raise ConfigError("DamoFD: widths, convolutions and groups must be at least 1")
        grouped = [self.head_channels, *([self.neck_channels] if self.head_depthwise else [])]
        if any(channels % self.head_groups for channels in grouped):
            raise ConfigError(f"DamoFD: {self.head_groups} groups must divide the normalised widths, {grouped}")

    @cached_property
    def net(self) -> Backbone:
        """The backbone as data.

        Raises:
            ConfigError: it is a MobileNet, which has no such form.
        """
        if not isinstance(self.backbone, str):
            raise ConfigError("a MobileNet backbone has no stages of DamoFD's kind")
        return Backbone.parse(self.backbone)


RELEASED: dict[str, DamoFDConfig] = {
    "0.5G": DamoFDConfig(),
    "2.5G": DamoFDConfig(
        "K3(3,24,2,2)K3K3(24,32,2,24,4)K3K3(32,56,2,16,4)K5K5(56,88,2,8,5)K1K5K1(88,128,2,8,4)",
        neck_channels=24,
        head_depthwise=False,
    ),
    "10G": DamoFDConfig(
        "K3(3,56,2,2)K1K3K1(56,80,2,40,5)K1K5K1(80,112,2,32,5)K1K3K1(112,168,2,16,4)K7K7(168,256,2,8,1)",
        neck_channels=56,
        head_convs=3,
        head_channels=80,
        head_depthwise=False,
    ),
    "34G": DamoFDConfig(
        "K3(3,56,2,2)K1K3K1(56,224,2,80,5)K1K3K1(224,488,2,40,6)K1K3K1(488,624,2,72,4)K1K7K1(624,816,2,24,3)",
        neck_channels=128,
        head_channels=256,
        head_depthwise=False,
        head_groups=32,
    ),
}
"""The released detectors by their nominal FLOPs at 640×480."""
