"""``facesmith box-style``: what a set of labels calls a face's box, fitted to faces with landmarks.

How the constants of :mod:`facesmith.box_styles` were made, FDDB's from the 350 images at hand::

    facesmith box-style labels widerface.txt
    facesmith box-style fddb FDDB-folds --images DIR

AFW, PASCAL Face and MALF have no constants, since their pictures were not at hand. Where they are, the same command
fits them once and keeps them by their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import tyro

from facesmith.box_styles import TO_FIT, fit, keep, offsets
from facesmith.data.labels import LabelledImage, read_labels
from facesmith.errors import ConfigError, LabelError
from facesmith.evaluation import face_eval, tasks
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.mistakes import Labels
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.geometry import iou
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector, load

FloatArray = npt.NDArray[np.float32]

ELLIPSE_TO_BOX = 0.91
"""FDDB compares rectangles with ellipses. Of all rectangles, an ellipse's upright bounding box scaled by this has
the highest IoU with it (for an upright ellipse .837; the bounding box itself has pi / 4 = .785)."""

SAME_FACE = 0.3
"""Least IoU of a detection and a labelled box: styles differ, so two boxes of one face may overlap by half only."""


@dataclass(frozen=True)
class BoxStyle:
    """Fit a box style: how labelled boxes lie about the square that a face's landmarks imply.

    Prints the medians of dx, dy (from the square's centre to the box's), sx, sy (the box's width and height),
    all in shares of the square's side, their spread (the median absolute deviation from the median), and the
    `--box-style` of `detect` and `evaluate` that applies them. The styles of afw, pascal and malf are kept, so that
    `--box-style afw` means them from now on; --name keeps any other.
    Faces that the labels mark as not counting are left out.
    """

    form: Annotated[Literal["labels", "fddb", "afw", "pascal", "malf"], tyro.conf.Positional]
    """What PATH is: labels (the layout of `facesmith train`'s label files), or a benchmark's ground truth as for
    `facesmith evaluate`."""

    truth: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """The label file, or folder of such files."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, for labels without landmarks: a model finds them there. Images may be missing."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """The model that finds landmarks; without it the default one."""

    name: str | None = None
    """Keep the style under this name for --box-style."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    def run(self) -> int:
        """Fit, print, keep."""
        if self.images is not None:
            detector = load(self.model, threads=self.threads)
            boxes, landmarks, faces = _detected(detector, self.images, self._truth(self.images))
            origin = f"landmarks of {detector.name}"
        elif self.form != "labels":
            raise ConfigError(f"{self.form}'s labels have no landmarks: give --images DIR, where a model finds them")
        elif self.model is not None:
            raise ConfigError("--model finds landmarks in pictures: give --images DIR as well, or leave it away")
        else:
            boxes, landmarks, faces = _labelled(self.truth)
            origin = "labelled landmarks"
        style = fit(boxes, landmarks)
        median = np.array([style.dx, style.dy, style.sx, style.sy])
        spread = np.nanmedian(np.abs(offsets(boxes, landmarks) - median), axis=0)
        print(f"{len(boxes):,} of {faces:,} faces, {origin}")
        print("".join(f"{name:>8}" for name in ("dx", "dy", "sx", "sy")))
        for row, what in ((median, "median"), (spread, "median absolute deviation")):
            print("".join(f"{value:8.3f}" for value in row) + f"  {what}")
        name = self.name or (self.form if self.form in TO_FIT else None)
        if name is not None:
            print(f"kept in {keep(name, style)}: --box-style {name}")
        print(f"use it: --box-style={','.join(f'{value:.3f}' for value in median)}")
        return 0

    def _truth(self, images: Path) -> Mapping[str, Labels]:
        """Image name -> labelled boxes, and which of them count."""
        if self.form == "labels":
            return {image_name(one.path): Labels(one.boxes, ~one.ignored) for one in read_labels(self.truth)}
        if self.form == "fddb":
            return {name: _rectangles(one) for name, one in _labels(tasks.fddb_task(self.truth, images)).items()}
        if self.form == "malf":
            return _labels(tasks.malf_task(self.truth))
        benchmark = face_eval.AFW if self.form == "afw" else face_eval.PASCAL
        return _labels(tasks.face_eval_task(self.truth, benchmark))


def _labels(task: tasks.Task[Any]) -> Mapping[str, Labels]:
    assert task.labels is not None  # the truth of all protocols here is boxes
    return task.labels(task.truth)


def _rectangles(ellipses: Labels) -> Labels:
    """Ellipses' bounding boxes, scaled about their centres to the rectangles that overlap the ellipses most."""
    centre = (ellipses.boxes[:, :2] + ellipses.boxes[:, 2:]) / 2
    half = (ellipses.boxes[:, 2:] - ellipses.boxes[:, :2]) / 2 * ELLIPSE_TO_BOX
    return Labels(np.concatenate((centre - half, centre + half), axis=1), ellipses.counts)


def _labelled(path: Path) -> tuple[FloatArray, FloatArray, int]:
    """Boxes (n, 4) and landmarks (n, 5, 2) of the faces that have both, and how many faces there are."""
    labels: list[LabelledImage] = read_labels(path)
    counted = [~label.ignored for label in labels]
    boxes = np.concatenate([label.boxes[rows] for label, rows in zip(labels, counted, strict=True)])
    landmarks = np.concatenate([label.landmarks[rows] for label, rows in zip(labels, counted, strict=True)])
    known = np.isfinite(landmarks).all(axis=(1, 2))
    if not known.any():
        raise LabelError(f"{path}: no face has landmarks; give --images DIR, where a model finds them")
    return boxes[known], landmarks[known], len(boxes)


def _detected(detector: Detector, images: Path, truth: Mapping[str, Labels]) -> tuple[FloatArray, FloatArray, int]:
    """Labelled boxes (n, 4) and the landmarks (n, 5, 2) that ``detector`` finds in them, and how many faces there
    are in the images below ``images``.

    A box and a detection belong together if each is the other's best by IoU, at least :data:`SAME_FACE`.
    """
    settings = Settings(Augmentation.parse("none", "auto"), threshold=EVERYDAY_THRESHOLD)
    boxes, landmarks, count = [np.zeros((0, 4), np.float32)], [np.zeros((0, 5, 2), np.float32)], 0
    for picture in predict(detector, find_pictures(images, list(truth)), settings):
        labels, faces = truth[picture.name], picture.faces
        count += int(labels.counts.sum())
        if not len(labels.boxes) or not len(faces) or faces.landmarks is None:
            continue
        overlap = iou(labels.boxes, faces.boxes)
        best, back = overlap.argmax(axis=1), overlap.argmax(axis=0)
        paired = labels.counts & (back[best] == np.arange(len(best))) & (overlap.max(axis=1) >= SAME_FACE)
        boxes.append(labels.boxes[paired].astype(np.float32))
        landmarks.append(faces.landmarks[best[paired]])
    return np.concatenate(boxes), np.concatenate(landmarks), count
