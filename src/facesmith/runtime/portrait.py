"""A painted face whose place is known: for trying out a detector where there is no photograph."""

import numpy as np
import numpy.typing as npt

# Centre x, y, half width, half height, softness of the rim, red, green, blue; painted one over the other. The
# face, from hair line to chin and without ears, is the square -1 to 1 in x, and -1.25 to 1.25 in y.
_ELLIPSES = np.array(
    [
        (0.00, 1.90, 1.90, 0.95, 0.04, 62, 76, 110),  # shoulders
        (0.00, 1.20, 0.50, 0.60, 0.08, 172, 124, 98),  # neck
        (0.00, -0.42, 1.17, 1.22, 0.06, 52, 38, 30),  # hair
        (-1.00, 0.05, 0.12, 0.28, 0.15, 186, 134, 108),  # ears
        (1.00, 0.05, 0.12, 0.28, 0.15, 186, 134, 108),
        (0.00, 0.08, 0.98, 1.20, 0.06, 214, 166, 138),  # face
        (0.00, -0.55, 0.70, 0.40, 0.80, 228, 184, 156),  # light on the forehead
        (-0.50, 0.42, 0.32, 0.30, 0.90, 220, 160, 136),  # cheeks
        (0.50, 0.42, 0.32, 0.30, 0.90, 220, 160, 136),
        (-0.40, -0.16, 0.34, 0.22, 0.70, 178, 128, 104),  # eye sockets
        (0.40, -0.16, 0.34, 0.22, 0.70, 178, 128, 104),
        (-0.42, -0.36, 0.27, 0.055, 0.35, 70, 50, 40),  # brows
        (0.42, -0.36, 0.27, 0.055, 0.35, 70, 50, 40),
        (-0.40, -0.12, 0.20, 0.095, 0.15, 232, 226, 220),  # whites of the eyes
        (0.40, -0.12, 0.20, 0.095, 0.15, 232, 226, 220),
        (-0.40, -0.12, 0.095, 0.098, 0.15, 58, 42, 32),  # irises
        (0.40, -0.12, 0.095, 0.098, 0.15, 58, 42, 32),
        (-0.40, -0.21, 0.22, 0.035, 0.40, 72, 48, 40),  # lids
        (0.40, -0.21, 0.22, 0.035, 0.40, 72, 48, 40),
        (0.00, 0.10, 0.09, 0.38, 0.80, 232, 190, 162),  # ridge of the nose
        (0.00, 0.44, 0.21, 0.10, 0.70, 186, 130, 108),  # its shadow
        (-0.09, 0.45, 0.055, 0.035, 0.40, 96, 58, 48),  # nostrils
        (0.09, 0.45, 0.055, 0.035, 0.40, 96, 58, 48),
        (0.00, 0.73, 0.34, 0.085, 0.30, 168, 88, 84),  # lips
        (0.00, 0.725, 0.31, 0.018, 0.50, 84, 40, 40),  # between them
        (0.00, 0.93, 0.22, 0.05, 0.80, 190, 140, 116),  # shadow over the chin
    ]
)
"""All numbers are ours: the drawing was shaped until it looked like a face."""

LANDMARKS = np.array([(-0.40, -0.12), (0.40, -0.12), (0.0, 0.36), (-0.32, 0.73), (0.32, 0.73)], np.float32)
"""(5, 2): eyes, nose tip and mouth corners in the units of the drawing."""

BOX = np.array([(-0.98, -1.12), (0.98, 1.28)], np.float32)
"""(2, 2): corners of the face, hair left out, in the units of the drawing."""


def paint_portrait(width: int, height: int, centre: tuple[float, float], unit: float) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8: a face on a plain ground, ``unit`` pixels being half of its width.

    The face's box is ``BOX * unit + centre``, its landmarks ``LANDMARKS * unit + centre``, in pixels from the
    outer corner of the first one.
    """
    x = (np.arange(width, dtype=np.float32) + 0.5 - centre[0]) / unit
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - centre[1]) / unit
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = np.array([150, 158, 166]) - 20 * y[:, :, None] / (height / unit)
    for left, top, half_width, half_height, softness, *colour in _ELLIPSES:
        radius = np.hypot((x - left) / half_width, (y - top) / half_height)
        opacity = np.clip((1 - radius) / softness + 0.5, 0, 1)[:, :, None]
        picture += opacity * (np.array(colour, np.float32) - picture)
    light = 1 - 0.18 * np.clip(x, -1.5, 1.5)[None, :, None]  # from the left
    pixels: npt.NDArray[np.uint8] = np.clip(picture * light, 0, 255).astype(np.uint8)
    return pixels
