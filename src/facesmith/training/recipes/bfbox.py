"""BFBox networks from scratch: ``bfbox-tiny`` on a CPU, ``bfbox`` by the paper's schedule.

Command: ``facesmith search bfbox --data DIR --flops 0.6G`` finds a network, ``facesmith train bfbox-tiny --model
runs/search/best.json --data DIR`` trains it. Without ``--model`` the recipes train the space's plain network (3×3
bottlenecks, top-down pyramid), to compare with.
Hardware and time: ``bfbox-tiny`` 3 CPU cores; 6,000 steps of 32 windows of 320² (640² every fifth). ``bfbox``: not run
here; 80,000 steps of 28 images on GPUs.
Published (Tables 7 and 9, WIDER val, test protocol not given): 96.5 / 95.7 / 91.7 with a backbone of 4.1 GFLOPs,
95.7 / 95.1 / 90.2 with one of 2.9 GFLOPs and the plain FPN.
"""

from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.detectors.bfbox.space import PAPER, TINY
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes.bfbox_supernet import PAPER_FINAL
from facesmith.training.recipes.photographs import PHOTOGRAPHS
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Cosine

RECIPES = (
    Recipe(
        name="bfbox-tiny",
        model=TINY.detector,
        train=TrainConfig(
            steps=6_000,
            batch=BatchConfig(images=32, sides=(320, 320, 320, 320, 640), augment=AugmentConfig(ignore_below=5.0)),
            optimiser=AdamW(rate=3e-3, weight_decay=0.02),
            schedule=Cosine(warmup=300, final=0.01),
            ema=0.999,
        ),
        sources=PHOTOGRAPHS,
    ),
    Recipe(name="bfbox", model=PAPER.detector, train=PAPER_FINAL),
)
