"""A detector over many pictures: streaming, in order, each picture read once, nothing skipped."""

import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facesmith import __version__, images
from facesmith.box_styles import BoxStyle
from facesmith.errors import ConfigError
from facesmith.evaluation.augmentation import PLAIN, Augmentation
from facesmith.evaluation.names import image_name
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD, Detector
from facesmith.runtime.ordered import ordered_map
from facesmith.runtime.views import Reach


@dataclass(frozen=True)
class Settings:
    """How faces are looked for in an evaluation.

    Attributes:
        augmentation: sizes and flip.
        threshold: lowest score kept.
        nms: IoU threshold of non-maximum suppression, or of box voting where there are several looks.
        nms_min_area: NMS by the intersection over the smaller box's area, not by IoU.
        meshes: find each face's mesh as well; the detector must have the branch for it.
        turns: quarter turns, counter-clockwise, by which every picture is turned before it is seen; faces are
            those of the turned picture.
        box_style: replace the boxes by those that the landmarks imply in this style; ``None``: leave them.
        tiles: also see tiles of at most this side at full resolution, as in :meth:`Detector.detect`.
        rotations: degrees by which everything is seen turned as well, as in :meth:`Detector.detect`.

    Raises:
        ConfigError: a number is not between 0 and 1, ``nms_min_area`` or ``meshes`` where boxes are voted on,
            or tiles or rotations that :class:`~facesmith.runtime.views.Reach` refuses.
    """

    augmentation: Augmentation = PLAIN
    threshold: float = EVALUATION_THRESHOLD
    nms: float = 0.4
    nms_min_area: bool = False
    turns: int = 0
    box_style: BoxStyle | None = None
    meshes: bool = False
    tiles: int | None = None
    rotations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("threshold", "nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.nms_min_area and self.augmentation.looks > 1:
            raise ConfigError(f"{self.augmentation}: there box voting takes the place of NMS; leave nms_min_area away")
        if self.meshes and self.augmentation.looks > 1:
            raise ConfigError(f"{self.augmentation}: meshes of several looks cannot be merged; look once")
        for size in self.augmentation.sizes:
            Reach(size, self.tiles, self.rotations)

    def provenance(self, detector: Detector) -> Provenance:
        """Where predictions of ``detector`` with these settings come from."""
        return Provenance(
            detector=detector.name,
            checksum=detector.checksum,
            size_rule=self.augmentation.size_rule(detector),
            augmentation=str(self.augmentation),
            score_threshold=self.threshold,
            nms=self.nms,
            package=__version__,
            settings={
                "device": detector.device,
                **({"NMS over": "the smaller area"} if self.nms_min_area else {}),
                **({"turned": f"{90 * self.turns:+d}°"} if self.turns else {}),
                **({"tiles": f"{self.tiles} pixels"} if self.tiles is not None else {}),
                **({"rotations": " ".join(f"{degrees:+d}°" for degrees in self.rotations)} if self.rotations else {}),
                **({"box style": str(self.box_style)} if self.box_style is not None else {}),
            },
        )


@dataclass(frozen=True)
class Prediction:
    """The faces of one picture, ``width`` × ``height`` pixels large, with the protocol's ``name`` for it."""

    name: str
    faces: Faces
    width: int
    height: int


def predict(
    detector: Detector, pictures: Mapping[str, Path], settings: Settings, *, progress: bool = True
) -> Iterator[Prediction]:
    """Faces of every picture, in the order of ``pictures``, each as soon as it is known.

    As many pictures are read and run at the same time as the detector has threads, never further ahead of the
    consumer than twice that, so memory does not grow with the number of pictures.

    Args:
        detector: the model.
        pictures: name -> file; see :func:`find_pictures`.
        settings: sizes and thresholds.
        progress: show a bar on stderr, if that is a terminal.

    Raises:
        ImageError: a picture cannot be read; the message names the file. An evaluation never skips one.
    """

    def work(item: tuple[str, Path]) -> Prediction:
        name, path = item
        image = np.ascontiguousarray(np.rot90(images.read(path), settings.turns))
        faces = settings.augmentation.detect(
            detector,
            image,
            threshold=settings.threshold,
            nms=settings.nms,
            nms_min_area=settings.nms_min_area,
            meshes=settings.meshes,
            tiles=settings.tiles,
            rotations=settings.rotations,
        )
        if settings.box_style is not None:
            faces = settings.box_style.restyled(faces)
        return Prediction(name, faces, image.shape[1], image.shape[0])

    hidden = not (progress and sys.stderr is not None and sys.stderr.isatty())
    with (
        tqdm(total=len(pictures), desc=detector.name, unit="picture", disable=hidden, leave=False) as bar,
        contextlib.closing(ordered_map(work, pictures.items(), workers=detector.threads)) as found,
    ):
        for prediction in found:
            bar.update()
            yield prediction


def walk_pictures(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Every picture in ``folder`` and below, in name order; hidden files and folders are passed over.

    Raises:
        ConfigError: it is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of images")
    for inner, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and images.is_image_path(file):
                yield Path(inner, file)


def find_pictures(folder: str | os.PathLike[str], names: Collection[str]) -> dict[str, Path]:
    """The pictures below ``folder`` that a protocol knows: its name -> file, in the protocol's order.

    A file belongs to the name that its path, without suffix, ends with: ``WIDER_val/images/0--Parade/a.jpg``
    is ``0--Parade/a``. Other pictures are passed over, and a protocol's image may be missing; who asks
    compares.

    Raises:
        ConfigError: no such folder, none of the images is there, or two files are the same image.
    """
    known = frozenset(names)
    found: dict[str, Path] = {}
    for path in walk_pictures(folder):
        name = image_name(Path(os.path.abspath(path)).as_posix())
        while name not in known and "/" in name:
            name = name.split("/", 1)[1]
        if name in found:
            raise ConfigError(f"{found[name]} and {path} are both image {name!r}; name a folder that holds one of them")
        if name in known:
            found[name] = path
    if not found:
        example = f" (such as {next(iter(names))!r})" if names else ""
        raise ConfigError(f"{folder}: none of the {len(known):,} images of the ground truth{example} is below it")
    return {name: found[name] for name in names if name in found}
