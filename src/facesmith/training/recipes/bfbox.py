"""BFBox networks from scratch: ``bfbox-tiny`` on a CPU, ``bfbox`` by the paper's schedule.

Command: ``facesmith train bfbox-tiny --data DIR``. Its network is the one that ``facesmith search bfbox --data DIR
--flops 0.6G`` found (docs/bfbox.md); ``--model runs/search-bfbox/best.json`` trains another. ``bfbox`` has the plain
network of the paper's space (3×3 bottlenecks, top-down pyramid) until a search finds a better one.
Hardware and time: ``bfbox-tiny`` one CPU core, about an hour: 6,000 steps of 16 windows of 320² (every fifth step 4 of
640²). ``bfbox``: not run here; 80,000 steps of 28 images on GPUs.
Published (Tables 7 and 9, WIDER val, test protocol not given): 96.5 / 95.7 / 91.7 with a backbone of 4.1 GFLOPs,
95.7 / 95.1 / 90.2 with one of 2.9 GFLOPs and the plain FPN. Measured: docs/results.md.
"""

from dataclasses import replace

from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.detectors.bfbox.space import PAPER, TINY
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes.bfbox_supernet import PAPER_FINAL
from facesmith.training.recipes.photographs import PHOTOGRAPHS
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Cosine

FOUND = "dw7,dw7/dw5,k5/dw35,k3/dw35,dw3/k3/dw35 p2=c2+c6 p5=c5+c3 p3=c3*c4 p6=c6+p2 p4=c4*c3"
"""The best of 500 random candidates of the tiny space with FPN attention, below 0.6 GFLOPs at 640×480."""

RECIPES = (
    Recipe(
        name="bfbox-tiny",
        model=replace(TINY.detector, architecture=FOUND),
        train=TrainConfig(
            steps=6_000,
            batch=BatchConfig(images=16, sides=(320, 320, 320, 320, 640), augment=AugmentConfig(ignore_below=5.0)),
            optimiser=AdamW(rate=2e-3, weight_decay=0.02),
            schedule=Cosine(warmup=300, final=0.01),
            ema=0.999,
        ),
        sources=PHOTOGRAPHS,
    ),
    Recipe(name="bfbox", model=PAPER.detector, train=PAPER_FINAL),
)
