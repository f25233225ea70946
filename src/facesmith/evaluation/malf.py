"""MALF, Multi-Attribute Labelled Faces (Yang et al., FG 2015): 5,250 images, 250 of them with public labels.

Detections are judged as in PASCAL VOC (:func:`facesmith.evaluation.face_eval.match`: IoU strictly above .5,
border pixels counted, one detection a face); faces under 20 px in width or height, or flagged as hard, are
ignored. The paper stresses recall at few false alarms: the curve is the true positive rate against the mean
number of false positives an image. The official figures are those of the benchmark's own site, on the 5,000
images without public labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from facesmith.errors import LabelError
from facesmith.evaluation.face_eval import (
    Benchmark,
    Labels,
    Truth,
    collect,
    match,
    precision_recall,
    truth_of,
)
from facesmith.evaluation.label_text import read_boxes
from facesmith.evaluation.predictions import Predictions, align, write_fddb_text
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.faces import Faces

VERSION = "1"
MALF = Benchmark("malf", 250, None)
"""The part with public labels."""
TEST_IMAGES = 5000
SMALLEST_FACE = 20.0
FALSE_POSITIVES_AN_IMAGE = (0.01, 0.1, 1.0)


def load_truth(path: str | Path) -> Truth:
    """Read the labels of the 250 images as text: ``# image`` and then lines ``x y w h ignored``.

    The layout of the file that the benchmark hands out is undocumented: convert its square boxes and its
    ``ignore`` flags (0 or 1) to this text. Faces under 20 px are ignored whatever their flag.

    Raises:
        LabelError: the file is malformed; the message names the line.
    """
    return truth_of(read_boxes(Path(path)), MALF, SMALLEST_FACE)


def evaluate(predictions: Predictions, truth: Truth, *, provenance: Provenance) -> Result:
    """``AP``, ``recall`` over all detections, and the true positive rates ``TPR@0.01``, ``@0.1`` and ``@1``.

    ``TPR@f`` is the largest at no more than f false positives an image in the mean.

    Args:
        predictions: image name -> faces, one entry for every image of ``truth``.

    Raises:
        LabelError: image names do not match, or the truth holds no face that counts.
    """
    found = collect(align(predictions, truth.names))
    labels = Labels.of(truth.boxes, truth.ignored)
    matches = match(found, labels)
    curve = precision_recall(matches, labels.count)
    # one point a distinct score, after (0, 0): detections with equal scores come together
    last = np.append(found.scores[1:] != found.scores[:-1], True)[: len(found.scores)]
    rate = np.append(0.0, np.cumsum(matches.hit)[last] / labels.count)
    alarms = np.append(0.0, np.cumsum(matches.false)[last] / len(truth.names))
    metrics = {"AP": curve.area, "recall": float(rate[-1])}
    for most in FALSE_POSITIVES_AN_IMAGE:
        metrics[f"TPR@{most:g}"] = float(rate[np.searchsorted(alarms, most, side="right") - 1])
    return Result(
        protocol=MALF.name,
        version=VERSION,
        metrics=metrics,
        images=len(truth.names),
        official_images=MALF.images,
        provenance=provenance,
        curves=(
            Curve("TPR", alarms, rate, "mean false positives an image", "true positive rate", log_x=True),
            curve.curve("precision"),
        ),
        counts={"faces": labels.count, "ignored": int(labels.ignored.sum()), "detections": len(found.boxes)},
        notes=("the images with public labels; MALF's published figures are on its other 5,000",),
    )


def write_submission(predictions: Mapping[str, Faces], names: Sequence[str], path: str | Path) -> None:
    """Write the detections on the 5,000 test images as one text file, in the order of ``names``.

    For each image its name, the number of faces and a line ``x y width height score`` a face (FDDB's layout);
    compare it with the site's current instructions before sending it in.

    Args:
        predictions: image name -> faces, one entry for every one of ``names``.
        names: the test images, without suffix.

    Raises:
        LabelError: these are not 5,000 different images, or image names do not match.
    """
    if len(set(names)) != TEST_IMAGES or len(names) != TEST_IMAGES:
        raise LabelError(
            f"a MALF submission covers the {TEST_IMAGES:,} test images; "
            f"got {len(names):,} names, {len(set(names)):,} of them different"
        )
    write_fddb_text(dict(zip(names, align(predictions, names), strict=True)), path)
