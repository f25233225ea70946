"""What only the pictures show: missing and damaged ones, their sizes, and near-duplicates by a perceptual hash."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.data.labelled import Size
from facesmith.errors import ImageError
from facesmith.runtime.ordered import ordered_map

Hash = npt.NDArray[np.uint8]
Name = TypeVar("Name")

SAME_PICTURE = 6
"""Two pictures are near-duplicates if at most this many of their hashes' 64 bits differ."""

_SIDE, _KEPT = 32, 8
_BITS = np.array([bin(value).count("1") for value in range(256)], np.uint8)
_CHUNK = 1024


class Look(NamedTuple):
    """One picture file. ``problem`` says why there is neither ``size`` nor ``hash``; ``missing``: it is not there."""

    size: Size | None
    hash: Hash | None
    problem: str | None = None
    missing: bool = False


class Pair(NamedTuple, Generic[Name]):
    """Two near-duplicates and the number of bits that differ."""

    first: Name
    second: Name
    bits: int


def look_at(paths: Sequence[Path], threads: int) -> list[Look]:
    """Decode every picture once, ``threads`` at a time; memory holds one a thread."""
    return list(ordered_map(_look, paths, workers=threads))


def perceptual_hash(image: images.RGB) -> Hash:
    """(8,) uint8: which of the 8 x 8 lowest cosine frequencies of the grey picture at 32 x 32 lie above their median.

    The usual "pHash"; the constant is left out of the median. Size, compression, and mild changes of brightness and
    colour leave it nearly as it is; mirroring and cropping do not.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = np.asarray(cv2.dct(small))[:_KEPT, :_KEPT].ravel()
    return np.packbits(low > np.median(low[1:]))


def near_duplicates(first: Mapping[Name, Hash], second: Mapping[Name, Hash]) -> list[Pair[Name]]:
    """Each picture of ``second`` with its nearest of ``first``, where at most :data:`SAME_PICTURE` bits differ."""
    if not first or not second:
        return []
    names, others = list(first), list(second)
    rows, columns = np.stack(list(first.values())), np.stack(list(second.values()))
    pairs = []
    for start in range(0, len(others), _CHUNK):
        chunk = columns[start : start + _CHUNK]
        differing = np.zeros((len(chunk), len(rows)), np.uint8)
        for byte in range(rows.shape[1]):  # 8 passes: memory holds one number a pair
            differing += _BITS[chunk[:, byte, None] ^ rows[None, :, byte]]
        nearest = differing.argmin(axis=1)
        bits = differing[np.arange(len(chunk)), nearest]
        pairs += [
            Pair(names[nearest[i]], others[start + i], int(bits[i])) for i in np.flatnonzero(bits <= SAME_PICTURE)
        ]
    return pairs


def _look(path: Path) -> Look:
    if not path.is_file():
        return Look(None, None, "no such file", missing=True)
    try:
        image = images.read(path)
    except ImageError as error:
        return Look(None, None, str(error).removeprefix(f"{path}: "))
    return Look((image.shape[1], image.shape[0]), perceptual_hash(image))
