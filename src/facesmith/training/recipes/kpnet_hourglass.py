"""KPNet with Hourglass_light from scratch, on a CPU, on the project's photographs: as ``kpnet_drnet.py``.

Command: ``torchrun --nproc-per-node 3 -m facesmith train kpnet-hourglass --data DIR --threads 1``
Hardware and time: about 0.11 s of one core (AVX-512) an image: 12,000 steps of 32 images take 3 cores about 4 hours,
or 2.5 with bf16 where the processor has AVX512-BF16.
Published (facts/kpnet): FDDB recall at 50 false positives 92.61 %, AFW 99.53 AP.
"""

from dataclasses import replace

from facesmith.detectors.kpnet.config import HourglassConfig
from facesmith.training.recipes.kpnet_drnet import MODEL, TRAIN
from facesmith.training.recipes.photographs import PHOTOGRAPHS
from facesmith.training.recipes.recipe import Recipe

RECIPE = Recipe(
    name="kpnet-hourglass",
    model=replace(MODEL, backbone=HourglassConfig()),
    train=TRAIN,
    sources=PHOTOGRAPHS,
)
