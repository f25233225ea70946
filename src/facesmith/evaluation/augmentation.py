"""Test-time augmentation: one picture seen at several sizes, and flipped, and the looks brought together.

As RetinaFace is tested (Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", 2019,
section 4.2, with the sizes of the official code): all looks' candidates, without NMS of their own, go into
one box voting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from facesmith import geometry
from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.runtime import Detector, SizeRule

VGA = 640
"""WIDER FACE's "VGA": the long side, pixels."""

KEEP = 750
"""Most faces that box voting leaves in a picture."""

_BASE_SHORT, _BASE_LONG = 800, 1200
_SHORT_SIDES = (500, 800, 1100, 1400, 1700)
_KEEP_ALL = 1.0  # as an NMS threshold: no IoU is above it

PYRAMID = tuple(SizeRule(short=short, most=short * _BASE_LONG // _BASE_SHORT) for short in _SHORT_SIDES)
"""RetinaFace's scales: short side 800, long side at most 1200, times 500, 800, 1100, 1400 and 1700 / 800."""


@dataclass(frozen=True)
class Augmentation:
    """At which sizes a picture is seen, and whether also flipped.

    Attributes:
        sizes: one rule a look.
        flip: see each size flipped left to right as well.

    Raises:
        ConfigError: there is no size, or the same twice.
    """

    sizes: tuple[SizeRule, ...] = (SizeRule(),)
    flip: bool = False

    def __post_init__(self) -> None:
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            raise ConfigError("test-time augmentation needs at least one size, and each only once")

    @classmethod
    def parse(cls, kind: str, size: str | None = None) -> Self:
        """The augmentation that command lines call ``kind``.

        Args:
            kind: ``"none"``, ``"flip"`` (the one size, and flipped), or ``"pyramid"`` (:data:`PYRAMID`, and
                flipped).
            size: ``"vga"`` or what :meth:`SizeRule.parse` takes; ``None`` is ``"original"``. Not with a
                pyramid.

        Raises:
            ConfigError: ``kind`` or ``size`` is unknown, or a size is given for the pyramid.
        """
        if kind == "pyramid":
            if size is not None:
                sides = ", ".join(map(str, _SHORT_SIDES))
                raise ConfigError(f"the pyramid has sizes of its own (short sides {sides}); leave the size {size} away")
            return cls(PYRAMID, flip=True)
        if kind not in ("none", "flip"):
            raise ConfigError(f"no such augmentation: {kind!r}; write none, flip or pyramid")
        rule = SizeRule.parse(VGA if size is not None and size.strip().lower() == "vga" else size or "original")
        return cls((rule,), flip=kind == "flip")

    @property
    def looks(self) -> int:
        """How many times the network sees a picture (the size rule's overview, tiles and rotations not counted)."""
        return len(self.sizes) * (2 if self.flip else 1)

    def size_rule(self, detector: Detector) -> str:
        """The sizes in words, for :class:`~facesmith.evaluation.result.Provenance`."""
        return "; ".join(str(detector.size_rule(size)) for size in self.sizes)

    def __str__(self) -> str:
        parts = [f"{len(self.sizes)} scales"] if len(self.sizes) > 1 else []
        parts += ["horizontal flip"] if self.flip else []
        return ", ".join([*parts, "box voting"]) if parts else "none"

    def detect(
        self,
        detector: Detector,
        image: npt.NDArray[np.uint8],
        *,
        threshold: float,
        nms: float,
        nms_min_area: bool = False,
        meshes: bool = False,
        tiles: int | None = None,
        rotations: Sequence[int] = (),
    ) -> Faces:
        """The faces of one picture, best score first.

        Args:
            detector: the model.
            image: (H, W, 3) uint8 RGB.
            threshold: lowest score of a candidate.
            nms: IoU above which NMS drops a face; with several looks, the IoU from which box voting merges.
            nms_min_area: NMS by the intersection over the smaller box's area; with one look only.
            meshes: with each face's mesh; with one look only.
            tiles: as in :meth:`Detector.detect`, in every look.
            rotations: as in :meth:`Detector.detect`, in every look.
        """

        def look(seen: npt.NDArray[np.uint8], size: SizeRule, nms: float, **more: bool) -> Faces:
            return detector.detect(
                seen, size=size, threshold=threshold, nms=nms, tiles=tiles, rotations=rotations, **more
            )

        if self.looks == 1:
            return look(image, self.sizes[0], nms, nms_min_area=nms_min_area, meshes=meshes)
        width = image.shape[1]
        found = [look(image, size, _KEEP_ALL) for size in self.sizes]
        if self.flip:
            mirrored = np.ascontiguousarray(image[:, ::-1])
            found += [geometry.flip(look(mirrored, size, _KEEP_ALL), width) for size in self.sizes]
        return geometry.vote(Faces.concatenate(found), nms, KEEP)


PLAIN = Augmentation()
"""The original size, once."""
