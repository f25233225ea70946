"""RetinaFace's ablation (Deng et al., 2019, Table 3).

Command: ``facesmith ablate retinaface-table3 --data WIDER_DIR --dev DEV --pretrained FILE --device cuda`` (WIDER_DIR:
WIDER FACE with RetinaFace's labels; DEV: see ``facesmith.evaluation.development``; FILE: ImageNet weights of a
ResNet-152), five networks of 80 epochs, which takes GPUs. ``facesmith ablate retinaface-table3-light ...`` makes the
same changes to MobileNet-0.25 with P3 to P5, which a CPU can train.

Detector and mesh branch are trained together: L_pixel reaches the backbone. It has the paper's weight λ₃ = .01, also in
the light networks, whose other weights are the common port's. The landmarks that hold the meshes in their place (not
the paper's; with pixels alone all meshes had left their faces after 180 steps of AdamW) change the branch's head only.
The decoder is the shipped one, and frozen.

Figures here are of one look at VGA size; the paper's of five scales, flip and box voting.
"""

from dataclasses import replace

from facesmith.detectors.retinaface.config import ABLATION, PIXELS_ALONE, RetinaFaceConfig
from facesmith.training.recipes.retinaface_mobilenet025 import RECIPE as MOBILENET
from facesmith.training.recipes.retinaface_resnet import RECIPES
from facesmith.training.studies.judges import WiderPrecision
from facesmith.training.studies.study import Network, Row, Study

SOURCE = "RetinaFace (Deng et al., 2019), Table 3: WIDER FACE validation"
PUBLISHED: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("fpn+context", (95.532, 95.134, 90.714, 50.842)),
    ("+dcn", (96.349, 95.833, 91.286, 51.522)),
    ("+l-pts", (96.467, 96.075, 91.694, 52.297)),
    ("+l-pixel", (96.413, 95.864, 91.276, 51.492)),
    ("+l-pts+l-pixel", (96.942, 96.175, 91.857, 52.318)),
)


def _rows(prefix: str, models: tuple[RetinaFaceConfig, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(name, Network(f"{prefix}-{name.replace('+', '-').strip('-')}", model), (WiderPrecision(),), published)
        for model, (name, published) in zip(models, PUBLISHED, strict=True)
    )


def _light() -> tuple[RetinaFaceConfig, ...]:
    plain = replace(MOBILENET.model, loss=replace(MOBILENET.model.loss, landmark=0.0))
    bent, points = replace(plain, deformable=True), replace(MOBILENET.model, deformable=True)
    return plain, bent, points, replace(bent, mesh=PIXELS_ALONE), replace(points, mesh=PIXELS_ALONE)


TABLE_3 = Study(
    name="retinaface-table3",
    source=SOURCE,
    differs="Here: one look at VGA size, mAP by our reading of the challenge's rule.",
    train=replace(RECIPES[1].train, evaluate_every=0),
    sources=RECIPES[1].sources,
    rows=_rows("retinaface-r152", tuple(ABLATION.values())),
)

TABLE_3_LIGHT = Study(
    name="retinaface-table3-light",
    source=SOURCE,
    differs="Here: MobileNet-0.25 in place of ResNet-152, one look at VGA size, mAP by our reading of the rule.",
    train=replace(MOBILENET.train, steps=3_000),
    sources=MOBILENET.sources,
    rows=_rows("retinaface-mobilenet0.25", _light()),
)

STUDIES = (TABLE_3, TABLE_3_LIGHT)
