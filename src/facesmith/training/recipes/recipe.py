"""What a recipe is."""

from dataclasses import dataclass
from typing import Any

from facesmith.data.sources import SourceConfig
from facesmith.training.loop import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """Everything that a run needs but the data.

    Attributes:
        name: name of the model that comes out.
        model: configuration of the network, of any of ``facesmith.detectors.weights.DETECTORS``.
        train: how its weights are fitted.
        sources: how often the sources of these names are drawn; a data folder without them uses every source
            by its size.
    """

    name: str
    model: Any
    train: TrainConfig
    sources: tuple[SourceConfig, ...] = ()
