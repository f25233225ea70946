"""Which parts of a picture the network looks at, how large and how turned: the whole, an overview, tiles, turns.

One look at the whole picture misses three kinds of faces: small ones in pictures that are larger than the network's
input, those larger than its largest anchors, and those that lie on their side. Each gets views of its own, and
suppression brings all views together (:class:`~facesmith.runtime.detector.Detector`).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import geometry
from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.meshes import Meshes
from facesmith.runtime.size import MAX_SIDE, SizeRule

RGB = npt.NDArray[np.uint8]

OVERVIEW_FACE = 256.0
"""The overview adds faces of this side and more, in pixels of the first look: from there on the first look may miss
faces, or find parts of them, while the overview sees them at 32 pixels and more."""

OVERVIEW_SHARE = 0.5
"""It adds faces of this share of the picture's long side as well: networks want to see some surroundings."""

BORDER = 0.5
"""Width of the overview's border on each side, in shares of the picture's."""

_GREY = (114, 114, 114)

PART = 0.7
"""What lies within a large face by this share of its area is part of it."""

AS_SURE = 0.9
"""The large face may score less, by this factor: a view that is too fine for a face gives its middle high scores."""

SAME = 0.5
"""What shares this much of its area with a face that is turned otherwise is the same face."""

_FACES_AT_ONCE = 512  # compared with all others, for bounded memory

TILE_OVERLAP = 160
"""Pixels that neighbouring tiles share. Faces of up to ``TILE_OVERLAP / (1 + 2 * CUT_MARGIN)`` = 133 pixels lie in
some tile uncut; larger ones are seen by the next coarser tiles, or with the whole picture."""

TILE_STEP = 5.0
"""Greatest ratio from one scale of tiles to the next, or to the look at the whole picture: the smallest face that may
be cut at one scale has 133 / 5 = 27 pixels at the next."""

CUT_MARGIN = 0.1
"""A face that ends closer than this share of its size to a border within the picture may go on beyond it."""

SMALLEST_TILE = 2 * TILE_OVERLAP

ROTATIONS = (90, -90, 180)
"""Degrees, counter-clockwise, by which a picture can be turned."""


@dataclass(frozen=True)
class View:
    """One look at a part of a picture.

    Attributes:
        window: the part: x1, y1, x2, y2, whole pixels.
        size: (width, height) to which it is scaled.
        border: width of a grey border around it at left and right, and at top and bottom, in scaled pixels.
        turns: quarter turns, counter-clockwise, after that.
        smallest: faces with a smaller side, √(width · height) in pixels of the picture, are left to other views.
        bounds: x1, y1, x2, y2 between which faces must lie, with ``CUT_MARGIN`` to spare; infinite where the window
            ends with the picture.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    border: tuple[int, int] = (0, 0)
    turns: int = 0
    smallest: float = 0.0
    bounds: tuple[float, float, float, float] = (-math.inf, -math.inf, math.inf, math.inf)

    @property
    def seen(self) -> tuple[int, int]:
        """(width, height) of the network's input."""
        width, height = (side + 2 * border for side, border in zip(self.size, self.border, strict=True))
        return (width, height) if self.turns % 2 == 0 else (height, width)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the picture in one of the scaled window, in x and y."""
        x1, y1, x2, y2 = self.window
        return (x2 - x1) / self.size[0], (y2 - y1) / self.size[1]

    @property
    def origin(self) -> tuple[float, float]:
        """x, y in the picture of what the network sees at its top left before the turn."""
        return self.window[0] - self.border[0] * self.scale[0], self.window[1] - self.border[1] * self.scale[1]

    def look(self, image: RGB) -> RGB:
        """What the network sees of ``image`` (H, W, 3): ``seen`` pixels."""
        x1, y1, x2, y2 = self.window
        part: Any = resized(image[y1:y2, x1:x2], self.size)
        if any(self.border):
            x, y = self.border
            part = cv2.copyMakeBorder(part, y, y, x, x, cv2.BORDER_CONSTANT, value=_GREY)
        return np.rot90(part, self.turns)

    def mapped(self, faces: Faces) -> Faces:
        """``faces`` of the network's input in pixels of the picture; landmarks stay with their points of the face."""
        return geometry.rotate90(faces, *self.seen, -self.turns).mapped(self.scale, self.origin)

    def mapped_meshes(self, meshes: Meshes) -> Meshes:
        """The same for meshes."""
        return meshes.rotated90(*self.seen, -self.turns).mapped(self.scale, self.origin)

    def counted(self, faces: Faces) -> npt.NDArray[np.bool_]:
        """(n,): whether ``faces``, in pixels of the picture, are this view's to find: large enough, and uncut."""
        sides = np.stack([faces.widths, faces.heights], axis=1)
        margin = CUT_MARGIN * sides
        within = (faces.boxes[:, :2] - margin >= self.bounds[:2]) & (faces.boxes[:, 2:] + margin <= self.bounds[2:])
        counted: npt.NDArray[np.bool_] = within.all(axis=1) & (np.sqrt(sides.prod(axis=1)) >= self.smallest)
        return counted


@dataclass(frozen=True)
class Reach:
    """What is looked at besides the whole picture, upright.

    Attributes:
        size: at which size the whole picture is seen, and whether there is an overview of it.
        tiles: greatest side of tiles of the picture that are seen at full resolution, pixels; ``None``: no tiles.
        rotations: degrees of ``ROTATIONS`` by which everything is seen turned as well.

    Raises:
        ConfigError: tiles of a side that is not ``SMALLEST_TILE`` to ``MAX_SIDE``, or where the whole picture is seen
            at full resolution anyway; a rotation that is none, or twice the same.
    """

    size: SizeRule
    tiles: int | None = None
    rotations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.tiles is not None and not SMALLEST_TILE <= self.tiles <= MAX_SIDE:
            raise ConfigError(f"tiles must have a side of {SMALLEST_TILE} to {MAX_SIDE} pixels, not {self.tiles}")
        if self.tiles is not None and self.size == SizeRule():
            raise ConfigError(
                "size original sees the whole picture at full resolution, so tiles add nothing; "
                "with tiles write size auto or a number of pixels"
            )
        if wrong := [degrees for degrees in self.rotations if degrees not in ROTATIONS]:
            raise ConfigError(f"rotations are some of {', '.join(map(str, ROTATIONS))} degrees, not {wrong[0]}")
        if len(set(self.rotations)) != len(self.rotations):
            raise ConfigError(f"each rotation counts once, not {' '.join(map(str, self.rotations))}")

    def views(self, width: int, height: int) -> list[View]:
        """The views of a picture of ``width`` × ``height`` pixels; those of the whole, upright, come first."""
        first, whole = self.size.target(width, height), (0, 0, width, height)
        long = max(width, height)
        upright = [View(whole, first)]
        if second := self.size.second_target(width, height):
            border = math.ceil(BORDER * second[0]), math.ceil(BORDER * second[1])
            smallest = min(OVERVIEW_FACE * long / max(first), OVERVIEW_SHARE * long)
            upright.append(View(whole, second, border, smallest=smallest))
        if self.tiles is not None:
            upright += _tile_views(width, height, long / max(first), self.tiles)
        return [replace(view, turns=degrees // 90 % 4) for degrees in (0, *self.rotations) for view in upright]


def batches(views: Sequence[View], most: int) -> Iterator[list[tuple[int, View]]]:
    """``views`` with their numbers, in groups of at most ``most`` whose inputs have the same size."""
    for _, alike in itertools.groupby(enumerate(views), key=lambda numbered: numbered[1].seen):
        rest = list(alike)
        while rest:
            yield rest[:most]
            rest = rest[most:]


def parts(faces: Faces, view: npt.NDArray[np.int64], views: Sequence[View]) -> npt.NDArray[np.bool_]:
    """(n,): which of ``faces``, before suppression, found by ``view`` (n,), are parts of a face too large for it.

    What a view makes of such a face, its middle, an eye, a chin, is taken for a face at times. So none counts of which
    ``PART`` lies within a face that a coarser view found about as surely (``AS_SURE``), and that has at least
    ``OVERVIEW_FACE`` pixels in the input of the finer view.
    """
    scales = np.array([math.sqrt(one.scale[0] * one.scale[1]) for one in views])[view]
    sides = np.sqrt(faces.widths * faces.heights)
    large = np.flatnonzero(sides >= OVERVIEW_FACE * scales.min(initial=math.inf))
    found = np.zeros(len(faces), bool)
    for at in range(0, len(faces) if len(large) else 0, _FACES_AT_ONCE):
        some = slice(at, at + _FACES_AT_ONCE)
        fits = (scales[large] > 1.01 * scales[some, None]) & (sides[large] >= OVERVIEW_FACE * scales[some, None])
        sure = faces.scores[large] >= AS_SURE * faces.scores[some, None]
        within = geometry.coverage(faces.boxes[some], faces.boxes[large]) >= PART
        found[some] = (fits & sure & within).any(axis=1)
    return found


def seen_better_turned(faces: Faces, view: npt.NDArray[np.int64], views: Sequence[View]) -> npt.NDArray[np.bool_]:
    """(n,): which of ``faces``, after suppression, share ``SAME`` of the smaller one's area with a better one of
    another turn: what a look at the wrong turn makes of a face need not have its box."""
    turns = np.array([one.turns for one in views])[view]
    found = np.zeros(len(faces), bool)
    for at in range(0, len(faces) if len(np.unique(turns)) > 1 else 0, _FACES_AT_ONCE):
        some = slice(at, at + _FACES_AT_ONCE)
        better = (faces.scores > faces.scores[some, None]) & (turns != turns[some, None])
        shared = geometry.coverage(faces.boxes[some], faces.boxes)
        np.maximum(shared, geometry.coverage(faces.boxes, faces.boxes[some]).T, out=shared)
        found[some] = (better & (shared >= SAME)).any(axis=1)
    return found


def mapped_meshes(meshes: Meshes, view: npt.NDArray[np.int64], views: Sequence[View]) -> Meshes:
    """n ``meshes`` in pixels of the network's inputs, in pixels of the picture; ``view`` (n,): whose input it was."""
    numbers = np.unique(view)
    if not len(numbers):
        return meshes
    order = np.argsort(view, kind="stable")
    parts = [views[number].mapped_meshes(meshes[view == number]) for number in numbers]
    return Meshes.concatenate(parts)[np.argsort(order)]


def resized(image: RGB, size: tuple[int, int]) -> RGB:
    """``image`` (H, W, 3) at ``size`` (width, height).

    Bilinear, as WIDER FACE's figures are usually made; but bilinear skips pixels when it shrinks to less than
    half, which harms small faces, so such pictures are first halved by averaging. (For 12 megapixels that
    takes 6 ms, plain averaging over areas 30 ms, plain bilinear 3 ms.)
    """
    width, height = size
    scaled: Any = image
    while scaled.shape[1] >= 2 * width and scaled.shape[0] >= 2 * height:
        half = (scaled.shape[1] // 2, scaled.shape[0] // 2)
        scaled = cv2.resize(scaled, half, interpolation=cv2.INTER_AREA)
    if scaled.shape[:2] != (height, width):
        scaled = cv2.resize(scaled, size, interpolation=cv2.INTER_LINEAR)
    pixels: RGB = scaled
    return pixels


def _tile_views(width: int, height: int, shrunk: float, side: int) -> list[View]:
    """Tiles at full resolution, then coarser ones until the look at the whole, ``shrunk`` to 1, is at most
    ``TILE_STEP`` away. Scales are evenly spaced; nothing where the whole is not shrunk."""
    if shrunk <= 1:
        return []
    scales = math.ceil(math.log(shrunk, TILE_STEP))
    return [
        view
        for i in range(scales)
        for view in _tiles_at(width, height, math.ceil(width / shrunk ** (i / scales)), side)
    ]


def _tiles_at(width: int, height: int, scaled_width: int, side: int) -> list[View]:
    """Tiles of at most ``side`` pixels of the picture at ``scaled_width``; all of one size, evenly spread."""
    scale = width / scaled_width
    columns, rows = (_cuts(length, side, scale) for length in (width, height))
    return [
        View(
            window=(x1, y1, x2, y2),
            size=(max(1, round((x2 - x1) / scale)), max(1, round((y2 - y1) / scale))),
            bounds=(
                x1 if x1 > 0 else -math.inf,
                y1 if y1 > 0 else -math.inf,
                x2 if x2 < width else math.inf,
                y2 if y2 < height else math.inf,
            ),
        )
        for y1, y2 in rows
        for x1, x2 in columns
    ]


def _cuts(length: int, side: int, scale: float) -> list[tuple[int, int]]:
    """Equally long stretches of ``length`` pixels; divided by ``scale`` they share ``TILE_OVERLAP`` and measure at most
    ``side``."""
    overlap, most = TILE_OVERLAP * scale, side * scale
    count = max(1, math.ceil((length - overlap) / (most - overlap)))
    own = min(length, math.ceil((length + (count - 1) * overlap) / count))
    starts = np.linspace(0, length - own, count).round().astype(int).tolist()
    return [(start, start + own) for start in starts]
