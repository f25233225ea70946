from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from drawn_faces import write_faces
from facesmith.data.batches import BatchConfig, Batches
from facesmith.data.sources import Source, SourceConfig, find_sources
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError

CONFIG = BatchConfig(images=6, sides=(64, 64, 96))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return find_sources(write_faces(tmp_path_factory.mktemp("faces"), 4))


def columns(batch: tuple[Tensor, Targets]) -> list[Tensor]:
    images, targets = batch
    return [images, *targets.boxes, *targets.landmarks, *targets.ignored, targets.complete]


def equal(a: tuple[Tensor, Targets], b: tuple[Tensor, Targets]) -> bool:
    pairs = zip(columns(a), columns(b), strict=True)
    return all(torch.equal(x.nan_to_num(-1e9), y.nan_to_num(-1e9)) for x, y in pairs)


class TestBatch:
    def test_shapes(self, sources: list[Source]) -> None:
        batches = Batches(sources, CONFIG, seed=0)
        sides = set()
        for step in range(8):
            images, targets = batches[step]
            sides.add(side := images.shape[2])
            assert images.shape == (CONFIG.count(side), 3, side, side)
            assert images.dtype == torch.uint8
            assert len(targets.boxes) == len(targets.landmarks) == len(targets.ignored) == len(images)
            for boxes, points, ignored in zip(targets.boxes, targets.landmarks, targets.ignored, strict=True):
                assert boxes.shape == (len(boxes), 4)
                assert points.shape == (len(boxes), 5, 2)
                assert ignored.shape == (len(boxes),)
                assert ignored.dtype == torch.bool
            assert targets.complete.shape == (len(images),)
        assert sides == {64, 96}

    def test_larger_windows_come_in_smaller_batches(self) -> None:
        config = BatchConfig(images=32, sides=(320, 640, 4000))
        assert [config.count(side) for side in config.sides] == [32, 8, 1]

    def test_pixels_are_those_of_the_pictures(self, sources: list[Source]) -> None:
        images, _ = Batches(sources, CONFIG, seed=0)[0]
        assert images.float().std() > 20

    def test_sources_are_drawn_by_their_shares(self, sources: list[Source]) -> None:
        faces, background = sources
        only = [
            Source(SourceConfig("faces", 1.0), faces.paths, faces.labels),
            Source(SourceConfig("background", 1e-9), background.paths, background.labels),
        ]
        counts = [sum(map(len, Batches(only, CONFIG, seed=0)[step][1].boxes)) for step in range(3)]
        assert min(counts) > 0
        swapped = [Source(SourceConfig("faces", 1e-9), faces.paths, faces.labels), background]
        assert sum(map(len, Batches(swapped, CONFIG, seed=0)[0][1].boxes)) == 0

    def test_incomplete_labels_are_marked(self, sources: list[Source]) -> None:
        faces = sources[0]
        partly = Source(SourceConfig("faces", complete=False), faces.paths, faces.labels)
        assert not Batches([partly], CONFIG, seed=0)[0][1].complete.any()


class TestDeterminism:
    def test_a_batch_is_a_function_of_seed_and_step(self, sources: list[Source]) -> None:
        batches = Batches(sources, CONFIG, seed=3)
        first = batches[5]
        batches[2]
        np.random.default_rng(0)
        assert equal(first, batches[5])
        assert equal(first, Batches(sources, CONFIG, seed=3)[5])
        assert not equal(first, Batches(sources, CONFIG, seed=4)[5])

    def test_steps_and_samples_differ(self, sources: list[Source]) -> None:
        batches = Batches(sources, BatchConfig(images=6, sides=(64,)), seed=3)
        images = torch.cat([batches[step][0] for step in range(3)]).flatten(1)
        assert len({bytes(image.numpy()) for image in images}) == len(images)

    def test_the_cache_changes_nothing(self, sources: list[Source], tmp_path: Path) -> None:
        cached = Batches(sources, CONFIG, seed=0, cache=tmp_path)
        assert equal(cached[1], Batches(sources, CONFIG, seed=0)[1])
        assert equal(cached[1], Batches(sources, CONFIG, seed=0)[1])

    @pytest.mark.parametrize("world", [2, 3, 5])
    def test_the_parts_of_all_processes_are_the_whole(self, sources: list[Source], world: int) -> None:
        config = BatchConfig(images=7, sides=(64,))
        whole = Batches(sources, config, seed=1)[4]
        parts = [Batches(sources, config, seed=1, rank=rank, world=world)[4] for rank in range(world)]
        joined = (
            torch.cat([images for images, _ in parts]),
            Targets(
                [b for _, t in parts for b in t.boxes],
                [p for _, t in parts for p in t.landmarks],
                [i for _, t in parts for i in t.ignored],
                torch.cat([t.complete for _, t in parts]),
            ),
        )
        assert equal(joined, whole)
        sizes = [len(images) for images, _ in parts]
        assert max(sizes) - min(sizes) <= 1


class TestLoader:
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on fork
    @pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one CPU
    def test_workers_change_nothing(self, sources: list[Source]) -> None:
        batches = Batches(sources, CONFIG, seed=2)
        alone = list(batches.loader(3, 9, workers=0))
        assert len(alone) == 6
        for step, batch in zip(range(3, 9), alone, strict=True):
            assert equal(batch, batches[step])
        for a, b in zip(alone, batches.loader(3, 9, workers=2), strict=True):
            assert equal(a, b)

    def test_the_global_random_state_is_left_alone(self, sources: list[Source]) -> None:
        before = torch.get_rng_state()
        next(Batches(sources, CONFIG, seed=2).loader(0, 2, workers=0))
        assert torch.equal(torch.get_rng_state(), before)

    def test_no_steps_are_left(self, sources: list[Source]) -> None:
        assert list(Batches(sources, CONFIG, seed=2).loader(5, 5, workers=0)) == []


class TestErrors:
    @pytest.mark.parametrize("values", [{"images": 0}, {"sides": ()}, {"sides": (320, 0)}])
    def test_numbers_below_one(self, values: dict[str, object]) -> None:
        with pytest.raises(ConfigError, match="a batch needs images and sides of at least 1"):
            BatchConfig(**values)

    def test_more_processes_than_images(self, sources: list[Source]) -> None:
        config = BatchConfig(images=8, sides=(64, 128))
        with pytest.raises(ConfigError, match="3 processes, but only 2 images a batch at side 128"):
            Batches(sources, config, seed=0, world=3)


def test_targets_move_together() -> None:
    targets = Targets([torch.zeros(1, 4)], [torch.zeros(1, 5, 2)], [torch.zeros(1, dtype=torch.bool)], torch.ones(1))
    moved = targets.to("meta")
    assert {t.device.type for t in (*moved.boxes, *moved.landmarks, *moved.ignored, moved.complete)} == {"meta"}
