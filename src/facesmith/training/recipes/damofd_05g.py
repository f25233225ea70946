"""DamoFD-0.5G with landmarks from scratch, on a CPU in about an hour, on the project's photographs.

Command: ``torchrun --nproc-per-node 3 -m facesmith train damofd-0.5g --data DIR --threads 1`` (DIR: unpacked
photographs and label files); any number of processes will do, one process a core was the fastest.
Hardware and time: 3 CPU cores (AVX-512), 6,000 steps of about 0.65 s.
Expected: about the figures that ``facesmith models`` shows for ``damofd-0.5g``.

A net that ``facesmith search`` found is trained by the same recipe: ``--model runs/search/best.json``.

Unlike the authors' recipe (facts/damofd: SGD, 640 epochs of WIDER FACE at 640²) this one draws windows around faces of
chosen sizes, because an hour on a CPU is a hundredth of that.
"""

from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.detectors.damofd.config import RELEASED
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes.photographs import PHOTOGRAPHS
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Cosine

RECIPE = Recipe(
    name="damofd-0.5g",
    model=RELEASED["0.5G"],
    train=TrainConfig(
        steps=6_000,
        batch=BatchConfig(images=36, sides=(320, 320, 320, 320, 640), augment=AugmentConfig(ignore_below=5.0)),
        optimiser=AdamW(rate=3e-3, weight_decay=0.02),
        schedule=Cosine(warmup=300, final=0.01),
        clip=10.0,
        ema=0.999,
    ),
    sources=PHOTOGRAPHS,
)
