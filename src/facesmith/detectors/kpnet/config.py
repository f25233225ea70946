"""Everything that shapes a KPNet and its loss."""

from dataclasses import dataclass, field

from facesmith.box_styles import WIDER, BoxStyle
from facesmith.errors import ConfigError

STRIDE = 2
"""Total stride N_s of both backbones."""

BINS = 60
"""Scale bins S: ten an octave, from 2⁵ to 2¹¹ in units of I_max / 2048."""

FIVE_OF: dict[int, tuple[int, ...]] = {5: (0, 1, 2, 3, 4), 19: (7, 10, 13, 15, 17)}
"""Number of landmarks K -> where the five are among them: left eye, right eye, nose, left and right mouth corner.

19 are AFLW's 21 in their order without the ears: brows (0-5), left eye from the outer corner (6-8), right eye from
the inner corner (9-11), nose left, tip, right (12-14), mouth left, centre, right (15-17), chin (18).
"""


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
class SoftArgmaxConfig:
    """Landmarks by the scale adaptive soft-argmax (Eq. 5-6).

    Attributes:
        scored: how many of the five landmarks, from the first, raise a face's score (Eq. 8: 3, both eyes and nose).

    Raises:
        ConfigError: ``scored`` is not in 0…5.
    """

    scored: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.scored <= 5:
            raise ConfigError(f"of five landmarks 0 to 5 can raise a score, not {self.scored}")


@dataclass(frozen=True)
class KPNetLossConfig:
    """The two terms.

    Attributes:
        scale: weight of Eq. 4.
        keypoint: weight of Eq. 7.
        unlabelled_score: where labels are incomplete, a cell off the labels that scores higher is taken for an
            unlabelled face and left out.
    """

    scale: float = 10_000.0
    keypoint: float = 1.0
    unlabelled_score: float = 0.5


@dataclass(frozen=True)
class KPNetConfig:
    """A KPNet.

    Attributes:
        backbone, scales, landmarks, loss: see there.
        points: number of landmarks K, one of :data:`FIVE_OF`.
        box_style: what boxes are to look like; any style goes with the same weights.
        candidates: rows that ``decode`` gives, best scores first.
        proposal_score: the paper's threshold: landmarks raise a score (Eq. 8) only where P_s is above this, so that
            weaker proposals rank below. They are not dropped.

    Raises:
        ConfigError: an unknown number of landmarks, or a number out of range.
    """

    backbone: DRNetConfig | HourglassConfig = field(default_factory=DRNetConfig)
    scales: ScaleConfig = field(default_factory=ScaleConfig)
    landmarks: SoftArgmaxConfig = field(default_factory=SoftArgmaxConfig)
    loss: KPNetLossConfig = field(default_factory=KPNetLossConfig)
    points: int = 5
    box_style: BoxStyle = WIDER
    candidates: int = 100
    proposal_score: float = 0.05

    def __post_init__(self) -> None:
        if self.points not in FIVE_OF:
            raise ConfigError(f"KPNet has {' or '.join(map(str, FIVE_OF))} landmarks, not {self.points}")
        if self.candidates < 1 or not 0 <= self.proposal_score <= 1:
            raise ConfigError(
                "KPNet needs at least 1 candidate and a proposal score in 0…1, "
                f"not {self.candidates} and {self.proposal_score}"
            )
