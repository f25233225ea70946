"""Time of the WIDER FACE and FDDB evaluations on made-up data of the benchmarks' full size.

    python benchmarks/evaluation.py

prints the processor time of each part on one core, and how many times longer a loop-by-loop reference (the
tests') takes on a slice of the same data, with equal figures. No images are needed. Set OMP_NUM_THREADS=1 for
one core.
"""

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy
import tyro

from facesmith.evaluation import fddb, widerface
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evaluation"))
import slow_fddb
import slow_widerface

MADE_UP = Provenance("made-up predictions")


@dataclass(frozen=True)
class Sizes:
    """How much data is made up.

    Attributes:
        images: WIDER FACE images, with 12 faces each on average, most with one, some with hundreds.
        predictions: predictions per WIDER FACE image.
        fddb_images: FDDB images, with 1.8 faces each on average.
        detections: detections per FDDB image, every one with a score of its own.
        reference: images of each that the reference evaluates, too; 0 for none.
        seed: of the random numbers.
    """

    images: int = widerface.OFFICIAL_IMAGES
    predictions: int = 300
    fddb_images: int = fddb.OFFICIAL_IMAGES
    detections: int = 100
    reference: int = 40
    seed: int = 0


def main(sizes: Sizes) -> None:
    """Make up data, evaluate it, print the times."""
    print(
        f"{processor()}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, OpenCV {cv2.__version__}"
    )
    rng = np.random.default_rng(sizes.seed)
    if sizes.images:
        time_widerface(rng, sizes)
    if sizes.fddb_images:
        time_fddb(rng, sizes)


def time_widerface(rng: np.random.Generator, sizes: Sizes) -> None:
    """All three subsets together, the challenge, and the reference's AP of one subset on a slice."""
    truth, predictions = made_up_widerface(rng, sizes.images, sizes.predictions)
    print(
        f"WIDER FACE: {len(truth.names):,} images, {len(truth.boxes):,} boxes, "
        f"{sum(map(len, predictions.values())):,} predictions"
    )
    timed("easy, medium and hard", lambda: widerface.evaluate(predictions, truth, provenance=MADE_UP))
    timed("challenge, 10 IoUs × 3", lambda: widerface.evaluate_challenge(predictions, truth, provenance=MADE_UP))
    timed("breakdown", lambda: widerface.breakdown(predictions, truth, threshold=0.5))
    if not sizes.reference:
        return
    part = truth.subset(truth.names[: sizes.reference])
    chosen = {name: predictions[name] for name in part.names}
    part = widerface.Truth(part.names, part.boxes, part.offsets, {"hard": part.subsets["hard"]}, {}, None)
    result, fast = timed(
        f"hard, {len(part.names)} images", lambda: widerface.evaluate(chosen, part, provenance=MADE_UP)
    )
    images = [
        (sized(boxes), np.column_stack((sized(faces.boxes), faces.scores)).tolist())
        for boxes, faces in zip(part.image_boxes(), chosen.values(), strict=True)
    ]
    counts = [flags.tolist() for flags in np.split(part.subsets["hard"], part.offsets[1:-1])]
    expected, slow = timed("the same by reference", lambda: slow_widerface.average_precision(images, counts))
    compare(result.metrics["hard"], expected, slow / fast)


def time_fddb(rng: np.random.Generator, sizes: Sizes) -> None:
    """Rectangles and ellipses, and the reference's ROC of rectangles on a slice."""
    truth, rectangles, ellipses = made_up_fddb(rng, sizes.fddb_images, sizes.detections)
    print(
        f"FDDB: {len(truth.names):,} images, {sum(map(len, truth.ellipses)):,} faces, "
        f"{sum(map(len, rectangles.values())):,} detections"
    )
    timed("rectangles", lambda: fddb.evaluate(rectangles, truth, provenance=MADE_UP))
    timed("ellipses", lambda: fddb.evaluate(ellipses, truth, provenance=MADE_UP))
    if not sizes.reference:
        return
    part = truth.subset(truth.names[: sizes.reference])
    chosen = {name: rectangles[name] for name in part.names}
    result, fast = timed(
        f"rectangles, {len(part.names)} images", lambda: fddb.evaluate(chosen, part, provenance=MADE_UP)
    )
    images = [
        slow_fddb.Image(*size, faces.shapes.tolist(), np.column_stack((sized(found.boxes), found.scores)).tolist())
        for size, faces, found in zip(part.sizes.tolist(), part.ellipses, chosen.values(), strict=True)
    ]
    rows, slow = timed("the same by reference", lambda: slow_fddb.roc(images))
    faces = sum(map(len, part.ellipses))
    expected = max(continuous for _, false, _, continuous in rows if false <= 1000) / faces
    compare(result.metrics["continuous @1000"], expected, slow / fast)


def made_up_widerface(
    rng: np.random.Generator, images: int, predictions: int
) -> tuple[widerface.Truth, dict[str, Faces]]:
    """Crowds by a log-normal law; half of the predictions lie about faces, the rest anywhere."""
    counts = np.minimum(np.ceil(rng.lognormal(1.33, 1.55, images)), 1900).astype(np.int64)
    corners, edges = rng.uniform(0, 950, (counts.sum(), 2)), rng.lognormal(3, 0.8, (counts.sum(), 1))
    edges = np.round(edges * np.array([1, 1.2]))
    boxes = np.concatenate((np.round(corners), np.round(corners) + edges), axis=1).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    subsets = {name: edges[:, 1] >= least for name, least in (("easy", 50), ("medium", 30), ("hard", 10))}
    names = tuple(f"0--Made_up/{i}" for i in range(images))
    truth = widerface.Truth(names, boxes, offsets, subsets, {}, images)
    found = {
        name: near_and_far(rng, faces, max(predictions, len(faces)))
        for name, faces in zip(names, truth.image_boxes(), strict=True)
    }
    return truth, found


def near_and_far(rng: np.random.Generator, boxes: np.ndarray, n: int) -> Faces:
    """``n`` predictions with scores of a thousandth: whole pixels, so that the reference sees the same
    numbers.
    """
    near = boxes[rng.integers(len(boxes), size=n // 2)]
    near = near + rng.normal(0, 0.12, near.shape) * np.tile(near[:, 2:] - near[:, :2], 2)
    corners = rng.uniform(0, 950, (n - n // 2, 2))
    far = np.concatenate((corners, corners + rng.lognormal(3, 0.8, (len(corners), 1))), axis=1)
    rows = np.round(np.concatenate((near, far)))
    rows[:, 2:] = np.maximum(rows[:, 2:], rows[:, :2])
    scores = np.concatenate((rng.beta(3, 2, len(near)), rng.beta(1, 5, len(far))))
    return Faces(rows, np.round(scores * 1024) / 1024)


def made_up_fddb(
    rng: np.random.Generator, images: int, detections: int
) -> tuple[fddb.Truth, dict[str, Faces], dict[str, fddb.Ellipses]]:
    """Pictures of 450 × 300 with one to eight faces, often side by side."""
    sizes = np.tile([450, 300], (images, 1))
    names = tuple(f"2002/made_up/img_{i}" for i in range(images))
    faces, rectangles, ellipses = list[fddb.Ellipses](), dict[str, Faces](), dict[str, fddb.Ellipses]()
    scores = rng.permutation(images * detections).reshape(images, detections) / (images * detections)
    for name, own_scores in zip(names, scores, strict=True):
        n = min(int(rng.geometric(0.55)), 8)
        minor = rng.uniform(15, 60, n)
        shapes = np.column_stack(
            (minor * 1.4, minor, rng.normal(1.5, 0.2, n), rng.uniform((40, 40), (410, 260), (n, 2)))
        )
        faces.append(fddb.Ellipses(shapes, np.ones(n)))
        noise = rng.normal(0, 0.15, (detections, 5)) * np.array([1, 1, 0.5, 1, 1])
        near = shapes[rng.integers(n, size=detections)]
        near = near + noise * np.column_stack((near[:, :2], np.ones(detections), near[:, :2]))
        far = rng.random(detections) < 0.6
        near[far, 3:] = rng.uniform((0, 0), (450, 300), (int(far.sum()), 2))
        near[:, :2] = np.maximum(near[:, :2], 1)
        found = fddb.Ellipses(near, own_scores)
        ellipses[name], rectangles[name] = found, Faces(np.round(found.boxes()), found.scores)
    folds = np.arange(images) * 10 // max(images, 1) + 1
    return fddb.Truth(names, tuple(faces), sizes, folds), rectangles, ellipses


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.processor() or platform.machine()


def sized(boxes: np.ndarray) -> list[list[float]]:
    """Rows x, y, width, height."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1).astype(float).tolist()


def timed(what: str, call: Callable[[], Any]) -> tuple[Any, float]:
    """Print and return the processor time of ``call``; its result first."""
    start = time.process_time()
    result = call()
    seconds = time.process_time() - start
    print(f"  {what:<28} {seconds:8.2f} s")
    return result, seconds


def compare(ours: float, reference: float, ratio: float) -> None:
    """Print the ratio, and stop if the figures differ."""
    if abs(ours - reference) > 1e-9:
        raise SystemExit(f"figures differ: {ours} by facesmith, {reference} by the reference")
    print(f"  {ratio:.0f} times faster than the reference, equal figures ({ours:.6f})")


if __name__ == "__main__":
    main(tyro.cli(Sizes, description=__doc__))
