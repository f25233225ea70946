"""Folders of training photographs: found, checked, and decoded once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith import files, images
from facesmith.data import formats
from facesmith.data.formats.names import is_validation
from facesmith.data.labelled import LabelledImage, LabelSet
from facesmith.data.sample import Sample
from facesmith.errors import LabelError


@dataclass(frozen=True)
class SourceConfig:
    """How one label file, or one folder of photographs without faces, is used.

    Attributes:
        name: the label file's name without suffix, or the folder's name.
        share: how often its images are drawn, relative to the other sources.
        complete: whether every face in its images has a label.
    """

    name: str
    share: float = 1.0
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled images of one origin; ``paths`` (absolute) and ``labels`` have one length."""

    config: SourceConfig
    paths: Sequence[Path]
    labels: Sequence[LabelledImage]

    def load(self, index: int, cache: Path | None) -> Sample:
        """The image ``index`` with its faces. With ``cache``, pixels are decoded only once."""
        label = self.labels[index]
        pixels = images.read(self.paths[index]) if cache is None else _cached(self.paths[index], cache)
        return Sample(pixels, label.boxes, label.landmarks, label.ignored, self.config.complete)


def find_sources(data: Path, configs: Sequence[SourceConfig] = ()) -> list[Source]:
    """All sources below ``data``: label files in every layout that :mod:`facesmith.data.formats` reads, and
    photographs without faces in ``background/``. Sets whose name says validation or test are left out.

    Args:
        data: the folder; or one label file.
        configs: sources to use; by default every one that is there, in shares of its number of images.

    Raises:
        LabelError: nothing is there, a configured source is missing, a label names a missing image, or label files
            differ in their number of landmarks a face.
        ImageError: a format needs the size of a picture that cannot be read.
    """
    sets = formats.read(data)
    found = {one.name: _source(one) for one in sets if not is_validation(one.name)}
    if not found:
        held_back = ", ".join(one.name for one in sets)
        raise LabelError(f"{data}: {held_back}: for validation by the name, and there is nothing else to train on")
    if not configs:
        return _same_landmarks(list(found.values()))
    missing = [config.name for config in configs if config.name not in found]
    if missing:
        raise LabelError(f"{data}: no source named {', '.join(missing)}; there are {', '.join(sorted(found))}")
    return _same_landmarks([replace(found[config.name], config=config) for config in configs])


def sources_or_all(data: Path, configs: Sequence[SourceConfig]) -> list[Source]:
    """The sources of ``configs`` where all of them are there, else every source by its size.

    Raises:
        LabelError: as :func:`find_sources`.
    """
    found = find_sources(data)
    if configs and {source.config.name for source in found} >= {config.name for config in configs}:
        return find_sources(data, configs)
    return found


def _same_landmarks(sources: list[Source]) -> list[Source]:
    """``sources`` with as many landmarks a face everywhere: those without any take the number of the others."""
    with_landmarks = {
        source.config.name: source.labels[0].landmarks.shape[1]
        for source in sources
        if any(np.isfinite(label.landmarks).any() for label in source.labels)
    }
    if len(set(with_landmarks.values())) > 1:
        listed = ", ".join(f"{name} has {points}" for name, points in with_landmarks.items())
        raise LabelError(f"label files differ in landmarks a face: {listed}; train on those of one number")
    points = next(iter(with_landmarks.values()), 5)
    return [
        source
        if source.config.name in with_landmarks or points == 5
        else replace(source, labels=_without(source.labels, points))
        for source in sources
    ]


def _without(labels: Sequence[LabelledImage], points: int) -> list[LabelledImage]:
    return [label._replace(landmarks=np.full((len(label.boxes), points, 2), np.nan, np.float32)) for label in labels]


def _source(labels: LabelSet) -> Source:
    paths = [labels.root / image.path for image in labels.images]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise LabelError(
            f"{labels.name}: {len(missing)} of its {len(paths)} images are missing, the first is {missing[0]}; "
            "unpack the images, or move the label file elsewhere"
        )
    return Source(SourceConfig(labels.name, share=len(paths)), paths, labels.images)


def _cached(path: Path, cache: Path) -> npt.NDArray[np.uint8]:
    """Pixels of ``path``, mapped from ``cache``; decoded into it when they are not there yet."""
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    stored = cache / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".npy")
    if not stored.exists():
        pixels = images.read(path)
        with files.replacing(stored) as temporary:
            np.save(temporary, pixels)
    mapped: npt.NDArray[np.uint8] = np.load(stored, mmap_mode="r")
    return mapped
