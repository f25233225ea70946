"""KPNet with 19 landmarks, for AFLW: DRNet and Hourglass_light.

Command: ``facesmith train kpnet-drnet-aflw --data DIR --device cuda`` (DIR: ``aflw.txt``, a line a face with
``-1 -1 -1 -1`` and 19 times ``x y flag`` in the order of ``facesmith.faces.FIVE_OF``, and the pictures that it names)
Hardware and time: not run, AFLW is not free; the paper used 128 images a step on four GPUs, 150,000 steps.
Published (paper, Table 4; AFLW-Full): NME 1.87 % (DRNet) and 1.45 % (hourglass) of the face's size.

Faces of AFLW's pictures that have no label are not punished. The exported file gives the five of the 19.
"""

from dataclasses import replace

from facesmith.data.sources import SourceConfig
from facesmith.detectors.kpnet.config import DRNetConfig, HourglassConfig
from facesmith.training.recipes.kpnet_drnet import MODEL, TRAIN
from facesmith.training.recipes.recipe import Recipe

AFLW = (SourceConfig("aflw", complete=False),)
STEPS = replace(TRAIN, steps=150_000, batch=replace(TRAIN.batch, images=128))

RECIPES = tuple(
    Recipe(name=name, model=replace(MODEL, backbone=backbone, points=19), train=STEPS, sources=AFLW)
    for name, backbone in (("kpnet-drnet-aflw", DRNetConfig()), ("kpnet-hourglass-aflw", HourglassConfig()))
)
