"""KPNet's ablations (Song et al., AAAI 2020), Tables 1, 2, 3 and 6.

Commands: ``facesmith ablate kpnet-table3 --data DIR --dev DEV`` and so on (DIR: unpacked photographs and label files;
DEV: see ``facesmith.evaluation.development``). The tables share networks: each is trained once for all of them.
Hardware and time: 2,000 steps of 32 images, about 0.3 s of one core an image: five hours of a core a network.

What cannot be repeated: the paper's training photographs are private, AFW and MALF are not read here, AFLW is not free
(the landmarks of the development frames take its place), and the list of profile faces that Table 2 calls PFDDB was
not published. Rows of other authors' networks (RSA) are left out.

Boxes are judged in FDDB's frame, made from the landmarks; where pictures are turned the frame is turned too.
"""

from dataclasses import replace

from facesmith.detectors.kpnet.config import (
    ArgmaxConfig,
    AssociativeConfig,
    AssociativeLossConfig,
    KPNetConfig,
    RegressionConfig,
    RPNConfig,
)
from facesmith.training.recipes.kpnet_drnet import RECIPE
from facesmith.training.recipes.kpnet_hourglass import RECIPE as HOURGLASS_RECIPE
from facesmith.training.studies.judges import FddbRecall, FrameError
from facesmith.training.studies.kpnet_judges import LabelledRecall, ProposalRecall, TopProposalRecall
from facesmith.training.studies.study import Network, Row, Study

PAPER = "KPNet (Song et al., 2020)"
MODEL: KPNetConfig = RECIPE.model
TRAIN = replace(RECIPE.train, steps=2_000)

DRNET = Network("kpnet-drnet", MODEL)
HOURGLASS = Network("kpnet-hourglass", HOURGLASS_RECIPE.model)
REGRESSION = Network("kpnet-drnet-regression", replace(MODEL, landmarks=RegressionConfig()))
ARGMAX = Network("kpnet-drnet-argmax", replace(MODEL, landmarks=ArgmaxConfig()))
RPN = Network("kpnet-drnet-rpn", replace(MODEL, proposals=RPNConfig()))
AE = Network(
    "kpnet-drnet-ae",
    AssociativeConfig(loss=AssociativeLossConfig(unlabelled_score=MODEL.loss.unlabelled_score)),
)


def _study(name: str, what: str, differs: str, rows: tuple[Row, ...]) -> Study:
    return Study(name, f"{PAPER}, {what}", differs, TRAIN, RECIPE.sources, rows)


TABLE_1 = _study(
    "kpnet-table1",
    "Table 1: recall of the top 100 scale proposals",
    "Here: other and fewer training photographs, a short training.",
    (
        Row("drnet", DRNET, (TopProposalRecall(),), (96.6,)),
        Row("hourglass", HOURGLASS, (TopProposalRecall(),), (96.7,)),
    ),
)

UPRIGHT_AND_TURNED = (FddbRecall(), FddbRecall(turns=-1), FddbRecall(turns=1))

TABLE_2 = _study(
    "kpnet-table2",
    "Table 2: FDDB recall at 50 false positives, by how landmarks are found",
    "Here: other and fewer training photographs, a short training; the list of PFDDB was not published.",
    (
        Row("regression", REGRESSION, UPRIGHT_AND_TURNED, (90.86, 68.96, 67.2)),
        Row("argmax", ARGMAX, UPRIGHT_AND_TURNED, (88.98, 50.65, 49.9)),
        Row("ss", DRNET, UPRIGHT_AND_TURNED, (91.6, 69.32, 69.97)),
    ),
)

LIMITS = (50, 1)

TABLE_3 = _study(
    "kpnet-table3",
    "Table 3: FDDB recall at 50 and at 1 false positives, by scale proposals (SP), soft-argmax (SS), labelled boxes",
    "Here: other and fewer training photographs, a short training.",
    (
        Row("drnet-sp", DRNET, (ProposalRecall(LIMITS),), (90.7, 47.3)),
        Row("drnet-sp+ss", DRNET, (FddbRecall(LIMITS),), (91.6, 81.1)),
        Row("drnet-ss+gt", DRNET, (LabelledRecall(LIMITS),), (96.6, 96.6)),
        Row("hourglass-sp", HOURGLASS, (ProposalRecall(LIMITS),), (91.64, 12.52)),
        Row("hourglass-sp+ss", HOURGLASS, (FddbRecall(LIMITS),), (92.61, 80.9)),
        Row("hourglass-ss+gt", HOURGLASS, (LabelledRecall(LIMITS),), (96.72, 96.72)),
    ),
)

TABLE_6 = _study(
    "kpnet-table6",
    "Table 6: top-down (RPN) and bottom-up (AE) baselines, FDDB recall at 50 false positives and NME",
    "Here: other and fewer training photographs, a short training; NME on the development frames, the paper's on AFLW.",
    (
        Row("rpn+drnet", RPN, (FddbRecall(), FrameError()), (75.82, 2.12)),
        Row("ae+drnet", AE, (FddbRecall(), FrameError()), (46.96, 2.12)),
        Row("kpnet+drnet", DRNET, (FddbRecall(), FrameError()), (91.6, 1.87)),
    ),
)

STUDIES = (TABLE_1, TABLE_2, TABLE_3, TABLE_6)
