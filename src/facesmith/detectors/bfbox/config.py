"""A BFBox detector as data; no torch here."""

from dataclasses import dataclass, field
from functools import cached_property

from facesmith.detectors.bfbox.architecture import STAGES, TOP_DOWN, Architecture
from facesmith.errors import ConfigError


@dataclass(frozen=True)
class BFBoxLossConfig:
    """RetinaNet's loss (the paper's baseline), with landmarks beside it.

    Attributes:
        box: weight of the box term against the class term.
        landmark: weight of the landmark term; 0: landmarks are not learnt, as in the paper.
        alpha, gamma: of the focal loss (Lin et al. 2017, section 4).
        beta: smooth-L1 turns linear here.
        unlabelled_score: where labels are incomplete, a background anchor that scores higher is taken for an
            unlabelled face and left out.
    """

    box: float = 1.0
    landmark: float = 0.25
    alpha: float = 0.25
    gamma: float = 2.0
    beta: float = 1 / 9
    unlabelled_score: float = 0.5


@dataclass(frozen=True)
class BFBoxConfig:
    """A BFBox.

    The paper gives the widths of the stages and one anchor a cell (16 … 512 on p2 … p7). That a bottleneck is a
    quarter as wide as its stage, the stem and the 256 channels of the pyramid are ResNet's and RetinaNet's.

    Attributes:
        architecture: in the one-line text form of :mod:`facesmith.detectors.bfbox.architecture`.
        stem: channels of conv1, a stride-2 convolution and a stride-2 pooling.
        stem_kernel: side of its kernel.
        widths: channels of conv2 … conv7.
        squeeze: a stage's channels by those inside of its plain and depthwise bottlenecks.
        channels: of the pyramid.
        attention: whether each merge weighs its other input (see :mod:`facesmith.detectors.bfbox.pyramid`).
        receptive_field: whether a merge is followed by a receptive-field module; else by a 3×3 convolution.
        anchor: side of a level's anchor by its stride.
        iou: an anchor with at least this IoU learns its best face, others are background.
        forced: a face whose best anchor has at least this IoU gets that anchor in any case.
        candidates: rows that ``decode`` gives, best scores first.
        loss: see there.

    Raises:
        ConfigError: the text is no architecture, or a number is out of range.
    """

    architecture: str
    stem: int = 64
    stem_kernel: int = 7
    widths: tuple[int, ...] = (256, 256, 512, 512, 512, 256)
    squeeze: int = 4
    channels: int = 256
    attention: bool = True
    receptive_field: bool = True
    anchor: float = 4.0
    iou: float = 0.35
    forced: float = 0.2
    candidates: int = 2000
    loss: BFBoxLossConfig = field(default_factory=BFBoxLossConfig)

    def __post_init__(self) -> None:
        if len(self.widths) != len(STAGES):
            raise ConfigError(f"BFBox has {len(STAGES)} stages, conv2 to conv7, but widths are {self.widths}")
        if min(self.stem, self.squeeze, *self.widths, self.candidates) < 1 or self.channels < 4 or self.anchor <= 0:
            raise ConfigError(f"BFBox: widths, candidates and anchor must be positive, channels 4 or more: {self}")
        if min(self.widths) < self.squeeze:
            raise ConfigError(f"BFBox: a squeeze of {self.squeeze} leaves nothing of the widths {self.widths}")
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0:
            raise ConfigError(f"BFBox: the stem's kernel must be odd, not {self.stem_kernel}")
        if not (0 < self.iou <= 1 and 0 <= self.forced <= 1):
            raise ConfigError(f"BFBox: iou and forced must be in 0…1, not {self.iou} and {self.forced}")
        Architecture.parse(self.architecture)

    @cached_property
    def net(self) -> Architecture:
        """The architecture as data."""
        return Architecture.parse(self.architecture)


def uniform(block: str, counts: tuple[int, ...], pyramid: str = TOP_DOWN) -> str:
    """The text form of a backbone with one kind of block; ``counts`` are blocks a stage."""
    return "/".join(",".join([block] * count) for count in counts) + f" {pyramid}"
