"""The four released DamoFD nets by the authors' schedule, for those who have the whole of WIDER FACE.

Command: ``torchrun --nproc-per-node 4 -m facesmith train damofd-2.5g --data WIDER_DIR --device cuda`` (WIDER_DIR:
RetinaFace's ``train/label.txt`` and ``train/images``, or WIDER FACE as published)
Hardware and time: not run here; it needs all 12,880 images of WIDER FACE train and GPUs.
Published (facts/damofd, WIDER val at 640 with the ratio kept): 0.5G 90.4 / 88.5 / 70.0 (with landmarks),
2.5G 92.8 / 91.5 / 78.7, 10G 95.1 / 94.3 / 84.1, 34G 95.6 / 94.8 / 85.1.

Theirs: SGD, batch 32 at 640², 640 epochs, rate × .1 at 440 and 544. Windows and colours are drawn by our augmentation,
not theirs (square crops of .3 to 2 times the short side).
"""

from facesmith.data.batches import BatchConfig
from facesmith.detectors.damofd.config import RELEASED
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Drops

EPOCHS = 640
STEPS = EPOCHS * 12_880 // 32


def _recipe(name: str, size: str, *, rate: float = 0.01, warmup: int = 1_500) -> Recipe:
    train = TrainConfig(
        steps=STEPS,
        batch=BatchConfig(images=32, sides=(640,)),
        optimiser=SGD(rate=rate),
        schedule=Drops(warmup=warmup, start=0.001, at=(440 / EPOCHS, 544 / EPOCHS)),
        ema=0.9995,
        bf16=True,
        save_every=2_000,
        evaluate_every=10_000,
        workers=8,
    )
    return Recipe(name=name, model=RELEASED[size], train=train)


RECIPES = (
    _recipe("damofd-0.5g-widerface", "0.5G", warmup=5_000),
    _recipe("damofd-2.5g", "2.5G"),
    _recipe("damofd-10g", "10G"),
    _recipe("damofd-34g", "34G", rate=0.02),
)
