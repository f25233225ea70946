"""FDDB's regions as sets of pixels, and their intersection over union.

As in the official code (``EllipseR.cpp``, ``RectangleR.cpp``, ``Region.cpp``) a region is what OpenCV fills
inside the image, and IoU counts pixels: a rectangle from (x, y) to (x + width, y + height), both rounded and
both included; an ellipse with its centre rounded, its radii cut to whole pixels and (within OpenCV) its angle
rounded to degrees. Coordinates are taken as they are, although FDDB's may count pixel centres as whole
numbers and facesmith's boxes count pixel edges.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.evaluation.ellipses import Ellipses
from facesmith.faces import Faces

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MaskArray = npt.NDArray[np.uint8]


class Mask(NamedTuple):
    """The pixels of a region: ``bits`` (h, w) uint8, 0 or 1, its top-left pixel at x, y of the image."""

    x: int
    y: int
    bits: MaskArray


def region_iou(detections: Faces | Ellipses, truth: Ellipses, width: int, height: int) -> FloatArray:
    """(n, m) IoU of n detections and m true ellipses in an image of ``width`` × ``height`` pixels."""
    if not len(detections) or not len(truth):
        return np.zeros((len(detections), len(truth)))
    masks = ellipse_masks(truth, width, height)
    if isinstance(detections, Faces):
        overlap, areas = _rectangle_overlap(rectangle_spans(detections, width, height), masks)
    else:
        overlap, areas = _ellipse_overlap(detections, masks, width, height)
    true_areas = np.array([np.count_nonzero(mask.bits) for mask in masks])
    union = areas[:, None] + true_areas[None, :] - overlap
    return np.asarray(overlap / np.maximum(union, 1), np.float64)


def rectangle_spans(faces: Faces, width: int, height: int) -> IntArray:
    """(n, 4) int64: each box's first column and row inside the image, and the first ones beyond it."""
    spans = np.rint(faces.boxes)  # halves to even, as cvRound does
    spans[:, 2:] += 1
    return np.clip(spans, 0, np.array([width, height, width, height], np.float32)).astype(np.int64)


def ellipse_masks(ellipses: Ellipses, width: int, height: int) -> list[Mask]:
    """The filled ellipses inside the image."""
    canvas = np.zeros((height, width), np.uint8)
    return [_draw(canvas, shape) for shape in ellipses.shapes]


def _draw(canvas: MaskArray, shape: FloatArray) -> Mask:
    """Fill one ellipse; ``canvas`` is all zeros before and after."""
    height, width = canvas.shape
    radii = int(shape[0]), int(shape[1])
    x, y = (int(value) for value in np.rint(shape[3:].astype(np.float32)))
    reach = max(radii) + 2
    left, right = (min(max(edge, 0), width) for edge in (x - reach, x + reach + 1))
    top, bottom = (min(max(edge, 0), height) for edge in (y - reach, y + reach + 1))
    if left == right or top == bottom:
        return Mask(0, 0, np.zeros((0, 0), np.uint8))
    cv2.ellipse(canvas, (x, y), radii, float(np.degrees(shape[2])), 0, 360, 1, cv2.FILLED)
    patch = canvas[top:bottom, left:right]
    bits = patch.copy()
    patch[:] = 0
    return Mask(left, top, bits)


def _rectangle_overlap(spans: IntArray, masks: list[Mask]) -> tuple[IntArray, IntArray]:
    """Common pixels (n, m) by summed-area tables, and the rectangles' own pixels (n,)."""
    overlap = np.zeros((len(spans), len(masks)), np.int64)
    for column, mask in enumerate(masks):
        height, width = mask.bits.shape
        sums = np.zeros((height + 1, width + 1), np.int64)
        mask.bits.cumsum(axis=0, dtype=np.int64).cumsum(axis=1, out=sums[1:, 1:])
        x1, x2 = np.clip(spans[:, [0, 2]] - mask.x, 0, width).T
        y1, y2 = np.clip(spans[:, [1, 3]] - mask.y, 0, height).T
        overlap[:, column] = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
    return overlap, (spans[:, 2] - spans[:, 0]) * (spans[:, 3] - spans[:, 1])


def _ellipse_overlap(detections: Ellipses, masks: list[Mask], width: int, height: int) -> tuple[IntArray, IntArray]:
    """Common pixels (n, m), and the detections' own pixels (n,)."""
    drawn = ellipse_masks(detections, width, height)
    overlap = np.array([[_common(a, b) for b in masks] for a in drawn], np.int64)
    return overlap, np.array([np.count_nonzero(mask.bits) for mask in drawn])


def _common(a: Mask, b: Mask) -> int:
    x1, x2 = max(a.x, b.x), min(a.x + a.bits.shape[1], b.x + b.bits.shape[1])
    y1, y2 = max(a.y, b.y), min(a.y + a.bits.shape[0], b.y + b.bits.shape[0])
    if x1 >= x2 or y1 >= y2:
        return 0
    window_a = a.bits[y1 - a.y : y2 - a.y, x1 - a.x : x2 - a.x]
    window_b = b.bits[y1 - b.y : y2 - b.y, x1 - b.x : x2 - b.x]
    return int(np.count_nonzero(window_a & window_b))
