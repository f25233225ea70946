"""``Frame``: one picture of a video or camera."""

from dataclasses import dataclass

import numpy as np

from facesmith.images import RGB

NO_PIXELS: RGB = np.zeros((0, 0, 3), np.uint8)
"""Stands for the image of a frame that nobody wants to see."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video or camera.

    Attributes:
        image: (H, W, 3) uint8, RGB, upright.
        index: its number, from 0.
        pts: when it is shown, in ticks of the video's time base; rises from frame to frame, in uneven steps
            where the frame rate varies.
        duration: for how long, in ticks; 0 where the source does not say.
        time: ``pts`` in seconds.
    """

    image: RGB
    index: int
    pts: int
    duration: int
    time: float
