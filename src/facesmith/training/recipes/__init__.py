"""Recipes: a file a published model, with its command, time and expected figure."""

from dataclasses import dataclass

from facesmith.data.sources import SourceConfig
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.training.loop import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """Everything that a run needs but the data.

    Attributes:
        name: name of the model that comes out.
        model: the network.
        train: how its weights are fitted.
        sources: how often the sources of these names are drawn; a data folder without them uses every source
            by its size.
    """

    name: str
    model: RetinaFaceConfig
    train: TrainConfig
    sources: tuple[SourceConfig, ...] = ()
