"""Training augmentation: windows around faces, mosaics, flips, colour; from one random generator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.data.anchor_sampling import anchor_window
from facesmith.data.sample import Sample
from facesmith.faces import LANDMARK_FLIPS

Random = np.random.Generator

MOSTLY_OUTSIDE = 0.1
"""A face whose centre is cut off is ignored, not background, while more than this share of it is visible."""


@dataclass(frozen=True)
class AugmentConfig:
    """How pictures are varied.

    Attributes:
        smallest: least side √(w·h), in pixels, to which a random face of the image is brought; the side is
            drawn log-uniformly.
        largest: greatest such side, as a share of the window's.
        enlarge: images are enlarged at most this much.
        mosaic: share of samples made of 2 × 2 windows with smaller faces.
        mosaic_shrink: how much smaller the largest faces of a mosaic are.
        ignore_below: faces whose side ends below this many pixels are ignored.
        colour: share of samples with changed brightness, contrast, saturation and colour cast.
        grey: share of samples without colour.
        blur: share of samples blurred.
        squares: instead of windows around faces and of mosaics, squares from anywhere in the image, each with one of
            these shares of its short side (RetinaFace: .3, .45, .6, .8, 1; facts/retinaface).
        anchors: instead of all of these, windows by data-anchor-sampling with anchors of these sides
            (:mod:`facesmith.data.anchor_sampling`).
    """

    smallest: float = 6.0
    largest: float = 0.8
    enlarge: float = 2.0
    mosaic: float = 0.35
    mosaic_shrink: float = 2.0
    ignore_below: float = 4.5
    colour: float = 0.8
    grey: float = 0.08
    blur: float = 0.05
    squares: tuple[float, ...] = ()
    anchors: tuple[float, ...] = ()


def make_sample(draw: Callable[[], Sample], side: int, rng: Random, config: AugmentConfig) -> Sample:
    """One training sample of ``side`` × ``side`` pixels from the images that ``draw`` gives."""
    if config.anchors:
        sample = anchor_sampled(draw(), side, rng, config.anchors)
    elif config.squares:
        sample = random_square(draw(), side, rng, config.squares)
    elif rng.random() < config.mosaic:
        sample = _mosaic(draw, side, rng, config)
    else:
        sample = random_window(draw(), side, side, config.largest * side, rng, config)
    if rng.random() < 0.5:
        sample = flip(sample)
    image = vary_colour(sample.image, rng, config)
    small = _area(sample.boxes) < config.ignore_below**2
    return replace(sample, image=image, ignored=sample.ignored | small)


def random_window(
    sample: Sample, width: int, height: int, largest: float, rng: Random, config: AugmentConfig
) -> Sample:
    """A window of ``width`` × ``height`` pixels that brings a random face to a random side up to ``largest``.

    Faces whose centre lies in the window are kept, others that show are ignored; boxes are cut at its border.
    What lies outside the image is filled with one random grey.
    """
    image_height, image_width = sample.image.shape[:2]
    cover = max(width / image_width, height / image_height)
    usable = np.flatnonzero(~sample.ignored)
    if len(usable):
        box = sample.boxes[rng.choice(usable)].astype(np.float64)
        side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        wanted = np.exp(rng.uniform(np.log(config.smallest), np.log(max(largest, config.smallest))))
        # The picture fills most of the window: an empty border teaches nothing.
        scale = min(max(wanted / side, 0.8 * cover), config.enlarge)
        centre = (box[:2] + box[2:]) / 2 * scale
        reach = np.maximum((np.array([width, height]) - side * scale) / 2, 0)
        centre = centre + rng.uniform(-reach, reach)
    else:
        scale = min(max(np.exp(rng.uniform(np.log(0.3), np.log(1.5))), 0.8 * cover), config.enlarge)
        centre = rng.uniform(0, 1, 2) * (image_width * scale, image_height * scale)
    size = np.array([width, height], np.float64)
    extent = np.array([image_width, image_height]) * scale
    # Keep the window on the picture as far as it fits there.
    low, high = np.minimum(0, extent - size), np.maximum(0, extent - size)
    corner = np.clip(centre - size / 2, low, high)
    return _cut(sample, scale, corner, width, height, rng)


def random_square(sample: Sample, side: int, rng: Random, shares: tuple[float, ...]) -> Sample:
    """A square of a random one of ``shares`` of the short side, brought to ``side`` × ``side`` pixels (RetinaFace,
    section 4.2). Faces are kept as in :func:`random_window`.
    """
    extent = np.array(sample.image.shape[1::-1], np.float64)
    length = rng.choice(shares) * extent.min()
    corner = rng.uniform(0, 1, 2) * (extent - length)
    scale = side / length
    return _cut(sample, scale, corner * scale, side, side, rng)


def anchor_sampled(sample: Sample, side: int, rng: Random, anchors: tuple[float, ...]) -> Sample:
    """The window of ``side`` × ``side`` pixels that :func:`anchor_window` chooses. Faces are kept as in
    :func:`random_window`."""
    height, width = sample.image.shape[:2]
    window = anchor_window(sample.boxes[~sample.ignored], (width, height), side, rng, anchors)
    return _cut(sample, window.scale, window.corner, side, side, rng)


def _cut(sample: Sample, scale: float, corner: npt.NDArray[np.float64], width: int, height: int, rng: Random) -> Sample:
    """The window at ``corner`` (pixels of the scaled image) of ``sample`` scaled by ``scale``."""
    image_height, image_width = sample.image.shape[:2]
    x1, y1 = np.maximum(np.floor(corner / scale), 0).astype(int)
    x2 = min(int(np.ceil((corner[0] + width) / scale)), image_width)
    y2 = min(int(np.ceil((corner[1] + height) / scale)), image_height)
    target = (max(round((x2 - x1) * scale), 1), max(round((y2 - y1) * scale), 1))
    method = cv2.INTER_AREA if scale < 1 and rng.random() < 0.5 else cv2.INTER_LINEAR
    piece = cv2.resize(np.ascontiguousarray(sample.image[y1:y2, x1:x2]), target, interpolation=method)
    canvas = np.full((height, width, 3), rng.integers(0, 256), np.uint8)
    left, top = (max(round(-float(c)), 0) for c in corner)
    piece = piece[: height - top, : width - left]
    canvas[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    # The piece's own corner and its size in whole pixels fix the mapping exactly.
    drawn = (np.array(target) / (x2 - x1, y2 - y1)).astype(np.float32)
    shift = np.array([left, top], np.float32) - np.array([x1, y1], np.float32) * drawn
    boxes = (sample.boxes.reshape(-1, 2, 2) * drawn + shift).reshape(-1, 4)
    size = np.array([width, height], np.float32)
    cut = np.clip(boxes, 0, np.tile(size, 2))
    visible = _area(cut) / np.maximum(_area(boxes), 1e-6)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres > 0) & (centres < size)).all(axis=1)
    kept = inside | (visible > MOSTLY_OUTSIDE)
    return Sample(
        canvas,
        cut[kept].astype(np.float32),
        sample.landmarks[kept] * drawn + shift,
        (sample.ignored | ~inside)[kept],
        sample.complete,
    )


def _area(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    area: npt.NDArray[np.float32] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _mosaic(draw: Callable[[], Sample], side: int, rng: Random, config: AugmentConfig) -> Sample:
    """Four windows that meet at a random point."""
    x, y = (int(v) for v in rng.integers(round(0.35 * side), round(0.65 * side), 2))
    image = np.empty((side, side, 3), np.uint8)
    parts = []
    for left, right in ((0, x), (x, side)):
        for top, bottom in ((0, y), (y, side)):
            largest = config.largest * min(right - left, bottom - top) / config.mosaic_shrink
            part = random_window(draw(), right - left, bottom - top, largest, rng, config)
            image[top:bottom, left:right] = part.image
            move = np.array([left, top], np.float32)
            parts.append(replace(part, boxes=part.boxes + np.tile(move, 2), landmarks=part.landmarks + move))
    return Sample(
        image,
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.landmarks for p in parts]),
        np.concatenate([p.ignored for p in parts]),
        all(p.complete for p in parts),
    )


def flip(sample: Sample) -> Sample:
    """Mirror left and right; landmarks are swapped so that left stays left in the image."""
    width = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    landmarks = sample.landmarks[:, LANDMARK_FLIPS[sample.landmarks.shape[1]], :].copy()
    landmarks[:, :, 0] = width - landmarks[:, :, 0]
    return replace(sample, image=sample.image[:, ::-1], boxes=boxes, landmarks=landmarks)


def vary_colour(image: npt.NDArray[np.uint8], rng: Random, config: AugmentConfig) -> npt.NDArray[np.uint8]:
    """Brightness ±32, contrast × 0.6…1.4, saturation × 0.5…1.5, a colour cast; sometimes grey or blurred."""
    out: npt.NDArray[Any] = np.ascontiguousarray(image)
    if rng.random() < config.colour:
        gain, bias = rng.uniform(0.6, 1.4), rng.uniform(-32, 32)
        cast = rng.uniform(0.92, 1.08, 3)  # stands for a change of hue
        table = np.clip(np.arange(256)[:, None] * gain * cast + bias, 0, 255).astype(np.uint8)
        out = cv2.LUT(out, table[None])
        saturation = rng.uniform(0.5, 1.5)
        grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        out = cv2.addWeighted(out, saturation, grey, 1 - saturation, 0)
    if rng.random() < config.grey:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < config.blur:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 1.5))
    return out
