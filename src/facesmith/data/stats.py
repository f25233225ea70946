"""How large faces are where the detector sees them, and what that means for an architecture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facesmith.data.labelled import LabelSet
from facesmith.errors import LabelError
from facesmith.runtime.size import SizeRule
from facesmith.search.ddsar import SIDE_EDGES, stage_weights

FloatArray = npt.NDArray[np.float64]

STRIDES = (2, 4, 8, 16, 32)
"""Of the backbone's five stages."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True, eq=False)
class FaceSizes:
    """Sides √(width·height) (n,) of all faces that count, in pixels of the network's input."""

    rule: SizeRule
    sides: FloatArray

    @classmethod
    def of(cls, sets: Sequence[LabelSet], rule: SizeRule) -> "FaceSizes":
        """The faces of ``sets`` where ``rule`` says at which size the network sees a picture.

        Raises:
            LabelError: there is no face that counts.
            ImageError: the size of a picture is not stated and the picture cannot be read.
        """
        sides = [np.zeros(0)]
        for labels in sets:
            for image in labels.images:
                boxes = image.boxes[~image.ignored].astype(np.float64)
                if len(boxes):
                    width, height = labels.size(image.path)
                    scale = max(rule.target(width, height)) / max(width, height)
                    sides.append(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) * scale)
        if len(sides) == 1:
            raise LabelError("face sizes need at least one labelled face that is not ignored, got none")
        return cls(rule, np.concatenate(sides))

    @property
    def weights(self) -> tuple[float, float, float, float, float]:
        """DDSAR's stage weights: the share of faces that each stage has to find."""
        return stage_weights(self.sides)

    @property
    def percentiles(self) -> dict[int, float]:
        """Percentile -> side in pixels."""
        return dict(zip(PERCENTILES, np.percentile(self.sides, PERCENTILES).tolist(), strict=True))

    @property
    def search_flag(self) -> str:
        """What to pass to ``facesmith search damofd``; the numbers add up to 1 as far as three decimals do."""
        return "--stage-weights " + " ".join(f"{weight:.3f}" for weight in self.weights)

    def text(self) -> str:
        """For people."""
        limits = [0, *(int(edge) for edge in SIDE_EDGES)]
        counts = [round(weight * len(self.sides)) for weight in self.weights]
        lines = [
            f"{len(self.sides):,} faces, side (root of width x height) in pixels of the network's input, {self.rule}",
            "percentile " + "".join(f"{percent:>8}" for percent in PERCENTILES),
            "side       " + "".join(f"{side:>8.1f}" for side in self.percentiles.values()),
            "",
            "stage  stride  face sides     faces   share",
        ]
        for i, (stride, weight, count) in enumerate(zip(STRIDES, self.weights, counts, strict=True)):
            sides = f"{limits[i]} to {limits[i + 1]}" if i + 1 < len(limits) else f"{limits[i]} and more"
            lines.append(f"{i + 1:>5}  {stride:>6}  {sides:<12} {count:>7,}  {weight:>6.1%}")
        return "\n".join([*lines, "", f"for these faces: facesmith search damofd --flops 0.5G {self.search_flag}"])
