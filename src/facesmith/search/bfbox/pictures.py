"""The pictures that judge candidates: held out from the training photographs, made once, mapped by every process."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from facesmith import files
from facesmith.data.augment import AugmentConfig, make_sample
from facesmith.data.batches import BatchConfig, Batches
from facesmith.data.sources import Source, find_sources
from facesmith.errors import ConfigError
from facesmith.evaluation.widerface.truth import Truth
from facesmith.training.recipes.photographs import PHOTOGRAPHS

PLAIN = AugmentConfig(mosaic=0.0, colour=0.0, grey=0.0, blur=0.0)
"""Windows around faces of every size, their colours as they are."""

_FILES = ("recalibration", "validation", "boxes", "offsets", "counted")


@dataclass(frozen=True)
class PicturesConfig:
    """Which pictures judge candidates (section 5.1: 500 to recalibrate normalisation, 200 to validate).

    Attributes:
        recalibration: training windows, augmented as in training.
        validation: held-out images, a window each.
        side: of the windows, pixels.
        seed: of what is drawn.

    Raises:
        ConfigError: a number is below 1.
    """

    recalibration: int = 500
    validation: int = 200
    side: int = 192
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.recalibration, self.validation, self.side) < 1 or self.seed < 0:
            raise ConfigError(f"judging candidates needs pictures and a side of at least 1: {self}")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Windows of one size.

    Attributes:
        recalibration: (R, S, S, 3) uint8 RGB.
        validation: (V, S, S, 3) uint8 RGB.
        truth: the faces of the validation windows; its one subset, ``all``, leaves the ignored ones out.
    """

    recalibration: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.uint8]
    truth: Truth

    def write(self, folder: Path) -> None:
        """Write plain arrays, which :meth:`read` maps."""
        truth = self.truth
        arrays: tuple[npt.NDArray[Any], ...] = (self.recalibration, self.validation, truth.boxes, truth.offsets)
        arrays = (*arrays, truth.subsets["all"])
        for name, array in zip(_FILES, arrays, strict=True):
            with files.replacing(folder / f"{name}.npy") as temporary:
                np.save(temporary, array)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What :meth:`write` wrote, mapped: processes of one machine share its memory.

        Raises:
            ConfigError: a file is missing or damaged.
        """
        try:
            maps = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FILES]
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder}: has not the pictures that judge candidates: {error}") from error
        recalibration, validation, boxes, offsets, counted = maps
        return cls(recalibration, validation, _truth(boxes, offsets, counted))


def find_photographs(data: Path) -> list[Source]:
    """The project's photographs in the shares of the recipes; of any other folder every source by its size.

    Raises:
        LabelError: see :func:`~facesmith.data.sources.find_sources`.
    """
    found = find_sources(data)
    if {source.config.name for source in found} >= {config.name for config in PHOTOGRAPHS}:
        return find_sources(data, PHOTOGRAPHS)
    return found


def hold_out(sources: Sequence[Source], count: int) -> tuple[list[Source], list[Source]]:
    """Sources without ``count`` images, and these images: evenly spaced among those with faces, all of them labelled.

    Raises:
        ConfigError: there are fewer than twice as many such images.
    """
    usable = [
        (place, index)
        for place, source in enumerate(sources)
        if source.config.complete
        for index, label in enumerate(source.labels)
        if (~label.ignored).any()
    ]
    if len(usable) < 2 * count:
        raise ConfigError(
            f"{count} images are to be held out, but only {len(usable)} have faces that are all labelled; "
            "hold out half of these at most (--validation)"
        )
    chosen = {usable[i] for i in np.linspace(0, len(usable) - 1, count).round().astype(int)}
    parts = [
        ([i for i in range(len(s.paths)) if (place, i) not in chosen], [i for _, i in sorted(chosen) if _ == place])
        for place, s in enumerate(sources)
    ]
    kept = [_part(source, rows) for source, (rows, _) in zip(sources, parts, strict=True) if rows]
    return kept, [_part(source, rows) for source, (_, rows) in zip(sources, parts, strict=True) if rows]


def make_pictures(
    training: Sequence[Source],
    held_out: Sequence[Source],
    config: PicturesConfig,
    augment: AugmentConfig,
    *,
    cache: Path | None = None,
) -> Pictures:
    """Draw the windows.

    Args:
        training: what the supernet learns from.
        held_out: from :func:`hold_out`.
        config: how many, how large.
        augment: the training's.
        cache: folder for decoded pixels.
    """
    batch = BatchConfig(images=config.recalibration, sides=(config.side,), augment=augment)
    recalibration = Batches(training, batch, seed=config.seed, cache=cache)[0][0].permute(0, 2, 3, 1).numpy()
    samples = []
    for place, source in enumerate(held_out):
        for index in range(len(source.paths)):
            rng = np.random.default_rng((config.seed, place, index))
            loaded = source.load(index, cache)
            samples.append(make_sample(lambda loaded=loaded: loaded, config.side, rng, PLAIN))  # type: ignore[misc]
    offsets = np.concatenate(([0], np.cumsum([len(sample.boxes) for sample in samples])))
    boxes = np.concatenate([sample.boxes for sample in samples])
    counted = ~np.concatenate([sample.ignored for sample in samples])
    validation = np.stack([sample.image for sample in samples])
    return Pictures(np.ascontiguousarray(recalibration), validation, _truth(boxes, offsets, counted))


def _part(source: Source, rows: Sequence[int]) -> Source:
    return replace(source, paths=[source.paths[i] for i in rows], labels=[source.labels[i] for i in rows])


def _truth(boxes: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]) -> Truth:
    names = tuple(f"validation/{index}" for index in range(len(offsets) - 1))
    return Truth(names, np.asarray(boxes), np.asarray(offsets), {"all": np.asarray(counted)}, {}, None)
