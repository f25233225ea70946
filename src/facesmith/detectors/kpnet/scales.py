"""Fine-grained scale approximation: which cell is a face's centre, and which of 60 bins its size (Eq. 1-3)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from facesmith.detectors.kpnet.config import BINS, STRIDE, ScaleConfig

LEAST_TARGET = 1e-3
"""Targets of Eq. 3 are spread as far as they are above this."""


class Cells(NamedTuple):
    """Faces on the map: (n,) int64 image, column x, row y and bin of each."""

    image: Tensor
    x: Tensor
    y: Tensor
    bin: Tensor


def face_bins(sides: Tensor, config: ScaleConfig) -> Tensor:
    """Eq. 1 for max(h, w) in pixels: int64 bins, from 0.

    A face too small for bin 0 gets a negative one; above ``config.side`` pixels all get the last. (Eq. 1 would give
    20 pixels at I_max = 1280 the bin 0, and counts "from 1 to S": bins are counted from 0 here, facts/kpnet.)
    """
    bins = 10 * ((sides * (2048 / config.side)).clamp(min=1e-6).log2() - 5)
    return bins.floor().long().clamp(max=BINS - 1)


def bin_sides(bins: Tensor, config: ScaleConfig) -> Tensor:
    """The inverse of Eq. 1 at the bins' centres: sides in pixels."""
    octaves: Tensor = 2 ** ((bins + 0.5) / 10 + 5)
    return octaves * (config.side / 2048)


def longest_window(side: float) -> int:
    """Cells in a row of the windows of squares of ``side`` pixels, at most."""
    return math.ceil(side / STRIDE) + 1


def centre_cells(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) boxes in pixels -> (..., 2) int64 x, y of the cells of their centres (Eq. 2), within (height, width)."""
    height, width = size
    cells = ((boxes[..., :2] + boxes[..., 2:]) / (2 * STRIDE)).floor().long()
    return cells.clamp(min=0).minimum(torch.tensor((width - 1, height - 1), device=boxes.device))


def scale_targets(faces: Cells, shape: tuple[int, int, int], config: ScaleConfig) -> tuple[Tensor, Tensor]:
    """The map M where it is not 0: 1 at a face's cell and bin (Eq. 2), around it in the same bin a Gaussian (Eq. 3).

    The radius r = ⌊b / 10⌋ grows with the face; it is 0 below bin 10, where nothing is spread. Where the spreads of
    two faces meet the greater value stays.

    Args:
        faces: the faces.
        shape: images, height and width of the map.
        config: the spread.

    Returns:
        (m,) int64 places in the flattened (B, BINS, H, W) map, rising; (m,) float32 values above 0.
    """
    _, height, width = shape
    reach = math.floor((BINS - 1) // 10 * config.sigma * math.sqrt(-2 * math.log(LEAST_TARGET)))
    offsets = torch.arange(-reach, reach + 1, device=faces.x.device)
    dy, dx = (grid.flatten() for grid in torch.meshgrid(offsets, offsets, indexing="ij"))
    x, y = faces.x[:, None] + dx, faces.y[:, None] + dy
    # A radius of 0 as a tiny one: 1 in the middle, nothing beside it.
    spread = ((faces.bin // 10).clamp(min=1e-3) * config.sigma)[:, None]
    values = torch.exp(-(dx**2 + dy**2) / (2 * spread**2))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (values >= LEAST_TARGET)
    places = (((faces.image * BINS + faces.bin) * height)[:, None] + y) * width + x
    places, same = places[inside].unique(return_inverse=True)  # type: ignore[no-untyped-call]
    return places, torch.zeros(places.shape, device=places.device).scatter_reduce(0, same, values[inside], "amax")


def covered(boxes: Tensor, chosen: Tensor, size: tuple[int, int]) -> Tensor:
    """Which cells the chosen boxes touch.

    Corners are marked with ±1 and summed up along both axes, so that the work does not grow with the boxes.

    Args:
        boxes: (B, N, 4) pixels.
        chosen: (B, N) bool.
        size: height and width of the map.

    Returns:
        (B, H, W) bool.
    """
    height, width = size
    image, _ = chosen.nonzero(as_tuple=True)
    x1, y1, x2, y2 = (boxes[chosen] / STRIDE).unbind(dim=1)
    left, right = x1.floor().long().clamp(0, width), x2.ceil().long().clamp(0, width)
    top, bottom = y1.floor().long().clamp(0, height), y2.ceil().long().clamp(0, height)
    marks = torch.zeros(len(boxes), height + 1, width + 1, dtype=torch.int32, device=boxes.device)
    for x, y, value in ((left, top, 1), (right, top, -1), (left, bottom, -1), (right, bottom, 1)):
        marks.index_put_((image, y, x), marks.new_full(x.shape, value), accumulate=True)
    return marks.cumsum(dim=1).cumsum(dim=2)[:, :height, :width] > 0
