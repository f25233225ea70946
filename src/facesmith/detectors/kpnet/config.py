"""Everything that shapes a KPNet and its loss."""

import math
from dataclasses import dataclass, field

from facesmith.box_styles import WIDER, BoxStyle
from facesmith.errors import ConfigError
from facesmith.faces import FIVE_OF

STRIDE = 2
"""Total stride N_s of both backbones."""

BINS = 60
"""Scale bins S: ten an octave, from 2⁵ to 2¹¹ in units of I_max / 2048."""


@dataclass(frozen=True)
class DRNetConfig:
    """The de-redundancy net.

    Attributes:
        stem: channels at strides 2 and 4.
        deep: channels at stride 8, and of the features.

    Raises:
        ConfigError: a number is below 1.
    """

    stem: int = 64
    deep: int = 128

    def __post_init__(self) -> None:
        if min(self.stem, self.deep) < 1:
            raise ConfigError(f"DRNet needs stem and deep of at least 1, not {self.stem} and {self.deep}")


@dataclass(frozen=True)
class HourglassConfig:
    """Hourglass_light.

    Attributes:
        channels: channels of every map.
        depth: how often it halves its map.

    Raises:
        ConfigError: a number is below 1.
    """

    channels: int = 64
    depth: int = 4

    def __post_init__(self) -> None:
        if min(self.channels, self.depth) < 1:
            raise ConfigError(
                f"an hourglass needs channels and depth of at least 1, not {self.channels} and {self.depth}"
            )


@dataclass(frozen=True)
class ScaleConfig:
    """The scale map (Eq. 1-3).

    Attributes:
        side: I_max of Eq. 1, the longer side of training pictures in pixels. It is fixed whatever the size of a
            picture, because a network sees absolute pixels; for pictures of this side that is the paper's rule.
            Faces of ``side`` / 64 … ``side`` pixels have bins of their own.
        sigma: σ of Eq. 3. The paper's 0.1 leaves next to nothing for neighbours but of large faces.

    Raises:
        ConfigError: a number is not positive.
    """

    side: int = 256
    sigma: float = 0.1

    def __post_init__(self) -> None:
        if self.side < 1 or not self.sigma > 0:
            raise ConfigError(f"the scale map needs side and sigma above 0, not {self.side} and {self.sigma}")


@dataclass(frozen=True)
class RPNConfig:
    """An anchor-based region proposal network in the scale map's place (Table 6's top-down baseline).

    The paper says no more of it. Square anchors, two an octave, keep the worst IoU of a centred face at 0.71; 8 pixels
    between their centres is half the stride of the paper's own anchor-based detector (RSA: 16), and as large as the
    smallest anchor, below which faces are few pixels.

    Attributes:
        side: the longer side of training pictures, and of the largest anchor, in pixels.
        stride: pixels between anchors, a power of two times the features' stride.
        smallest: side of the smallest anchor in pixels.
        per_octave: sides of anchors an octave.
        positive, negative: IoU from which an anchor learns its face, and below which it is background.
        overlap: of two predicted boxes whose IoU is above this, only the better is a proposal.

    Raises:
        ConfigError: a number out of range.
    """

    side: int = 256
    stride: int = 8
    smallest: float = 8.0
    per_octave: int = 2
    positive: float = 0.5
    negative: float = 0.3
    overlap: float = 0.7

    def __post_init__(self) -> None:
        if self.stride < STRIDE or self.stride & (self.stride - 1) or self.per_octave < 1:
            raise ConfigError(
                f"anchors need a power of two of at least {STRIDE} as their stride and at least 1 side an octave, "
                f"not {self.stride} and {self.per_octave}"
            )
        if not 0 < self.smallest <= self.side or not 0 <= self.negative <= self.positive <= 1:
            raise ConfigError(f"anchors need 0 < smallest <= side and 0 <= negative <= positive <= 1: {self}")

    @property
    def sides(self) -> tuple[float, ...]:
        """Sides of the anchors in pixels, rising."""
        count = math.floor(math.log2(self.side / self.smallest) * self.per_octave + 1e-6) + 1
        return tuple(self.smallest * 2 ** (k / self.per_octave) for k in range(count))


@dataclass(frozen=True)
class SoftArgmaxConfig:
    """Landmarks by the scale adaptive soft-argmax (Eq. 5-6).

    Attributes:
        scored: how many of the five landmarks, from the first, raise a face's score (Eq. 8: 3, both eyes and nose).

    Raises:
        ConfigError: ``scored`` is not in 0…5.
    """

    scored: int = 3

    def __post_init__(self) -> None:
        _check_scored(self.scored)


@dataclass(frozen=True)
class ArgmaxConfig:
    """Landmarks as the hottest cells of their windows (Table 2's *argmax*).

    Attributes:
        scored: how many of the five landmarks, from the first, raise a face's score, each by its probability.
        weight: of the cross entropy of the heat maps (Eq. 4), in the place of ``KPNetLossConfig.keypoint``.

    Raises:
        ConfigError: ``scored`` is not in 0…5.
    """

    scored: int = 3
    weight: float = 10_000.0

    def __post_init__(self) -> None:
        _check_scored(self.scored)


def _check_scored(scored: int) -> None:
    if not 0 <= scored <= 5:
        raise ConfigError(f"of five landmarks 0 to 5 can raise a score, not {scored}")


@dataclass(frozen=True)
class RegressionConfig:
    """Landmarks by a fully connected layer on the mean features of the window (Table 2's *regression*)."""


@dataclass(frozen=True)
class TemplateConfig:
    """Landmarks where the template has them in the proposal's square: proposals alone (Table 3's first rows).

    With ``box_style=SQUARE`` boxes are the proposals' own squares. Nothing is learnt.
    """


@dataclass(frozen=True)
class KPNetLossConfig:
    """The two terms.

    Attributes:
        scale: weight of Eq. 4.
        keypoint: weight of Eq. 7.
        unlabelled_score: where labels are incomplete, a cell (or anchor) off the labels that scores higher is taken for
            an unlabelled face and left out.
    """

    scale: float = 10_000.0
    keypoint: float = 1.0
    unlabelled_score: float = 0.5


@dataclass(frozen=True)
class KPNetConfig:
    """A KPNet.

    Attributes:
        backbone, loss: see there.
        proposals: where faces may be; the paper's scale map, or anchors.
        landmarks: how a proposal's landmarks are found; the paper's soft-argmax, or what it compares this with.
        points: number of landmarks K, one of ``facesmith.faces.FIVE_OF``.
        box_style: what boxes are to look like; any style goes with the same weights.
        candidates: rows that ``decode`` gives, best scores first.
        proposal_score: the paper's threshold: landmarks raise a score (Eq. 8) only where P_s is above this, so that
            weaker proposals rank below. They are not dropped.
        even: the P of Eq. 8 that gives the score .5. Scores are P / (P + even), in the order of P. How sure a network
            is of itself grows with its training, so that the same threshold fits networks of any training.

    Raises:
        ConfigError: an unknown number of landmarks or one that the template has not, or a number out of range.
    """

    backbone: DRNetConfig | HourglassConfig = field(default_factory=DRNetConfig)
    proposals: ScaleConfig | RPNConfig = field(default_factory=ScaleConfig)
    landmarks: SoftArgmaxConfig | ArgmaxConfig | RegressionConfig | TemplateConfig = field(
        default_factory=SoftArgmaxConfig
    )
    loss: KPNetLossConfig = field(default_factory=KPNetLossConfig)
    points: int = 5
    box_style: BoxStyle = WIDER
    candidates: int = 100
    proposal_score: float = 0.05
    even: float = 1.0

    def __post_init__(self) -> None:
        if self.points not in FIVE_OF:
            raise ConfigError(f"KPNet has {' or '.join(map(str, FIVE_OF))} landmarks, not {self.points}")
        if isinstance(self.landmarks, TemplateConfig) and self.points != 5:
            raise ConfigError(f"the template has 5 landmarks, not {self.points}")
        if self.candidates < 1 or not 0 <= self.proposal_score <= 1 or not self.even > 0:
            raise ConfigError(
                "KPNet needs at least 1 candidate, a proposal score in 0…1 and even above 0, "
                f"not {self.candidates}, {self.proposal_score} and {self.even}"
            )


@dataclass(frozen=True)
class AssociativeLossConfig:
    """The three terms.

    Attributes:
        heat: weight of the cross entropy of the heat maps (Eq. 4 on them).
        pull, push: weights of the tags' two terms.
        unlabelled_score: as in :class:`KPNetLossConfig`.
    """

    heat: float = 10_000.0
    pull: float = 1.0
    push: float = 1.0
    unlabelled_score: float = 0.5


@dataclass(frozen=True)
class AssociativeConfig:
    """Landmarks grouped by associative embedding (Table 6's bottom-up baseline).

    Attributes:
        backbone, loss, points, box_style: as in :class:`KPNetConfig`.
        side: the longer side of training pictures in pixels; faces below 1/64 of it are ignored, as in KPNet.
        candidates: rows that ``decode`` gives, and peaks that it takes from each heat map.
        distance: landmarks belong to a face where their tags differ by less than this; tags of two faces learn to
            differ by 1 at least.

    Raises:
        ConfigError: an unknown number of landmarks, or a number out of range.
    """

    backbone: DRNetConfig | HourglassConfig = field(default_factory=DRNetConfig)
    loss: AssociativeLossConfig = field(default_factory=AssociativeLossConfig)
    points: int = 5
    box_style: BoxStyle = WIDER
    side: int = 256
    candidates: int = 100
    distance: float = 0.5

    def __post_init__(self) -> None:
        if self.points not in FIVE_OF:
            raise ConfigError(f"the network has {' or '.join(map(str, FIVE_OF))} landmarks, not {self.points}")
        if min(self.candidates, self.side) < 1 or not self.distance > 0:
            raise ConfigError(
                "associative embedding needs at least 1 candidate, a side and a distance above 0, "
                f"not {self.candidates}, {self.side} and {self.distance}"
            )
