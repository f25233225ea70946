"""Pictures of drawn faces, and a network small enough to learn them within seconds."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.data.labels import read_labels
from facesmith.detectors.parts.anchors import AnchorConfig
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.retinaface.config import RetinaFaceConfig

TINY = RetinaFaceConfig(
    backbone=MobileNetConfig(stem=8, stages=(((16, 2),), ((24, 2),), ((32, 2),))),
    channels=16,
    anchors=AnchorConfig(strides=(4, 8, 16), sides=((8.0, 12.0), (16.0, 24.0), (32.0, 48.0))),
    candidates=100,
)
"""11 thousand parameters for faces of 8 to 48 pixels."""

TINY_BATCH = BatchConfig(images=8, sides=(64,), augment=AugmentConfig(mosaic=0.2))

RELATIVE = np.array([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)])
"""Landmarks of a drawn face, in shares of its box."""


def draw_face(image: npt.NDArray[np.uint8], x: int, y: int, side: int) -> npt.NDArray[np.float64]:
    """Draw a bright face with dark eyes, nose and mouth into ``image``; its landmarks."""
    points = RELATIVE * side + (x, y)
    centre = (x + side // 2, y + side // 2)
    cv2.ellipse(image, centre, (side // 2, side // 2), 0, 0, 360, (250, 210, 170), -1)
    for point in points:
        cv2.circle(image, tuple(int(v) for v in point), max(side // 12, 1), (30, 20, 60), -1)
    cv2.line(image, *(tuple(int(v) for v in p) for p in points[3:]), (30, 20, 60), max(side // 12, 1))
    return points


def write_faces(folder: Path, count: int, *, size: tuple[int, int] = (160, 120), seed: int = 0) -> Path:
    """Fill ``folder`` with ``count`` pictures of faces, their labels ``faces.txt`` and a background; ``folder``."""
    rng = np.random.default_rng(seed)
    width, height = size
    lines = []
    for i in range(count):
        image = _background(rng, width, height)
        lines.append(f"# faces/{i}.png")
        cell = min(width // 2, height)
        for column in range(width // cell):
            side = int(rng.integers(14, 41))
            x = column * cell + int(rng.integers(0, cell - side))
            y = int(rng.integers(0, height - side))
            points = draw_face(image, x, y, side)
            lines.append(f"{x} {y} {side} {side} " + " ".join(f"{a:.1f} {b:.1f} 0" for a, b in points))
        images.write(folder / f"faces/{i}.png", image)
    images.write(folder / "background/0.png", _background(rng, width, height))
    (folder / "faces.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_folds(data: Path) -> None:
    """The faces of :func:`write_faces` in ``data``, which are circles, as FDDB's ellipses in ``ground-truth``."""
    lines = []
    for label in read_labels(data / "faces.txt"):
        lines += [str(Path(label.path).with_suffix("")), str(len(label.boxes))]
        for x1, y1, x2, y2 in label.boxes.tolist():
            lines.append(f"{(x2 - x1) / 2} {(y2 - y1) / 2} 0 {(x1 + x2) / 2} {(y1 + y2) / 2} 1")
    folds = data / "ground-truth/FDDB-folds"
    folds.mkdir(parents=True)
    (folds / "FDDB-fold-01-ellipseList.txt").write_text("\n".join(lines) + "\n")


def _background(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.uint8]:
    coarse = rng.integers(0, 150, (height // 10, width // 10, 3), np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
