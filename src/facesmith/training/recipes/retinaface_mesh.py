"""The mesh branch of the RetinaFace with MobileNet-0.25: alone on the shipped detector, or together with it.

**Alone** (``retinaface-mobilenet0.25-mesh``): the shipped detector stays as it is; its boxes, scores and landmarks are
the same to the bit.

Command: ``facesmith train retinaface-mobilenet0.25-mesh --data DIR --init FILE`` (DIR: unpacked photographs and label
files; FILE: ``retinaface-mobilenet0.25.safetensors``, which lies in ``facesmith/weights``). The mesh decoder is the one
beside it, pre-trained by ``python -m facesmith.training.mesh_autoencoder``; ``--decoder`` takes another.
Hardware and time: 0.55 s of one CPU core (AVX-512) a step of 16 windows of 320², 4,000 steps in 40 minutes.
Expected: about the figures that ``facesmith models`` shows for it, which 2,500 steps reached. Published (paper, Table
3; ResNet-152, WIDER val): the branch raises the hard AP from 91.7 to 91.9.

**Together** (``retinaface-mobilenet0.25-mesh-joint``): as in the paper, the mesh terms' gradients reach the backbone.

Command: ``facesmith train retinaface-mobilenet0.25-mesh-joint --data DIR`` from random weights; ``--init FILE`` goes on
from a trained detector with or without mesh branch.
Hardware and time: half a second of a core a step more than ``retinaface-mobilenet0.25``, whose schedule it has; it was
not run to its end here.
What it is worth for detection is what ``facesmith ablate retinaface-table3-light`` compares (docs/ablate.md).
"""

from dataclasses import replace

from facesmith.data.batches import BatchConfig
from facesmith.data.sources import SourceConfig
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig
from facesmith.training.loop import TrainConfig
from facesmith.training.optimisers import AdamW
from facesmith.training.recipes import retinaface_mobilenet025
from facesmith.training.recipes.recipe import Recipe
from facesmith.training.schedule import Cosine

ALONE = Recipe(
    name="retinaface-mobilenet0.25-mesh",
    model=replace(retinaface_mobilenet025.RECIPE.model, mesh=MeshBranchConfig(alone=True)),
    train=TrainConfig(
        steps=4_000,
        batch=BatchConfig(images=16, sides=(320,)),
        optimiser=AdamW(rate=3e-3, weight_decay=0.02),
        schedule=Cosine(warmup=100, final=0.01),
        ema=0.995,
        workers=1,
    ),
    sources=(SourceConfig("widerface", share=0.85), SourceConfig("landmarks", share=0.15, complete=False)),
)

JOINT = Recipe(
    name="retinaface-mobilenet0.25-mesh-joint",
    model=replace(retinaface_mobilenet025.RECIPE.model, mesh=MeshBranchConfig()),
    train=retinaface_mobilenet025.RECIPE.train,
    sources=retinaface_mobilenet025.RECIPE.sources,
)

RECIPES = (ALONE, JOINT)
