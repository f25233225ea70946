"""``Sample``: one image and its faces, on the way from a label file to a batch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with n labelled faces, in pixels of ``image``.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) float32 x1, y1, x2, y2.
        landmarks: (n, K, 2) float32, NaN for a face without landmarks; K is 5 or 19 (``facesmith.faces.FIVE_OF``).
        ignored: (n,) bool, faces that are neither learnt nor punished.
        complete: False where faces of the image may lack labels.
    """

    image: npt.NDArray[np.uint8]
    boxes: FloatArray
    landmarks: FloatArray
    ignored: npt.NDArray[np.bool_]
    complete: bool
