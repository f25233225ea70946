"""Everything that shapes a RetinaFace network and its loss."""

from dataclasses import dataclass, field, replace

from facesmith.detectors.parts.anchors import PAPER_ANCHORS, AnchorConfig
from facesmith.detectors.parts.assigners import MatchConfig
from facesmith.detectors.parts.mobilenet_config import PAPER_MOBILENET, MobileNetConfig
from facesmith.detectors.parts.resnet_config import RESNET50, RESNET152, ResNetConfig
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig
from facesmith.errors import ConfigError


@dataclass(frozen=True)
class RetinaFaceLossConfig:
    """The multi-task loss (paper, Eq. 1).

    Attributes:
        box: weight of the box term against the class term.
        landmark: weight of the landmark term; 0: landmarks are not learnt. (Paper: .25 and .1; the common port,
            whose codes carry variances, uses 2 and 1.)
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
        extra_levels: levels of the pyramid above the backbone's last tap, each of half the size (P6: 1).
        deformable: whether the 3×3 layers of pyramid and context modules are deformable (DCNv2).
        anchors, match, loss: see there.
        mean, scale: an input pixel v of 0…255 enters the network as (v − mean) · scale; one number, or one each for
            red, green and blue.
        candidates: rows that ``decode`` gives, best scores first.
        mesh: the mesh branch; ``None``: there is none.

    Raises:
        ConfigError: ``extra_levels`` is negative.
    """

    backbone: MobileNetConfig | ResNetConfig = field(default_factory=MobileNetConfig)
    channels: int = 64
    extra_levels: int = 0
    deformable: bool = False
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    loss: RetinaFaceLossConfig = field(default_factory=RetinaFaceLossConfig)
    mean: float | tuple[float, float, float] = 127.5
    scale: float | tuple[float, float, float] = 1 / 64
    candidates: int = 2000
    mesh: MeshBranchConfig | None = None

    def __post_init__(self) -> None:
        if self.extra_levels < 0:
            raise ConfigError(f"a pyramid needs 0 or more extra levels, not {self.extra_levels}")


PAPER_MATCH = MatchConfig(positive=0.5, negative=0.3, forced=1.0)
PAPER_LOSS = RetinaFaceLossConfig(box=0.25, landmark=0.1, beta=1 / 9, negatives_per_positive=3.0)
"""λ₁ and λ₂ of the paper; smooth-L1 with σ = 3 as in the released code (facts/retinaface)."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_SCALE = (1 / 58.395, 1 / 57.12, 1 / 57.375)
"""What ImageNet state dicts of torchvision and timm expect."""

R152 = RetinaFaceConfig(
    backbone=RESNET152,
    channels=256,
    extra_levels=1,
    deformable=True,
    anchors=PAPER_ANCHORS,
    match=PAPER_MATCH,
    loss=PAPER_LOSS,
    mean=IMAGENET_MEAN,
    scale=IMAGENET_SCALE,
    candidates=5000,
)
"""The paper's network without its mesh branch (``mesh``): P2 to P6, deformable pyramid and context modules."""

R50 = replace(R152, backbone=RESNET50)

LIGHT = RetinaFaceConfig(backbone=PAPER_MOBILENET)
"""The paper's light network (section 4.8): 7×7 stem of stride 4, P3 to P5, anchors as in SSH, nothing deformable."""

PIXELS_ALONE = MeshBranchConfig(pixels_alone=True)
"""The mesh branch trained with the detector, which sees no more of it than the paper's: L_pixel with λ₃ = .01."""

ABLATION = {
    "FPN+Context": replace(R152, deformable=False, loss=replace(PAPER_LOSS, landmark=0.0)),
    "+DCN": replace(R152, loss=replace(PAPER_LOSS, landmark=0.0)),
    "+L_pts": R152,
    "+L_pixel": replace(R152, loss=replace(PAPER_LOSS, landmark=0.0), mesh=PIXELS_ALONE),
    "+L_pts+L_pixel": replace(R152, mesh=PIXELS_ALONE),
}
"""The rows of the paper's Table 3: +DCN is a field from the first, each loss a field from +DCN, both from either."""
