"""RetinaFace with MobileNet-0.25 by the common port's schedule, for those who have the whole of WIDER FACE.

Command: ``torchrun --nproc-per-node 4 -m facesmith train retinaface-mobilenet0.25-widerface --data WIDER_DIR
--device cuda`` (WIDER_DIR: RetinaFace's ``train/label.txt`` and ``train/images``, or WIDER FACE as published)
Hardware and time: not run here; it needs all 12,880 images of WIDER FACE train and a GPU.
Published (facts/retinaface, pretrained on ImageNet): 87.8 / 81.2 / 47.3 at VGA, 90.7 / 88.2 / 73.8 at
original size. Its settings: 640², batch 32, 250 epochs, SGD 1e-3 with drops at 190 and 220; the rate is higher
here for training from scratch.

``retinaface-mobilenet0.25-paper`` is the paper's own light network (section 4.8: a 7×7 stem of stride 4, P3 to P5) by
the same schedule; its first two layers stay as they are where they are pretrained (``--pretrained``). Published for it:
an AP of 78.2 on WIDER FACE's hard set.
"""

from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.detectors.retinaface.config import LIGHT, RetinaFaceConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Drops

TRAIN = TrainConfig(
    steps=100_000,
    batch=BatchConfig(images=32, sides=(640,), augment=AugmentConfig(mosaic=0.25)),
    optimiser=SGD(rate=1e-2),
    schedule=Drops(warmup=2_000, at=(190 / 250, 220 / 250)),
    ema=0.9995,
    bf16=True,
    save_every=2_000,
    evaluate_every=5_000,
    workers=8,
)

RECIPES = (
    Recipe(name="retinaface-mobilenet0.25-widerface", model=RetinaFaceConfig(), train=TRAIN),
    Recipe(name="retinaface-mobilenet0.25-paper", model=LIGHT, train=TRAIN),
)
