"""RetinaFace as the paper trained it: ResNet-50 and ResNet-152, P2 to P6, deformable layers; ``retinaface-r152-mesh``
has the mesh branch too, trained together with the rest.

Command: ``torchrun --nproc-per-node 4 -m facesmith train retinaface-r152 --data WIDER_DIR --device cuda`` (WIDER_DIR:
RetinaFace's ``train/label.txt`` and ``train/images``)
Hardware and time: not run here; the paper used four GPUs of 24 GB (8 images each), and the backbone starts from
ImageNet weights (``--pretrained``, a state dict of torchvision or timm).
Published (paper, Table 3; WIDER val, five scales, flip and box voting): ResNet-152 with landmarks 96.5 / 96.1 / 91.7,
with the mesh branch too 96.9 / 96.2 / 91.9. The common port's ResNet-50, which has three levels and nothing
deformable: 95.5 / 94.0 / 84.4 at original size, 94.8 / 93.8 / 89.6 at a short side of 1600 (facts/retinaface).

Schedule of the paper: SGD with momentum 0.9 and weight decay 5e-4, rate 1e-3 rising to 1e-2 over 5 epochs, a tenth of
it from epoch 55 and of that from 68 on, 80 epochs in all; squares of .3 to 1 times the short side, flips, colours.

The rows of the paper's Table 3 are ``facesmith.detectors.retinaface.config.ABLATION``.
"""

from dataclasses import replace

from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.detectors.retinaface.config import R50, R152, RetinaFaceConfig
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import SGD
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Drops

EPOCHS = 80
IMAGES = 32
PAPER_AUGMENT = AugmentConfig(squares=(0.3, 0.45, 0.6, 0.8, 1.0), grey=0.0, blur=0.0)
EPOCH_STEPS = 12_880 // IMAGES


WHOLE = replace(R152, mesh=MeshBranchConfig())
"""With the mesh branch; its landmark term (:class:`MeshBranchConfig`) is not the paper's."""


def _recipe(name: str, model: RetinaFaceConfig) -> Recipe:
    train = TrainConfig(
        steps=EPOCHS * EPOCH_STEPS,
        batch=BatchConfig(images=IMAGES, sides=(640,), augment=PAPER_AUGMENT),
        optimiser=SGD(rate=1e-2, momentum=0.9, weight_decay=5e-4),
        schedule=Drops(warmup=5 * EPOCH_STEPS, start=0.1, at=(55 / EPOCHS, 68 / EPOCHS)),
        ema=0.9995,
        bf16=True,
        save_every=1_000,
        evaluate_every=5 * EPOCH_STEPS,
        workers=8,
    )
    return Recipe(name=name, model=model, train=train)


RECIPES = (_recipe("retinaface-r50", R50), _recipe("retinaface-r152", R152), _recipe("retinaface-r152-mesh", WHOLE))
