"""FDDB's rule, loop by loop as the official code goes about it: slow, and independent of facesmith's.

Every region is a mask of the whole image, every threshold of every image is matched anew.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment


class Image(NamedTuple):
    """``faces`` are ellipses major, minor, angle, cx, cy; ``detections`` five or six numbers with the score
    last.
    """

    width: int
    height: int
    faces: Sequence[Sequence[float]]
    detections: Sequence[Sequence[float]]


def ellipse_mask(shape: Sequence[float], width: int, height: int) -> np.ndarray:
    major, minor, angle, x, y = shape
    mask = np.zeros((height, width), np.uint8)
    centre = (int(np.rint(np.float32(x))), int(np.rint(np.float32(y))))
    cv2.ellipse(mask, centre, (int(major), int(minor)), angle * 180 / np.pi, 0, 360, 1, cv2.FILLED)
    return mask


def rectangle_mask(box: Sequence[float], width: int, height: int) -> np.ndarray:
    x, y, w, h = box
    mask = np.zeros((height, width), np.uint8)
    first = (int(np.rint(np.float32(x))), int(np.rint(np.float32(y))))
    last = (int(np.rint(np.float32(x + w))), int(np.rint(np.float32(y + h))))
    cv2.rectangle(mask, first, last, 1, cv2.FILLED)
    return mask


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = cv2.countNonZero(cv2.bitwise_or(a, b))
    return cv2.countNonZero(cv2.bitwise_and(a, b)) / union if union else 0.0


def iou_matrix(image: Image) -> np.ndarray:
    """(detections, faces)."""
    faces = [ellipse_mask(face, image.width, image.height) for face in image.faces]
    result = np.zeros((len(image.detections), len(faces)))
    for row, detection in enumerate(image.detections):
        draw = rectangle_mask if len(detection) == 5 else ellipse_mask
        mask = draw(detection[:-1], image.width, image.height)
        for column, face in enumerate(faces):
            result[row, column] = mask_iou(mask, face)
    return result


def roc(images: Sequence[Image]) -> list[tuple[float, int, int, float]]:
    """Score threshold, false positives, discrete and continuous true positives at each distinct score,
    descending.
    """
    matrices = [iou_matrix(image) for image in images]
    scores = sorted({row[-1] for image in images for row in image.detections}, reverse=True)
    result = []
    for threshold in scores:
        detected, discrete, continuous = 0, 0, 0.0
        for image, matrix in zip(images, matrices, strict=True):
            kept = [i for i, row in enumerate(image.detections) if row[-1] >= threshold]
            detected += len(kept)
            part = matrix[kept]
            for row, column in zip(*linear_sum_assignment(part, maximize=True), strict=True):
                continuous += part[row, column]
                discrete += part[row, column] > 0.5
        result.append((threshold, detected - discrete, int(discrete), continuous))
    return result
