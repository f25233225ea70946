"""What tiles, rotations and the second look of ``--size auto`` find, and what they cost.

    python benchmarks/reach.py rotations --data ../shared/data/dev
    python benchmarks/reach.py tiles --data ../shared/data/dev
    python benchmarks/reach.py large --data ../shared/data/dev

``rotations``: FDDB turned by 0, ±90 and 180 degrees, with and without ``rotations=(90, -90, 180)``. ``tiles``: WIDER
FACE's photographs at their own resolution side by side in pictures of 6000 × 4000 pixels, judged photograph by
photograph by the official rule. ``large``: crops of FDDB and WIDER FACE that a face fills by 60 to 120 % of width and
height, enlarged or shrunk to pictures of 160 to 2,560 pixels. All on the development photographs.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro

from accuracy import unpacked
from facesmith import geometry, images
from facesmith.errors import FacesmithError
from facesmith.evaluation import widerface
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.evaluation.result import Provenance
from facesmith.evaluation.tasks import Task
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD, EVERYDAY_THRESHOLD, Detector, SizeRule, load
from facesmith.runtime.views import ROTATIONS, resized

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Common:
    """Where the photographs are, and which model is measured."""

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder with the tars and ground-truth."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with the unpacked tars; without it they are unpacked to a temporary folder."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or a file; without it the default model."""

    threads: int | None = None
    """CPU threads."""


class Clock:
    """Wall-clock and process CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self._wall:8.1f}{time.process_time() - self._cpu:8.1f}"


@dataclass(frozen=True)
class Rotations:
    """FDDB turned, seen upright only and in all turns."""

    common: tyro.conf.OmitArgPrefixes[Common]

    size: str = "auto"
    """At which size the model sees a picture."""

    turns: tuple[int, ...] = (0, 1, -1, 2)
    """Quarter turns, counter-clockwise, of the pictures."""

    def run(self) -> None:
        """Measure and print."""
        detector = load(self.common.model, threads=self.common.threads)
        print(f"{detector.name}, {detector.size_rule(self.size)}; recall at 1, 50, 100 false positives")
        print(f"{'turned by':>10}  {'rotations':14}{'@1':>8}{'@50':>8}{'@100':>8}{'wall s':>8}{'CPU s':>8}")
        with unpacked(self.common.data, self.common.images) as folder:
            for turns in self.turns:
                task: Task[Any] = Development(self.common.data, folder).fddb(turns=turns)
                pictures = find_pictures(folder, task.images)
                task = task.subset(pictures)
                for rotations in ((), ROTATIONS):
                    clock, found = Clock(), {}
                    for name, path in pictures.items():
                        image = np.ascontiguousarray(np.rot90(images.read(path), turns))
                        found[name] = detector.detect(
                            image, size=self.size, threshold=EVALUATION_THRESHOLD, rotations=rotations
                        )
                    spent = str(clock)
                    metrics = task.evaluate(found, task.truth, Provenance(detector.name)).metrics
                    recalls = "".join(f"{metrics[f'discrete @{n}']:8.3f}" for n in (1, 50, 100))
                    label = " ".join(map(str, rotations)) or "none"
                    print(f"{90 * turns:+9}°  {label:14}{recalls}{spent}", flush=True)


@dataclass(frozen=True)
class Mosaic:
    """Photographs side by side: each one's name, and its x and y in the picture."""

    image: RGB
    places: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)

    def split(self, faces: Faces) -> dict[str, Faces]:
        """Photograph -> the faces whose centre lies on it, in its pixels."""
        centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        return {
            name: faces[((centres >= (x, y)) & (centres < (x + w, y + h))).all(axis=1)].mapped((1, 1), (-x, -y))
            for name, (x, y, w, h) in self.places.items()
        }


def mosaics(pictures: dict[str, Path], width: int, height: int) -> Iterator[Mosaic]:
    """``pictures`` at their own resolution in rows; a new mosaic where ``height`` is full."""
    mosaic, x, y, row = Mosaic(np.full((height, width, 3), 114, np.uint8)), 0, 0, 0
    for name, path in pictures.items():
        image = images.read(path)
        h, w = image.shape[:2]
        if x + w > width:
            x, y, row = 0, y + row, 0
        if y + h > height:
            yield mosaic
            mosaic, x, y, row = Mosaic(np.full((height, width, 3), 114, np.uint8)), 0, 0, 0
        mosaic.image[y : y + h, x : x + w] = image
        mosaic.places[name] = (x, y, w, h)
        x, row = x + w, max(row, h)
    yield mosaic


@dataclass(frozen=True)
class Tiles:
    """Pictures of many megapixels, with and without tiles."""

    common: tyro.conf.OmitArgPrefixes[Common]

    sides: tuple[int, ...] = (640, 960, 1280)
    """Sides of tiles to try."""

    width: int = 6000
    """Of a picture, pixels."""

    height: int = 4000
    """Of a picture, pixels."""

    def run(self) -> None:
        """Measure and print."""
        detector = load(self.common.model, threads=self.common.threads)
        with unpacked(self.common.data, self.common.images) as folder:
            task = Development(self.common.data, folder).wider()
            pictures = find_pictures(folder, task.images)
            task = task.subset(pictures)
            made = list(mosaics(pictures, self.width, self.height))
            print(f"{detector.name}; {len(pictures)} photographs in {len(made)} pictures of {self.width}×{self.height}")
            print(f"{'':28}{'easy':>8}{'medium':>8}{'hard':>8}{'16–32':>8}{'32–64':>8}{'wall s':>8}{'CPU s':>8}")
            clock = Clock()
            alone = {one.name: one.faces for one in predict(detector, pictures, Settings(), progress=False)}
            self._print("photographs, one by one", alone, task, str(clock))
            for label, settings in self._settings():
                clock, found = Clock(), dict[str, Faces]()
                for mosaic in made:
                    faces = detector.detect(mosaic.image, threshold=EVALUATION_THRESHOLD, **settings)
                    found |= mosaic.split(faces)
                self._print(label, found, task, str(clock))

    def _settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "auto", {"size": "auto"}
        yield "original", {"size": "original"}
        for side in self.sides:
            yield f"auto, tiles of {side}", {"size": "auto", "tiles": side}

    def _print(self, label: str, found: dict[str, Faces], task: Task[widerface.Truth], spent: str) -> None:
        result = task.evaluate(found, task.truth, Provenance("tiles"))
        rows = widerface.breakdown(found, task.truth, threshold=EVERYDAY_THRESHOLD).sizes
        recalls = [row.recall_above_threshold for row in rows if row.smallest in (16, 32)]
        figures = "".join(f"{value:8.3f}" for value in (*result.metrics.values(), *recalls))
        print(f"{label:28}{figures}{spent}", flush=True)


@dataclass(frozen=True)
class Large:
    """Faces that fill the picture, seen once and by ``auto``."""

    common: tyro.conf.OmitArgPrefixes[Common]

    fills: tuple[float, ...] = (0.6, 0.8, 1.0, 1.2)
    """Width and height of the face, in shares of the crop's."""

    sides: tuple[int, ...] = (160, 320, 640, 1280, 2560)
    """Long sides of the pictures, pixels."""

    count: int = 150
    """Faces, drawn from all of 100 pixels and more."""

    threshold: float = EVERYDAY_THRESHOLD
    """Lowest score."""

    def run(self) -> None:
        """Measure and print."""
        detector = load(self.common.model, threads=self.common.threads)
        rules = {"one look": SizeRule(least=160, most=1280), "auto": detector.size_rule("auto")}
        with unpacked(self.common.data, self.common.images) as folder:
            faces = self._faces(Development(self.common.data, folder), folder)
            print(f"{detector.name}, score ≥ {self.threshold}; {len(faces)} faces: recall (false positives)")
            print(f"{'filled':>8}  {'':10}" + "".join(f"{side:>10} px" for side in self.sides))
            for fill in self.fills:
                crops = [crop(images.read(path), box, fill) for path, box in faces]
                for name, rule in rules.items():
                    cells = (self._recall(detector, crops, rule, side) for side in self.sides)
                    print(f"{fill:8.0%}  {name:10}" + "".join(f"{r:8.3f} ({n:3})" for r, n in cells), flush=True)

    def _faces(self, dev: Development, folder: Path) -> list[tuple[Path, npt.NDArray[Any]]]:
        fddb, wider = dev.fddb(), dev.wider()
        listed = [
            *((name, one.boxes()) for name, one in zip(fddb.truth.names, fddb.truth.ellipses, strict=True)),
            *zip(wider.truth.names, wider.truth.image_boxes(), strict=True),
        ]
        there = {**find_pictures(folder, fddb.images), **find_pictures(folder, wider.images)}
        every = [(there[name], box) for name, boxes in listed if name in there for box in boxes]
        large = [(path, box) for path, box in every if min(box[2:] - box[:2]) >= 100]
        chosen = np.random.default_rng(0).permutation(len(large))[: self.count]
        return [large[i] for i in chosen]

    def _recall(
        self, detector: Detector, crops: list[tuple[RGB, npt.NDArray[Any]]], rule: SizeRule, side: int
    ) -> tuple[float, int]:
        """Share of crops whose face is found, with an IoU of .5 within the picture, and the number of other boxes."""
        hits = others = 0
        for image, box in crops:
            h, w = image.shape[:2]
            scale = side / max(h, w)
            size = max(1, round(w * scale)), max(1, round(h * scale))
            found = detector.detect(resized(image, size), size=rule, threshold=self.threshold).boxes
            true, limit = box * scale, np.tile(size, 2)
            overlaps = geometry.iou(np.clip(found, 0, limit), np.clip(true, 0, limit)[None])
            hit = bool((overlaps >= 0.5).any())
            hits, others = hits + hit, others + len(found) - hit
        return hits / len(crops), others


def crop(image: RGB, box: npt.NDArray[Any], fill: float) -> tuple[RGB, npt.NDArray[Any]]:
    """The part of ``image`` that ``box`` fills by ``fill`` of its width and height, and the box in it."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 / fill
    x1, y1 = np.clip(np.round(centre - half), 0, image.shape[1::-1]).astype(int)
    x2, y2 = np.clip(np.round(centre + half), 0, image.shape[1::-1]).astype(int)
    return image[y1:y2, x1:x2], box - np.array([x1, y1, x1, y1])


Reach = (
    Annotated[Rotations, tyro.conf.subcommand("rotations")]
    | Annotated[Tiles, tyro.conf.subcommand("tiles")]
    | Annotated[Large, tyro.conf.subcommand("large")]
)

if __name__ == "__main__":
    try:
        tyro.cli(Reach, description=__doc__).run()
    except FacesmithError as error:
        sys.exit(f"reach.py: {error}")
