"""Everything that shapes a RetinaFace network and its loss."""

from dataclasses import dataclass, field

from facesmith.detectors.parts.anchors import AnchorConfig
from facesmith.detectors.parts.assigners import MatchConfig
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig


@dataclass(frozen=True)
class RetinaFaceLossConfig:
    """The multi-task loss (paper, Eq. 1).

    Attributes:
        box: weight of the box term against the class term.
        landmark: weight of the landmark term. (Paper: .25 and .1; the common port, whose codes carry
            variances, uses 2 and 1.)
        beta: smooth-L1 turns linear here.
        negatives_per_positive: online hard example mining (paper: at least 3; common port: 7).
        background: hard negatives an image, mined even where a batch has few faces.
        unlabelled_score: where labels are incomplete, a background anchor that scores higher is taken for an
            unlabelled face and left out.
    """

    box: float = 2.0
    landmark: float = 1.0
    beta: float = 1.0
    negatives_per_positive: float = 7.0
    background: int = 4
    unlabelled_score: float = 0.5


@dataclass(frozen=True)
class RetinaFaceConfig:
    """A RetinaFace.

    Attributes:
        backbone: the backbone's own configuration.
        channels: width of pyramid and context modules.
        anchors, match, loss: see there.
        mean, scale: an input pixel v of 0…255 enters the network as (v − mean) · scale.
        candidates: rows that ``decode`` gives, best scores first.
    """

    backbone: MobileNetConfig = field(default_factory=MobileNetConfig)
    channels: int = 64
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    loss: RetinaFaceLossConfig = field(default_factory=RetinaFaceLossConfig)
    mean: float = 127.5
    scale: float = 1 / 64
    candidates: int = 2000
