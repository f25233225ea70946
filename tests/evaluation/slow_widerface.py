"""WIDER FACE's rule, loop by loop as the official code goes about it: slow, and independent of facesmith.

Images are tuples (true boxes, predictions) of plain lists: ``x, y, width, height`` and ``x, y, width, height,
score``.
"""

from collections.abc import Sequence

Box = Sequence[float]
Image = tuple[Sequence[Box], Sequence[Box]]


def overlap(a: Box, b: Box) -> float:
    """IoU where right and bottom edges are x + w, y + h, and sizes count one pixel more."""
    ax2, ay2, bx2, by2 = a[0] + a[2], a[1] + a[3], b[0] + b[2], b[1] + b[3]
    width = min(ax2, bx2) - max(a[0], b[0]) + 1
    height = min(ay2, by2) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((ax2 - a[0] + 1) * (ay2 - a[1] + 1) + (bx2 - b[0] + 1) * (by2 - b[1] + 1) - shared)


def normalise(images: Sequence[Image]) -> list[list[list[float]]]:
    """Predictions with scores in 0 … 1, in each image by descending score."""
    highest, lowest = 1.1754943508222875e-38, 3.4028234663852886e38
    for _, predictions in images:
        for prediction in predictions:
            highest = max(highest, prediction[4])
            lowest = min(lowest, prediction[4])
    result = []
    for _, predictions in images:
        rows = []
        for prediction in sorted(predictions, key=lambda row: -row[4]):
            span = highest - lowest
            score = (prediction[4] - lowest) / span if span else float("nan")
            rows.append([*prediction[:4], score])
        result.append(rows)
    return result


def image_evaluation(
    predictions: Sequence[Box], truth: Sequence[Box], counts: Sequence[bool], iou: float
) -> tuple[list[int], list[int]]:
    """After each prediction how many faces are recalled, and whether each prediction is a proposal (1) or not
    (-1).
    """
    recalled, proposals = [], [1] * len(predictions)
    state = [0] * len(truth)
    for h, prediction in enumerate(predictions):
        best, best_overlap = 0, -1.0
        for index, box in enumerate(truth):
            value = overlap(box, prediction)
            if value > best_overlap:
                best, best_overlap = index, value
        if best_overlap >= iou:
            if not counts[best]:
                state[best] = -1
                proposals[h] = -1
            elif state[best] == 0:
                state[best] = 1
        recalled.append(sum(value == 1 for value in state))
    return recalled, proposals


def average_precision(images: Sequence[Image], counts: Sequence[Sequence[bool]], iou: float = 0.5) -> float:
    """AP of the faces that ``counts`` marks, image by image."""
    faces = sum(sum(flags) for flags in counts)
    proposed, found = [0] * 1000, [0] * 1000
    for (truth, _), predictions, flags in zip(images, normalise(images), counts, strict=True):
        if not truth or not predictions:
            continue
        recalled, proposals = image_evaluation(predictions, truth, flags, iou)
        for t in range(1000):
            threshold = 1 - (t + 1) / 1000
            last = -1
            for index in range(len(predictions) - 1, -1, -1):
                if predictions[index][4] >= threshold:
                    last = index
                    break
            if last >= 0:
                proposed[t] += sum(value == 1 for value in proposals[: last + 1])
                found[t] += recalled[last]
    recall = [0.0, *(f / faces for f in found), 1.0]
    precision = [0.0, *(f / p if p else 0.0 for f, p in zip(found, proposed, strict=True)), 0.0]
    for index in range(len(precision) - 2, -1, -1):
        precision[index] = max(precision[index], precision[index + 1])
    return sum((b - a) * p for a, b, p in zip(recall, recall[1:], precision[1:], strict=False) if a != b)
