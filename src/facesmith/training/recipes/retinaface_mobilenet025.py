"""RetinaFace with MobileNet-0.25 from scratch, on a CPU in an afternoon, on the project's photographs.

Command: ``facesmith train retinaface-mobilenet0.25 --data DIR`` (DIR: unpacked photographs and label files)
Hardware and time: 4 CPU cores (AVX-512), 11,000 steps of about 0.6 s.
Expected: the figures that ``facesmith models`` shows for ``retinaface-mobilenet0.25``; docs/results.md
explains them.
"""

from facesmith.data.batches import BatchConfig
from facesmith.data.sources import SourceConfig
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes import Recipe
from facesmith.training.schedule import Cosine

RECIPE = Recipe(
    name="retinaface-mobilenet0.25",
    model=RetinaFaceConfig(),
    train=TrainConfig(
        steps=11_000,
        batch=BatchConfig(images=32, sides=(320, 320, 320, 320, 640)),
        optimiser=AdamW(rate=2e-3, weight_decay=0.02),
        schedule=Cosine(warmup=300, final=0.01),
        clip=10.0,
        ema=0.999,
    ),
    sources=(
        SourceConfig("widerface", share=0.72),
        SourceConfig("street", share=0.13, complete=False),
        SourceConfig("landmarks", share=0.08, complete=False),
        SourceConfig("background", share=0.07),
    ),
)
