"""The way of many pictures through a network of one input size, stage by stage and as a pipeline."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import geometry, images
from facesmith.evaluation.predict import walk_pictures
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD, Candidates
from facesmith.runtime.ordered import ordered_map
from facesmith.runtime.views import resized

Picture = npt.NDArray[np.uint8]
Run = Callable[[Picture], Candidates]
"""(B, side, side, 3) uint8 -> candidates."""

NMS = 0.4
Item = TypeVar("Item")


class Framed(NamedTuple):
    """A picture in the top-left corner of a black square, and how many times smaller than it was."""

    pixels: Picture
    scale: float


def read_files(folder: Path, count: int) -> list[bytes]:
    """The bytes of ``count`` JPEG files spread over ``folder``."""
    paths = [path for path in walk_pictures(folder) if path.suffix.lower() in (".jpg", ".jpeg")]
    if not paths:
        raise SystemExit(f"{folder}: no .jpg in it")
    return [path.read_bytes() for path in spread(paths, count)]


def spread(paths: Iterable[Path], count: int) -> list[Path]:
    """``count`` of ``paths``, spread evenly over them."""
    every = list(paths)
    return every[:: max(1, len(every) // count)][:count]


def framed(image: Picture, side: int) -> Framed:
    """``image`` with its long side at ``side``."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    small = resized(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    bottom, right = side - small.shape[0], side - small.shape[1]
    return Framed(cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT), scale)


def suppressed(found: Candidates) -> list[Faces]:
    """Candidates of a batch to faces, in pixels of the network's input."""
    return [_faces(*one) for one in zip(*found, strict=True)]


def _faces(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], landmarks: npt.NDArray[np.float32]
) -> Faces:
    kept = scores >= EVALUATION_THRESHOLD
    return geometry.nms_faces(Faces(boxes[kept], scores[kept], landmarks[kept]), NMS)


def pipeline(pictures: Iterable[bytes | Path], run: Run, *, side: int, batch: int, workers: int) -> Iterator[Faces]:
    """Faces of every picture, in order and in its pixels.

    Three stages at the same time: threads decode and resize pictures, one runs the network, threads suppress.
    """

    part = -(-batch // workers)  # so that a batch is ready when the network has done the last

    def prepare(some: Sequence[bytes | Path]) -> list[Framed]:
        return [framed(images.read(picture), side) for picture in some]

    def detect(parts: Iterable[list[Framed]]) -> Iterator[tuple[Candidates, list[float]]]:
        for some in chunks(chain.from_iterable(parts), batch):
            yield run(np.stack([one.pixels for one in some])), [one.scale for one in some]

    def finish(found: tuple[Candidates, list[float]]) -> list[Faces]:
        candidates, scales = found
        pairs = zip(suppressed(candidates), scales, strict=True)
        return [faces.mapped((1 / scale, 1 / scale)) for faces, scale in pairs]

    parts = ordered_map(prepare, chunks(pictures, part), workers=workers)
    for faces in ordered_map(finish, detect(parts), workers=workers):
        yield from faces


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
