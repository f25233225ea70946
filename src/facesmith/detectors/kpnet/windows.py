"""Square windows on a map: means of positions under a softmax (Eq. 5-6), and the softmax's maxima (Eq. 8).

Beside these the plain means and the places of maxima that the ablations of Table 2 need.

A window is x1, y1, x2, y2 in whole cells, x2 and y2 not included, clipped to the map; it holds at least one cell.
No function loops over windows or cuts them out:

- Sums over rectangles are products with their indicators: Σ e^h over a window = rows · E · columns. That is a matrix
  product a window side, about 0.3 % of the network's own multiplications, in float32 without the cancellation
  of integral images, differentiable, and exported as MatMul.
- Maxima come from a sparse table along x (maxima over 1, 2, 4 … cells): two overlapping look-ups a row of a window.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.detectors.kpnet.config import STRIDE

COLDEST = -80.0
"""Heat is counted from the greatest of its map and cut here: e⁻⁸⁰ is still a normal float32, so that a window
without any heat has a (flat) softmax too."""


def cell_windows(cells: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """Square windows around cells.

    Args:
        cells: (B, N, 2) int64 x, y of the centre cells.
        sides: (B, N) sides in cells.
        size: height and width of the map.

    Returns:
        (B, N, 4) int64, clipped to the map.
    """
    height, width = size
    x1, x2 = _interval(cells[..., 0], sides, width)
    y1, y2 = _interval(cells[..., 1], sides, height)
    return torch.stack((x1, y1, x2, y2), dim=2)


def _interval(cells: Tensor, sides: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """First cell and end, along one axis, of windows around ``cells``: rounded, and cut to 0 … ``length``."""
    low = (cells + 0.5 - sides / 2).round().long().clamp(min=0)
    high = (cells + 0.5 + sides / 2).round().long().clamp(max=length)
    # A side below one cell may round to nothing.
    return low.minimum(cells), high.maximum(cells + 1)


def square_windows(squares: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, N, 4) squares in pixels of the input -> (B, N, 4) int64 windows: rounded, clipped to (height, width).

    What has its centre outside the map gets a window at the nearest border.
    """
    sides = []
    for axis, length in ((0, size[1]), (1, size[0])):
        low, high = squares[..., axis] / STRIDE, squares[..., axis + 2] / STRIDE
        centre = ((low + high) / 2).floor().long().clamp(0, length - 1)
        first = low.round().long().clamp(min=0).minimum(centre)
        sides.append((first, high.round().long().clamp(max=length).maximum(centre + 1)))
    (x1, x2), (y1, y2) = sides
    return torch.stack((x1, y1, x2, y2), dim=2)


def relative_heat(heat: Tensor) -> Tensor:
    """(B, C, H, W) -> e^(h − greatest h of the map), above 0 up to 1; a softmax does not see the difference."""
    return (heat - heat.detach().amax(dim=(2, 3), keepdim=True)).clamp(min=COLDEST).exp()


def soft_argmax(warmth: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean positions under the softmax of each window (Eq. 5-6).

    Args:
        warmth: (B, C, H, W) of :func:`relative_heat`.
        windows: (B, N, 4).

    Returns:
        (B, N, C, 2) positions x, y in cells, the centre of the first cell being at .5 (Eq. 6 gives shares of the
        window: subtract its corner and divide by its side); (B, N, C) sums of ``warmth`` over the windows.
    """
    batch, channels, height, width = warmth.shape
    across, x = _indicators(windows[..., 0], windows[..., 2], width, warmth.dtype)
    down, y = _indicators(windows[..., 1], windows[..., 3], height, warmth.dtype)
    count = windows.shape[1]
    columns = torch.cat((across, across * x), dim=2)  # (B, W, 2N)
    rows = (warmth.flatten(1, 2) @ columns).reshape(batch, channels, height, 2 * count)
    plain, moments = rows[..., :count], rows[..., count:]
    total = (plain * down[:, None]).sum(dim=2)  # (B, C, N)
    mean_x = (moments * down[:, None]).sum(dim=2) / total
    mean_y = (plain * (down * y)[:, None]).sum(dim=2) / total
    return torch.stack((mean_x, mean_y), dim=3).transpose(1, 2), total.transpose(1, 2)


def window_means(values: Tensor, windows: Tensor) -> Tensor:
    """Means of (B, C, H, W) over (B, N, 4) windows: (B, N, C)."""
    batch, channels, height, width = values.shape
    across, _ = _indicators(windows[..., 0], windows[..., 2], width, values.dtype)
    down, _ = _indicators(windows[..., 1], windows[..., 3], height, values.dtype)
    rows = (values.flatten(1, 2) @ across).reshape(batch, channels, height, windows.shape[1])
    cells = (windows[..., 2:] - windows[..., :2]).prod(dim=2)
    return ((rows * down[:, None]).sum(dim=2) / cells[:, None]).transpose(1, 2)


def _indicators(low: Tensor, high: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(B, length, N): 1 where low ≤ cell < high, else 0, for (B, N) low and high; (length, 1) centres of the cells."""
    cells = torch.arange(length, device=low.device)[:, None]
    inside = (cells >= low[:, None]) & (cells < high[:, None])
    return inside.to(dtype), cells.to(dtype) + 0.5


def window_maxima(warmth: Tensor, windows: Tensor, longest: int) -> Tensor:
    """Greatest value in each window.

    Args:
        warmth: (B, C, H, W), nothing below 0.
        windows: (B, N, 4).
        longest: no window has more cells than this in a row or column.

    Returns:
        (B, N, C).
    """
    batch, channels, height, width = warmth.shape
    table = _sparse_table(warmth, longest)  # (B, C, L, H, W)
    x1, y1, x2, y2 = (side[..., None] for side in windows.unbind(dim=2))
    row = torch.minimum(y1 + torch.arange(longest, device=windows.device), y2 - 1)  # (B, N, longest)
    powers = 2 ** torch.arange(table.shape[2], device=windows.device)
    level = (x2 - x1 >= powers[1:]).sum(dim=2, keepdim=True)
    start = (level * height + row) * width
    cells = torch.cat((start + x1, start + x2 - powers[level]), dim=2)  # (B, N, 2 · longest)
    cells = cells.flatten(1)[:, None].expand(-1, channels, -1)
    found = table.flatten(2).gather(2, cells)
    return found.reshape(batch, channels, windows.shape[1], 2 * longest).amax(dim=3).transpose(1, 2)


def window_argmax(values: Tensor, windows: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Which cell of each window has the greatest value: the :func:`window_maxima` of the cells' ranks.

    Ranks say where they come from, as values do not; they are whole floats, for maps of up to 2²⁴ cells.

    Args:
        values: (B, C, H, W), any numbers.
        windows, longest: as for :func:`window_maxima`.

    Returns:
        (B, N, C, 2) int64 x, y; (B, N, C) the values there.
    """
    flat = values.flatten(2)
    order = flat.detach().argsort(dim=2)
    ranks = order.argsort(dim=2).to(torch.float32).reshape(values.shape)
    best = window_maxima(ranks, windows, longest).long().transpose(1, 2)  # (B, C, N)
    index = order.gather(2, best)
    row = index // values.shape[3]
    cells = torch.stack((index - row * values.shape[3], row), dim=3)
    return cells.transpose(1, 2), flat.gather(2, index).transpose(1, 2)


def _sparse_table(warmth: Tensor, longest: int) -> Tensor:
    """(B, C, H, W) -> (B, C, L, H, W): maxima over 2^l cells to the right, for all 2^l ≤ ``longest``."""
    levels = [warmth]
    for level in range(longest.bit_length() - 1):
        last, reach = levels[-1], 2**level
        levels.append(torch.maximum(last, F.pad(last, (0, reach))[..., reach:]))
    return torch.stack(levels, dim=2)
