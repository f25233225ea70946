"""Which faces a model finds, by their size, lighting, pose, …: what the model cards say of it.

    python benchmarks/face_sizes.py --data ../shared/data/dev --model retinaface-mobilenet0.25

WIDER FACE's hard faces of the development photographs are seen at several sizes of the network's input, so that every
size of a face occurs often enough; a face's size is √(width · height). Recall is the share of faces that are found
(IoU .5 by the official rule) with a score of at least .5, and at any score from .02 on. The model's range spans the
sizes, around the best one, whose recall is at least three quarters of the best. The second table has sizes in
the picture, seen by ``--size auto``; so has the third one, by WIDER FACE's labels. ``--json`` writes what
``tools/add_figures.py`` puts into the model's record.
"""

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import tyro

from accuracy import unpacked
from facesmith import files
from facesmith.errors import FacesmithError
from facesmith.evaluation import widerface
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.evaluation.predictions import align
from facesmith.evaluation.widerface.average_precision import match
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD, EVERYDAY_THRESHOLD, Detector, SizeRule, load

EDGES = (4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024)
"""Pixels; two ranges an octave."""

FEWEST = 20
"""A range with fewer faces says nothing."""

RELATIVE = 0.75
"""Share of the best recall that counts as within the model's range."""


class Row(NamedTuple):
    """Faces of one size and the shares of them that were found."""

    smallest: int
    below: int
    faces: int
    recall: float
    recall_any: float


class Looks(NamedTuple):
    """Hard faces: their sizes, and whether they were found with the everyday score, and with any."""

    sizes: npt.NDArray[np.float64]
    found: npt.NDArray[np.bool_]
    found_any: npt.NDArray[np.bool_]

    def rows(self) -> list[Row]:
        """Recall by size, where there are enough faces."""
        rows = []
        for low, high in itertools.pairwise(EDGES):
            within = (self.sizes >= low) & (self.sizes < high)
            if within.sum() >= FEWEST:
                recalls = float(self.found[within].mean()), float(self.found_any[within].mean())
                rows.append(Row(low, high, int(within.sum()), *recalls))
        return rows


@dataclass(frozen=True)
class FaceSizes:
    """Recall by face size."""

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder with the tars and ground-truth."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with the unpacked tars; without it they are unpacked to a temporary folder."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or a file; without it the default model."""

    sides: tuple[int, ...] = (320, 640, 1280, 2560)
    """Long sides of the network's input, pixels."""

    threads: int | None = None
    """CPU threads."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the figures to this file."""

    def run(self) -> None:
        """Measure, print, write."""
        detector = load(self.model, threads=self.threads)
        with unpacked(self.data, self.images) as folder:
            task = Development(self.data, folder).wider()
            pictures = find_pictures(folder, task.images)
            task = task.subset(pictures)
            looks = list[Looks]()
            for side in self.sides:
                looks.append(_look(task.truth, side, *_found(detector, pictures, SizeRule.parse(side))))
            everyday = _found(detector, pictures, detector.size_rule("auto"))
        at_input = Looks(*map(np.concatenate, zip(*looks, strict=True))).rows()
        span = found_range(at_input)
        print(f"{detector.name}: finds faces of {span[0]} to {span[1]} pixels of its input")
        _print("pixels of the network's input", [(f"{row.smallest}–{row.below}", *row[2:]) for row in at_input])
        in_picture = _look(task.truth, None, *everyday).rows()
        _print("pixels of the picture, --size auto", [(f"{row.smallest}–{row.below}", *row[2:]) for row in in_picture])
        kinds = widerface.breakdown(everyday[0], task.truth, threshold=EVERYDAY_THRESHOLD).attributes
        labelled = [
            (f"{row.attribute} {row.level}", row.faces, row.recall_above_threshold, row.recall) for row in kinds
        ]
        _print("WIDER FACE's label, --size auto", labelled)
        if self.json is not None:
            how = "widerface 1 matching of hard faces, {}, score ≥ 0.5, NMS 0.4"
            wide = how.format(f"long sides {', '.join(map(str, self.sides))}, one look")
            auto = how.format(detector.size_rule("auto"))
            scope = f"{len(pictures)}-image SUBSET of {len(task.known):,}, {{:,}} faces"
            figures = {
                f"faces of {row.smallest}–{row.below} px of input: recall": _figure(row.recall, wide, scope, row.faces)
                for row in at_input
            } | {f"{name}: recall": _figure(recall, auto, scope, faces) for name, faces, recall, _ in labelled}
            document = {"model": detector.name, "checksum": detector.checksum, "found_faces": span, "figures": figures}
            files.write_text(self.json, json.dumps(document, indent=1) + "\n")


def _figure(value: float, protocol: str, scope: str, faces: int) -> dict[str, float | str]:
    return {"value": round(value, 4), "protocol": protocol, "scope": scope.format(faces)}


def found_range(rows: list[Row]) -> tuple[int, int]:
    """Smallest and largest size, around that with the best recall, that have ``RELATIVE`` of it."""
    best = max(range(len(rows)), key=lambda i: rows[i].recall)
    good = [row.recall >= RELATIVE * rows[best].recall for row in rows]
    first, last = best, best
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < len(rows) and good[last + 1]:
        last += 1
    return rows[first].smallest, rows[last].below


def _found(
    detector: Detector, pictures: dict[str, Path], rule: SizeRule
) -> tuple[dict[str, Faces], dict[str, tuple[int, int]]]:
    """Faces, and sizes of the pictures."""
    settings = Settings(Augmentation((rule,)), threshold=EVALUATION_THRESHOLD)
    every = list(predict(detector, pictures, settings, progress=False))
    return {one.name: one.faces for one in every}, {one.name: (one.width, one.height) for one in every}


def _look(
    truth: widerface.Truth, side: int | None, found: dict[str, Faces], sizes: dict[str, tuple[int, int]]
) -> Looks:
    """Hard faces by their size where a picture's long side has ``side`` pixels; ``None``: its own."""
    matches, hard = match(align(found, truth.names), truth), truth.subsets["hard"]
    shown, any_score = np.zeros((2, len(hard)), bool)
    hit = matches.overlap >= 0.5
    any_score[matches.box[hit]] = True
    shown[matches.box[hit & (matches.score >= EVERYDAY_THRESHOLD)]] = True
    scales = np.array([1.0 if side is None else side / max(sizes[name]) for name in truth.names])
    return Looks((truth.sizes * scales[truth.images])[hard], shown[hard], any_score[hard])


def _print(title: str, rows: list[tuple[str, int, float, float]]) -> None:
    print(f"\n{title:>36}{'faces':>8}{'score ≥ 0.5':>14}{'any score':>12}")
    for name, faces, recall, recall_any in rows:
        print(f"{name:>36}{faces:8}{recall:14.3f}{recall_any:12.3f}", flush=True)


if __name__ == "__main__":
    try:
        tyro.cli(FaceSizes, description=__doc__).run()
    except FacesmithError as error:
        sys.exit(f"face_sizes.py: {error}")
