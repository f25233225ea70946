"""RetinaFace with MobileNet-0.25 from scratch, on a CPU in an afternoon, on the project's photographs.

Command: ``facesmith train retinaface-mobilenet0.25 --data DIR`` (DIR: unpacked photographs and label files)
Hardware and time: 3 to 4 CPU cores (AVX-512), 10,500 steps of about 0.6 s.
Expected: about the figures that ``facesmith models`` shows for ``retinaface-mobilenet0.25``. The shipped weights came
from an earlier state of this recipe, which docs/results.md describes; this one has not been run from start to end.

Anchors are forced from an IoU of .1, not the common port's .2: with anchors of 16 pixels that lets faces of 5 pixels
be learnt, where .2 ends at 7 (smaller ones are ignored).
"""

from facesmith.data.batches import BatchConfig
from facesmith.detectors.parts.assigners import MatchConfig
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes.photographs import PHOTOGRAPHS
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Cosine

RECIPE = Recipe(
    name="retinaface-mobilenet0.25",
    model=RetinaFaceConfig(match=MatchConfig(forced=0.1)),
    train=TrainConfig(
        steps=10_500,
        batch=BatchConfig(images=32, sides=(320, 320, 320, 320, 640)),
        optimiser=AdamW(rate=2e-3, weight_decay=0.02),
        schedule=Cosine(warmup=300, final=0.01),
        clip=10.0,
        ema=0.999,
    ),
    sources=PHOTOGRAPHS,
)
