"""Recipes: a file a published model, with its command, time and expected figure."""

from facesmith.training.recipes import (
    bfbox,
    damofd_05g,
    damofd_widerface,
    kpnet_aflw,
    kpnet_drnet,
    kpnet_hourglass,
    retinaface_mesh,
    retinaface_mobilenet025,
    retinaface_mobilenet025_widerface,
    retinaface_resnet,
)

RECIPES = (
    retinaface_mobilenet025.RECIPE,
    *retinaface_mobilenet025_widerface.RECIPES,
    *retinaface_mesh.RECIPES,
    damofd_05g.RECIPE,
    *damofd_widerface.RECIPES,
    *retinaface_resnet.RECIPES,
    *bfbox.RECIPES,
    kpnet_drnet.RECIPE,
    kpnet_hourglass.RECIPE,
    *kpnet_aflw.RECIPES,
)
"""What ``facesmith train`` offers."""
