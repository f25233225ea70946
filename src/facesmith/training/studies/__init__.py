"""Ablation studies: a file a paper, with the commands that repeat its tables."""

from facesmith.training.studies import kpnet, retinaface

STUDIES = (*kpnet.STUDIES, *retinaface.STUDIES)
"""What ``facesmith ablate`` offers."""
