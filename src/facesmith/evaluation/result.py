"""What every protocol returns: figures, curves, and where they come from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith import files

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot: a PR, ROC or CED curve.

    Attributes:
        name: what the line shows, e.g. ``"easy"``.
        x, y: (k,) float64 values.
        x_label, y_label: axis titles, with units.
        log_x: whether the x axis is usually drawn logarithmically.
    """

    name: str
    x: Array
    y: Array
    x_label: str
    y_label: str
    log_x: bool = False


@dataclass(frozen=True)
class Provenance:
    """How the predictions came about, as far as it is known; ``None`` means unknown, never a guess.

    Attributes:
        detector: name of the model or of the folder the predictions were read from.
        checksum: sha256 of the model file, or of the prediction files in name order.
        size_rule: e.g. ``"long side 640"``, ``"original"``, ``"short sides 500, 800, 1100, 1400, 1700"``.
        augmentation: test-time augmentation in words, ``"none"`` where there is none.
        score_threshold: lowest score kept.
        nms: IoU threshold of non-maximum suppression, or of box voting.
        package: facesmith's version.
        settings: anything else that changes the figure.
    """

    detector: str
    checksum: str | None = None
    size_rule: str | None = None
    augmentation: str | None = None
    score_threshold: float | None = None
    nms: float | None = None
    package: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of one protocol.

    Attributes:
        protocol: e.g. ``"widerface"``.
        version: version of our implementation of the rule, raised when a figure could change.
        metrics: name -> value; fractions (0.95, not 95), NME as a fraction as well.
        images: how many images were evaluated.
        official_images: how many the complete benchmark has; fewer evaluated makes this a subset.
        provenance: where the predictions come from.
        curves: lines for plots.
        counts: other whole numbers, e.g. faces per subset.
        notes: warnings that must be shown wherever the figures are.
    """

    protocol: str
    version: str
    metrics: Mapping[str, float]
    images: int
    official_images: int | None
    provenance: Provenance
    curves: tuple[Curve, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_subset(self) -> bool:
        """Whether fewer images than the official benchmark's were evaluated."""
        return self.official_images is not None and self.images < self.official_images

    @property
    def scope(self) -> str:
        """``"137-image subset of 3,226"``, or the full count."""
        if self.official_images is None:
            return f"{self.images:,} images"
        if self.is_subset:
            return f"{self.images:,}-image SUBSET of {self.official_images:,}"
        return f"all {self.images:,} images"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, curves included."""
        row = {
            "protocol": self.protocol,
            "version": self.version,
            "scope": self.scope,
            "images": self.images,
            "official_images": self.official_images,
            "metrics": {name: float(value) for name, value in self.metrics.items()},
            "counts": {name: int(value) for name, value in self.counts.items()},
            "notes": list(self.notes),
            "provenance": asdict(self.provenance),
        }
        row["curves"] = [{**vars(c), "x": c.x.tolist(), "y": c.y.tolist()} for c in self.curves]
        return row

    def write_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict` to ``path``."""
        files.write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    def table(self) -> str:
        """A few lines for a terminal: scope first, then one figure a line, then notes."""
        width = max((len(name) for name in self.metrics), default=0)
        lines = [f"{self.protocol} ({self.scope}) · {self.provenance.detector}"]
        lines += [f"  {name:<{width}}  {value:.4f}" for name, value in self.metrics.items()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)
