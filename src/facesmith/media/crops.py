"""Face crops of one size, as recognition models want them."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith import geometry, images
from facesmith.faces import Faces, FloatArray

BOX_SCALE, BOX_LIFT = 1.07, 0.09
"""How an aligned crop lies to its face's box: its side is 1.07 times the longer side of the box, its centre
0.09 times that side above the box's. Medians over the 7,328 faces of WIDER FACE train that were at hand with
landmarks and 20 pixels or more."""


def crop(image: npt.NDArray[np.uint8], faces: Faces, size: int = 112) -> npt.NDArray[np.uint8]:
    """Cut out every face, upright and in place for recognition.

    A face with landmarks is turned and scaled so that they lie on
    :data:`facesmith.geometry.ALIGNMENT_TEMPLATE` (:func:`facesmith.geometry.align`). A face without, or whose
    landmarks all coincide, is cut out by its box: a square that is not turned, placed to the box as aligned
    crops lie on average (:data:`BOX_SCALE`, :data:`BOX_LIFT`), so that both kinds look alike. What lies
    outside the picture is black.

    Args:
        image: any array that :func:`facesmith.images.read` takes.
        faces: in pixels of ``image``.
        size: side of a crop in pixels.

    Returns:
        (n, size, size, 3) uint8, RGB, in the order of ``faces``.

    Raises:
        ImageError: ``image`` is not usable as one.
    """
    landmarks = _landmarks_of_boxes(faces)
    if faces.landmarks is not None:
        matrices = geometry.similarity(faces.landmarks, geometry.ALIGNMENT_TEMPLATE)
        usable = np.isfinite(matrices).all(axis=(1, 2))
        landmarks[usable] = faces.landmarks[usable]
    return geometry.align(images.read(image), landmarks, size)


def write(
    folder: str | os.PathLike[str], stem: str, crops: Iterable[npt.NDArray[np.uint8]], suffix: str = ".png"
) -> list[Path]:
    """Write ``crops`` as ``folder/stem-0000.png``, ``folder/stem-0001.png``, ...; the paths, in this order.

    Args:
        folder: is made where it is missing.
        stem: begins each name, usually that of the picture without suffix; must be a plain name, not a path.
        crops: (H, W, 3) uint8 RGB each.
        suffix: a format that :func:`facesmith.images.write` knows.

    Raises:
        ValueError: ``stem`` is empty or holds a folder.
        ImageError: the suffix is unknown, or a crop is no RGB array.
        OSError: a file cannot be written.
    """
    if not stem or Path(stem).name != stem:
        raise ValueError(f"{stem!r} must be a plain file name without suffix, such as 'portrait'")
    paths = []
    for index, image in enumerate(crops):
        paths.append(Path(folder) / f"{stem}-{index:04d}{suffix}")
        images.write(paths[-1], image)
    return paths


def _landmarks_of_boxes(faces: Faces) -> FloatArray:
    """(n, 5, 2) landmarks whose aligned crop is the square for each box."""
    side = np.maximum(np.maximum(faces.widths, faces.heights), 1)[:, None]
    centre = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - side * (0, BOX_LIFT)
    template = (geometry.ALIGNMENT_TEMPLATE + 0.5) / 112 - 0.5
    landmarks = centre[:, None] + side[:, None] * BOX_SCALE * template
    return landmarks.astype(np.float32)
