"""Fit WIDER FACE's box style to boxes inferred from landmarks: reproduces ``WIDER_BOX_OF_LANDMARKS``.

    python benchmarks/box_style.py ../shared/data/train/widerface.txt

Prints the medians of (dx, dy, sx, sy): how far the labelled box's centre lies from that of the square that
``box_from_landmarks`` infers, and how many times larger it is, in shares of the square's side.
"""

import argparse

import numpy as np

from facesmith.data.labels import read_labels
from facesmith.geometry import box_from_landmarks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", help="a label file with boxes and landmarks")
    labels = read_labels(parser.parse_args().labels)
    boxes = np.concatenate([label.boxes for label in labels])
    landmarks = np.concatenate([label.landmarks for label in labels])
    known = np.isfinite(landmarks).all(axis=(1, 2))
    boxes, square = boxes[known], box_from_landmarks(landmarks[known])
    side = square[:, 2:] - square[:, :2]
    shift = ((boxes[:, :2] + boxes[:, 2:]) - (square[:, :2] + square[:, 2:])) / 2 / side
    scale = (boxes[:, 2:] - boxes[:, :2]) / side
    dx, dy, sx, sy = np.median(np.concatenate((shift, scale), axis=1), axis=0)
    print(f"{known.sum():,} faces of {len(labels):,} images: dx {dx:.3f}, dy {dy:.3f}, sx {sx:.3f}, sy {sy:.3f}")


if __name__ == "__main__":
    main()
