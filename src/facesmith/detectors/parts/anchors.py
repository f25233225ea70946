"""Anchors, and the codes of boxes and landmarks relative to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from facesmith.errors import ConfigError

MAX_LOG_SIDE = 4.0
"""Box sides are decoded as at most e⁴ ≈ 55 anchor sides, so that an untrained network cannot overflow."""


@dataclass(frozen=True)
class AnchorConfig:
    """Square anchors.

    Attributes:
        strides: stride of each level in pixels.
        sides: anchor sides in pixels, a tuple a level, all of one length because the heads are shared
            (facts/retinaface: 16, 32 @ 8; 64, 128 @ 16; 256, 512 @ 32).
        offset: anchor centres are (k + offset) · stride; 0.5 as in the common port.
        centre_variance, side_variance: scale of the codes (0.1, 0.2 in the common port; 1, 1 officially).

    Raises:
        ConfigError: levels differ in their number of anchors, or a number is not positive.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    sides: tuple[tuple[float, ...], ...] = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
    offset: float = 0.5
    centre_variance: float = 0.1
    side_variance: float = 0.2

    def __post_init__(self) -> None:
        if len(self.strides) != len(self.sides) or len({len(sides) for sides in self.sides}) != 1:
            raise ConfigError(
                f"anchors need one tuple of sides a stride, all of one length, not {self.sides} for {self.strides}"
            )
        numbers = (*self.strides, *sum(self.sides, ()), self.centre_variance, self.side_variance)
        if not self.sides[0] or min(numbers) <= 0:
            raise ConfigError(f"strides, sides and variances of anchors must be positive: {self}")

    @property
    def per_cell(self) -> int:
        """Anchors a cell."""
        return len(self.sides[0])


PAPER_ANCHORS = AnchorConfig(
    strides=(4, 8, 16, 32, 64),
    sides=tuple(tuple(4.0 * stride * 2 ** (k / 3) for k in range(3)) for stride in (4, 8, 16, 32, 64)),
    centre_variance=1.0,
    side_variance=1.0,
)
"""RetinaFace's Table 2: sides 16, 20.16, 25.40 on P2 … 256, 322.54, 406.37 on P6; 102,300 anchors at 640 × 640.

The paper does not say where their centres are: here in the middle of the cells. (The released code, which has three
levels only, puts them at 8 + k · stride on each of them, in pixels from the outer corner; facts/retinaface.)
"""


def make_anchors(config: AnchorConfig, sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """(A, 3) float32 anchors as centre x, centre y, side in pixels; levels, rows, columns, then sides.

    ``sizes`` holds (height, width) of each level's map.
    """
    anchors = []
    for stride, sides, (height, width) in zip(config.strides, config.sides, sizes, strict=True):
        y = (torch.arange(height, device=device, dtype=torch.float32) + config.offset) * stride
        x = (torch.arange(width, device=device, dtype=torch.float32) + config.offset) * stride
        side = torch.tensor(sides, device=device)
        grid = torch.stack(
            (
                x[None, :, None].expand(height, width, len(sides)),
                y[:, None, None].expand(height, width, len(sides)),
                side[None, None, :].expand(height, width, len(sides)),
            ),
            dim=-1,
        )
        anchors.append(grid.reshape(-1, 3))
    return torch.cat(anchors)


def anchor_boxes(anchors: Tensor) -> Tensor:
    """(A, 3) anchors -> (A, 4) boxes x1, y1, x2, y2."""
    half = anchors[:, 2:] / 2
    return torch.cat((anchors[:, :2] - half, anchors[:, :2] + half), dim=1)


def encode_boxes(boxes: Tensor, anchors: Tensor, config: AnchorConfig) -> Tensor:
    """(n, 4) boxes x1, y1, x2, y2 of the (n, 3) anchors -> (n, 4) codes dx, dy, log w, log h."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    offsets = (centres - anchors[..., :2]) / (anchors[..., 2:] * config.centre_variance)
    return torch.cat((offsets, (sides / anchors[..., 2:]).log() / config.side_variance), dim=1)


def decode_boxes(codes: Tensor, anchors: Tensor, config: AnchorConfig) -> Tensor:
    """The inverse of :func:`encode_boxes`, for codes (..., n, 4) and anchors (..., n, 3)."""
    centres = anchors[..., :2] + codes[..., :2] * (anchors[..., 2:] * config.centre_variance)
    logs = (codes[..., 2:] * config.side_variance).clamp(max=MAX_LOG_SIDE)
    half = logs.exp() * (anchors[..., 2:] / 2)
    return torch.cat((centres - half, centres + half), dim=-1)


def encode_landmarks(landmarks: Tensor, anchors: Tensor, config: AnchorConfig) -> Tensor:
    """(n, 5, 2) landmarks of the (n, 3) anchors -> (n, 10) codes (p − centre) / (side · variance)."""
    scale = anchors[..., None, 2:] * config.centre_variance
    return ((landmarks - anchors[..., None, :2]) / scale).flatten(1)


def decode_landmarks(codes: Tensor, anchors: Tensor, config: AnchorConfig) -> Tensor:
    """(..., n, 10) codes of (..., n, 3) anchors -> (..., n, 5, 2) landmarks in pixels."""
    points: Tensor = codes.unflatten(-1, (5, 2))  # type: ignore[no-untyped-call]
    return anchors[..., None, :2] + points * (anchors[..., None, 2:] * config.centre_variance)
