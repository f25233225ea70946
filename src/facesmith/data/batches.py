"""Batches as a pure function of (seed, step): that makes resuming and many processes exact."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facesmith.data.augment import AugmentConfig, make_sample
from facesmith.data.sample import Sample
from facesmith.data.sources import Source
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError


@dataclass(frozen=True)
class BatchConfig:
    """What a step sees.

    Attributes:
        images: images a step at side ``sides[0]``, over all processes; other sides get as many as have about
            the same number of pixels.
        sides: window sides in pixels; every step draws one.
        augment: how pictures are varied.

    Raises:
        ConfigError: no side, or a number below 1.
    """

    images: int = 32
    sides: tuple[int, ...] = (320,)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not self.sides or min(self.images, *self.sides) < 1:
            raise ConfigError(f"a batch needs images and sides of at least 1, not {self.images} and {self.sides}")

    def count(self, side: int) -> int:
        """Images a step at ``side``, over all processes."""
        return max(round(self.images * (self.sides[0] / side) ** 2), 1)


class Batches(Dataset[tuple[Tensor, Targets]]):
    """``self[step]`` is this process's part of the batch of ``step``: images (b, 3, S, S) uint8, and targets.

    The parts of all processes, one after the other, are the batch that one process alone would get.

    Args:
        sources, config: what a batch is drawn from, and how.
        seed: the same seed, the same batches.
        cache: folder for decoded pixels.
        rank, world: this process's place among all.
        parts: into how many a process divides its images; each needs one at least.

    Raises:
        ConfigError: there are fewer images in a batch than processes times parts.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: BatchConfig,
        *,
        seed: int,
        cache: Path | None = None,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        self.sources, self.config, self.cache = sources, config, cache
        self.seed, self.rank, self.world = seed, rank, world
        shares = np.array([source.config.share for source in sources], np.float64)
        self.shares = shares / shares.sum()
        if smallest := [side for side in config.sides if config.count(side) < world * parts]:
            each = "each process needs one at least" if parts == 1 else f"each takes {parts} parts, of one at least"
            raise ConfigError(
                f"{world} processes, but only {config.count(smallest[0])} images a batch at side {smallest[0]}; {each}"
            )

    def __getitem__(self, step: int) -> tuple[Tensor, Targets]:
        side = int(np.random.default_rng((self.seed, step)).choice(self.config.sides))
        first, end = (self.config.count(side) * rank // self.world for rank in (self.rank, self.rank + 1))
        return collate([self._sample(step, index, side) for index in range(first, end)])

    def _sample(self, step: int, index: int, side: int) -> Sample:
        # From 1: a seed that ends in 0 would give the same numbers as one without it, which drew the side.
        rng = np.random.default_rng((self.seed, step, index + 1))

        def draw() -> Sample:
            source = self.sources[rng.choice(len(self.sources), p=self.shares)]
            return source.load(int(rng.integers(len(source.paths))), self.cache)

        return make_sample(draw, side, rng, self.config.augment)

    def loader(self, first: int, end: int, *, workers: int) -> Iterator[tuple[Tensor, Targets]]:
        """Batches of the steps ``first`` … ``end`` − 1, in order, made ahead by ``workers`` processes."""
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=range(first, end),
            num_workers=workers,
            generator=torch.Generator(),  # the global one's state is part of checkpoints
            prefetch_factor=4 if workers else None,
            worker_init_fn=_quiet_worker,
        )
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # ends OpenCV's threads: forked workers would wait for them or crash
        try:
            return iter(loader)
        finally:
            cv2.setNumThreads(threads)


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Targets]:
    """Equal-sized samples -> images (B, 3, H, W) uint8 and their targets."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return images, Targets(
        [torch.from_numpy(sample.boxes) for sample in samples],
        [torch.from_numpy(sample.landmarks) for sample in samples],
        [torch.from_numpy(sample.ignored) for sample in samples],
        torch.tensor([sample.complete for sample in samples]),
    )


def _quiet_worker(_: int) -> None:
    """One thread a worker, and behind the network: it has batches ahead, and in a distributed run every process would
    wait for the one whose worker took its core."""
    if hasattr(os, "nice"):
        os.nice(10)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
