"""Elliptical face regions, FDDB's own form of annotation and detection."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ellipses:
    """n ellipses of one image, column by column.

    Attributes:
        shapes: (n, 5) float64: major and minor radius in pixels, angle of the major axis in radians from the
            x axis towards the y axis (which points down), and the centre's x, y in pixel indices (pixel
            centres are whole numbers, as FDDB's code draws them).
        scores: (n,) float64; 1 for ground truth.

    Raises:
        ValueError: a column has a wrong shape, a number is not finite, or a radius is negative.
    """

    shapes: FloatArray
    scores: FloatArray

    def __post_init__(self) -> None:
        shapes = np.asarray(self.shapes, np.float64).reshape(-1, 5)
        scores = np.asarray(self.scores, np.float64).reshape(-1)
        if len(shapes) != len(scores):
            raise ValueError(f"Ellipses: {len(shapes)} shapes but {len(scores)} scores")
        if not (np.isfinite(shapes).all() and np.isfinite(scores).all()) or (shapes[:, :2] < 0).any():
            raise ValueError("Ellipses: numbers must be finite and radii not negative")
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.shapes)

    def boxes(self) -> FloatArray:
        """(n, 4) tight boxes x1, y1, x2, y2, in the same coordinates as the centres."""
        major, minor, angle, x, y = self.shapes.T
        half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
        half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
        return np.stack((x - half_width, y - half_height, x + half_width, y + half_height), axis=1)

    def rotated(self, width: int, height: int, turns: int) -> "Ellipses":
        """The ellipses after ``turns`` counter-clockwise quarter turns of their ``width`` × ``height``
        picture.
        """
        shapes = self.shapes.copy()
        for _ in range(turns % 4):
            x = shapes[:, 3].copy()
            shapes[:, 3], shapes[:, 4] = shapes[:, 4], width - 1 - x
            shapes[:, 2] -= np.pi / 2
            width, height = height, width
        return Ellipses(shapes, self.scores)

    def lines(self) -> list[str]:
        """``major minor angle cx cy score``, one line an ellipse, in digits that give the numbers back
        exactly.
        """
        return [" ".join(map(repr, row)) for row in np.column_stack((self.shapes, self.scores)).tolist()]
