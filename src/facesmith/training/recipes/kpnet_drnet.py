"""KPNet with DRNet from scratch, on a CPU, on the project's photographs.

Command: ``torchrun --nproc-per-node 3 -m facesmith train kpnet-drnet --data DIR --threads 1`` (DIR: unpacked
photographs and label files); any number of processes will do.
Hardware and time: about 0.3 s of one core (AVX-512) an image, half of that with bf16 where the processor has
AVX512-BF16: 12,000 steps of 32 images take 3 cores about 10 hours, or 5.
Published (facts/kpnet): FDDB recall at 50 false positives 91.6 %, AFW 98.72 AP, from private photographs, 150,000
steps of 128 images.

Three settings differ from the paper's, because this run sees a fiftieth of its images: σ of Eq. 3 is a third of the
radius, as in CornerNet, so that more than one element in a million says where a face is; keypoints weigh as much as
scales after the first steps; and AdamW takes the place of SGD.

Scores are P_s alone, and .5 where that is .02. Heat maps of a short training are flat, and the maximum of a softmax
over few cells is great whatever they show: by Eq. 8 small proposals win (kpnet-hourglass after 3,600 steps, FDDB subset
of 350 images: recall .04 at 1 false positive with P_s above .05 raised, .50 without; .88 at 50 either way).
"""

from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.detectors.kpnet.config import KPNetConfig, KPNetLossConfig, ScaleConfig, SoftArgmaxConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes.photographs import PHOTOGRAPHS
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Cosine

SCALES = ScaleConfig(sigma=0.3)
# True faces have a P_s of a few per cent for long: a cell and a bin are a narrow claim.
LOSS = KPNetLossConfig(keypoint=20.0, unlabelled_score=0.1)
TRAIN = TrainConfig(
    steps=12_000,
    batch=BatchConfig(images=32, sides=(SCALES.side,), augment=AugmentConfig(ignore_below=4.0)),
    optimiser=AdamW(rate=3e-3, weight_decay=0.02),
    schedule=Cosine(warmup=300, final=0.01),
    clip=10.0,
    ema=0.999,
)

MODEL = KPNetConfig(proposals=SCALES, landmarks=SoftArgmaxConfig(scored=0), loss=LOSS, even=0.02)

RECIPE = Recipe(name="kpnet-drnet", model=MODEL, train=TRAIN, sources=PHOTOGRAPHS)
