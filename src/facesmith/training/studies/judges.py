"""How a study judges a network: by the protocols of ``facesmith evaluate``, through the users' ``Detector``.

Figures are what the papers print: recall and AP in percent, NME times 100.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facesmith import runtime
from facesmith.box_styles import FDDB, BoxStyle
from facesmith.evaluation import widerface
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.evaluation.result import Provenance, Result
from facesmith.evaluation.table import origin
from facesmith.evaluation.tasks import Task
from facesmith.faces import Faces

Found = Mapping[str, Faces]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one network.

    Attributes:
        figures: column -> value; one that does not exist, such as the NME of no faces, is left out.
        scope: which images were judged.
        protocol: how, in words.
        seconds: what that took.
    """

    figures: dict[str, float]
    scope: str
    protocol: str
    seconds: float


@dataclass(frozen=True)
class Machine:
    """Where a network runs: ``device`` is ``cpu``, ``cuda`` or ``cuda:N``; ``threads`` of the CPU."""

    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True)
class Judge(ABC):
    """One protocol. A subclass says which, and what of its result goes into which columns."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Titles of the columns."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """How faces are looked for."""

    @abstractmethod
    def task(self, dev: Development) -> Task[Any]:
        """The protocol with its ground truth.

        Raises:
            FacesmithError: the labels are not there or cannot be read.
        """

    @abstractmethod
    def figures(self, result: Result, found: Found, truth: Any) -> tuple[float, ...]:
        """One figure a column, NaN for one that does not exist."""

    def find(
        self, weights: Path, task: Task[Any], pictures: Mapping[str, Path], machine: Machine
    ) -> tuple[Found, Provenance]:
        """The network's faces in every picture, and where they come from."""
        detector = runtime.load(weights, device=machine.device, threads=machine.threads)
        settings = replace(self.settings, turns=task.turns)
        found = {one.name: one.faces for one in predict(detector, pictures, settings, progress=False)}
        return found, settings.provenance(detector)

    def verdict(self, weights: Path, dev: Development, machine: Machine) -> Verdict:
        """Judge the network of the file ``weights`` on those pictures of the protocol that are there."""
        start = time.monotonic()
        task = self.task(dev)
        pictures = find_pictures(dev.images, task.images)
        task = task.subset(pictures)
        found, provenance = self.find(weights, task, pictures, machine)
        result = task.evaluate(found, task.truth, provenance)
        values = zip(self.columns, self.figures(result, found, task.truth), strict=True)
        figures = {column: value for column, value in values if not math.isnan(value)}
        return Verdict(figures, result.scope, origin(result), round(time.monotonic() - start, 1))


@dataclass(frozen=True)
class FddbRecall(Judge):
    """FDDB's discrete recall, of faces of any score: networks of short trainings are not equally sure of themselves.

    Attributes:
        limits: numbers of false positives at which it is read.
        turns: quarter turns, counter-clockwise, of pictures and ellipses.
        box_style: boxes are made from landmarks in this style, which is turned with the pictures; ``None``: they are
            judged as predicted.
        nms: share of the smaller box's area above which NMS drops a face; KPNet's is .6.
        size: size rule.
    """

    limits: tuple[int, ...] = (50,)
    turns: int = 0
    box_style: BoxStyle | None = FDDB
    nms: float = 0.6
    size: str = "auto"

    @property
    def columns(self) -> tuple[str, ...]:
        turned = f"{90 * self.turns:+d}° " if self.turns else ""
        return tuple(f"FDDB {turned}@{limit}" for limit in self.limits)

    @property
    def style(self) -> BoxStyle | None:
        """What boxes are to look like in the turned pictures."""
        return None if self.box_style is None else turned(self.box_style, self.turns)

    @property
    def settings(self) -> Settings:
        looks = Augmentation.parse("none", self.size)
        return Settings(looks, threshold=0.0, nms=self.nms, nms_min_area=True, box_style=self.style)

    def task(self, dev: Development) -> Task[Any]:
        return dev.fddb(turns=self.turns)

    def figures(self, result: Result, found: Found, truth: Any) -> tuple[float, ...]:
        return tuple(100 * result.metrics[f"discrete @{limit}"] for limit in self.limits)


@dataclass(frozen=True)
class FrameError(Judge):
    """NME of five landmarks by the face's size, over the faces of the development frames that were found.

    Faces of any score count as found, so that it hardly matters how sure a network is of itself.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        return ("NME",)

    @property
    def settings(self) -> Settings:
        return Settings(Augmentation.parse("none", "auto"), threshold=0.0, nms=0.6, nms_min_area=True)

    def task(self, dev: Development) -> Task[Any]:
        return dev.frames()

    def figures(self, result: Result, found: Found, truth: Any) -> tuple[float, ...]:
        return (100 * result.metrics.get("nme_box", float("nan")),)


@dataclass(frozen=True)
class WiderPrecision(Judge):
    """WIDER FACE's AP of each subset, and the WIDER Challenge's mean AP over IoU .5 to .95 of the hard one.

    Attributes:
        size: size rule, or ``vga``.
    """

    size: str = "vga"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("easy", "medium", "hard", "mAP")

    @property
    def settings(self) -> Settings:
        return Settings(Augmentation.parse("none", self.size))

    def task(self, dev: Development) -> Task[Any]:
        return dev.wider()

    def figures(self, result: Result, found: Found, truth: Any) -> tuple[float, ...]:
        strict = widerface.evaluate_challenge(found, truth, provenance=result.provenance)
        plain = (result.metrics.get(subset, float("nan")) for subset in ("easy", "medium", "hard"))
        return tuple(100 * value for value in (*plain, strict.metrics.get("hard", float("nan"))))


def turned(style: BoxStyle, turns: int) -> BoxStyle:
    """The style of faces that are turned counter-clockwise by ``turns`` quarters."""
    for _ in range(turns % 4):
        style = BoxStyle(style.dy, 0.0 - style.dx, style.sy, style.sx)
    return style
