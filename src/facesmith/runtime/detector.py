"""``Detector``: a picture in, its faces out."""

from dataclasses import replace
from typing import Any, NamedTuple, overload

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import geometry, images
from facesmith.errors import ConfigError, ImageError, ModelError
from facesmith.faces import Faces
from facesmith.runtime.meshes import MeshRows, MeshSession
from facesmith.runtime.ordered import ordered_map
from facesmith.runtime.session import Candidates, ImageBatch, Session
from facesmith.runtime.size import AUTO, SizeRule

EVERYDAY_THRESHOLD = 0.5
"""Lowest score of a face in everyday use."""

EVALUATION_THRESHOLD = 0.02
"""Lowest score of a face where precision-recall curves are drawn (facts/retinaface)."""

OVERVIEW_FACE = 256.0
"""The overview adds faces of this side and more, in pixels of the first look: there the first look's largest
anchors (512) begin to miss faces, while the overview sees them at 64 pixels, where it is at its best."""


class Detector:
    """Finds faces with one network. Made by :func:`facesmith.load`; several threads may use it at once.

    Args:
        session: the loaded network.
        checksum: sha256 of its file.
        meshes: its mesh branch; ``None``: it has none.

    Attributes:
        name: the model's name.
        checksum: sha256 of its file.
        device: where it really runs.
        threads: CPU threads that it may use.
        usual_size: the size rule that ``size="auto"`` means for this model.
    """

    def __init__(self, session: Session, *, checksum: str, meshes: MeshSession | None = None) -> None:
        self._session, self._meshes = session, meshes
        self.checksum = checksum
        self.name = session.name
        self.device = session.device
        self.threads = session.threads
        self.usual_size = SizeRule.parse(session.usual_size)

    @overload
    def detect(
        self,
        source: list[Any] | tuple[Any, ...],
        *,
        size: SizeRule | str | int = "auto",
        threshold: float = EVERYDAY_THRESHOLD,
        nms: float = 0.4,
        nms_min_area: bool = False,
        meshes: bool = False,
    ) -> list[Faces]: ...

    @overload
    def detect(
        self,
        source: images.Source,
        *,
        size: SizeRule | str | int = "auto",
        threshold: float = EVERYDAY_THRESHOLD,
        nms: float = 0.4,
        nms_min_area: bool = False,
        meshes: bool = False,
    ) -> Faces: ...

    def detect(
        self,
        source: "images.Source | list[Any] | tuple[Any, ...]",
        *,
        size: SizeRule | str | int = "auto",
        threshold: float = EVERYDAY_THRESHOLD,
        nms: float = 0.4,
        nms_min_area: bool = False,
        meshes: bool = False,
    ) -> Faces | list[Faces]:
        """The faces of one picture, or of each picture of a list; best score first.

        Boxes and landmarks are in pixels of the picture as read (upright by EXIF). They are not clipped: a
        face cut by the border keeps its full box, which sticks out, as WIDER FACE's labels do.

        Pictures of a list may differ in size and kind; ``threads`` of them are read and run at the same time.
        They are not stacked into batches: a batch of 4 or 8 took up to half more CPU time a picture than
        single ones, four single ones side by side a half to a third of the wall time (4 threads, 320×240 to
        1280×960).

        Args:
            source: a path, encoded bytes, an H×W×3 uint8 RGB array or whatever else ``images.read`` takes;
                or a list or tuple of them.
            size: at which size the network sees a picture; see :class:`SizeRule`. A network that was made for one size
                sees pictures at that where ``auto`` is asked for: :attr:`usual_size`.
            threshold: lowest score, 0 to 1.
            nms: of two faces with an IoU above this, only the better one stays; 1 keeps all.
            nms_min_area: compare the intersection over the smaller box's area instead, as RSA and KPNet do.
            meshes: give each face's 3D mesh as well (:attr:`Faces.meshes`).

        Raises:
            ImageError: a picture cannot be read; for a list the message says which.
            ConfigError: ``size``, ``threshold`` or ``nms`` is out of range, or the model has no meshes to give.
        """
        rule = self.size_rule(size)
        if meshes and self._meshes is None:
            raise ConfigError(
                f"{self.name} has no mesh branch, so it gives no meshes; `facesmith models` says which do"
            )
        for name, value in (("threshold", threshold), ("nms", nms)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not {value}")
        if not isinstance(source, list | tuple):
            return self._detect(images.read(source), rule, threshold, nms, nms_min_area, meshes)

        def work(numbered: "tuple[int, images.Source]") -> Faces:
            index, one = numbered
            try:
                return self._detect(images.read(one), rule, threshold, nms, nms_min_area, meshes)
            except ImageError as error:
                raise ImageError(f"picture {index} of the list: {error}") from error

        return list(ordered_map(work, enumerate(source), workers=min(self.threads, max(1, len(source)))))

    __call__ = detect

    @property
    def has_meshes(self) -> bool:
        """Whether :meth:`detect` can give meshes."""
        return self._meshes is not None

    def size_rule(self, size: SizeRule | str | int) -> SizeRule:
        """The rule that ``size`` means for this model: ``auto`` is its usual size.

        Raises:
            ConfigError: ``size`` is no size rule.
        """
        rule = SizeRule.parse(size)
        return self.usual_size if rule == AUTO else rule

    def raw(self, batch: ImageBatch) -> Candidates:
        """The network's own (boxes, scores, landmarks) for (B, H, W, 3) uint8 RGB; see :class:`Candidates`.

        Raises:
            ImageError: ``batch`` has another shape or type.
            ModelError: the network answers with NaN or infinity.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3 or 0 in batch.shape:
            raise ImageError(f"the network takes (B, H, W, 3) uint8 RGB, not {batch.shape} {batch.dtype}")
        return self._checked(self._session.run(np.ascontiguousarray(batch)))

    def _checked(self, candidates: Candidates) -> Candidates:
        if not (np.isfinite(candidates.boxes).all() and np.isfinite(candidates.scores).all()):
            raise ModelError(f"{self.name} answers with NaN or infinity")
        return candidates

    def _detect(
        self, image: ImageBatch, rule: SizeRule, threshold: float, nms: float, nms_min_area: bool, meshes: bool
    ) -> Faces:
        height, width = image.shape[:2]
        first = rule.target(width, height)
        look = self._look(image, first, threshold, meshes)
        if second := rule.second_target(width, height):
            large = self._look(image, second, threshold, meshes)
            sides = np.sqrt(large.faces.widths * large.faces.heights) * (max(first) / max(width, height))
            look = _Look.concatenate(look, large.at(sides >= OVERVIEW_FACE))
        kept = look.at(geometry.nms(look.faces.boxes, look.faces.scores, nms, min_area=nms_min_area))
        if self._meshes is None or kept.rows is None:
            return kept.faces
        return replace(kept.faces, meshes=self._meshes.decode(*kept.rows).mapped(kept.scale))

    def _look(self, image: ImageBatch, size: tuple[int, int], threshold: float, meshes: bool) -> "_Look":
        """Candidates of at least ``threshold`` when ``image`` is seen at ``size``, in pixels of ``image``."""
        batch, rows = resized(image, size)[None], None
        if meshes and self._meshes is not None:
            candidates, rows = self._meshes.run(np.ascontiguousarray(batch))
            candidates = self._checked(candidates)
        else:
            candidates = self.raw(batch)
        scores = candidates.scores[0]
        kept = (scores >= threshold) & (scores > 0)  # unused rows have a score of 0
        scale = image.shape[1] / size[0], image.shape[0] / size[1]
        faces = Faces(candidates.boxes[0][kept], scores[kept], candidates.landmarks[0][kept]).mapped(scale)
        return _Look(
            faces,
            None if rows is None else MeshRows(*(column[0][kept] for column in rows)),
            np.full((len(faces), 2), scale, np.float32),
        )


class _Look(NamedTuple):
    """n faces in pixels of the picture.

    Attributes:
        faces: without meshes.
        rows: (n, 144) and (n, 4) what their meshes are made of, in pixels of the input.
        scale: (n, 2) pixels of the picture in one of the input.
    """

    faces: Faces
    rows: MeshRows | None
    scale: npt.NDArray[np.float32]

    def at(self, index: npt.NDArray[Any]) -> "_Look":
        rows = None if self.rows is None else MeshRows(*(column[index] for column in self.rows))
        return _Look(self.faces[index], rows, self.scale[index])

    @classmethod
    def concatenate(cls, a: "_Look", b: "_Look") -> "_Look":
        rows = None
        if a.rows is not None and b.rows is not None:
            rows = MeshRows(*(np.concatenate(pair) for pair in zip(a.rows, b.rows, strict=True)))
        return cls(Faces.concatenate([a.faces, b.faces]), rows, np.concatenate([a.scale, b.scale]))


def resized(image: ImageBatch, size: tuple[int, int]) -> ImageBatch:
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
    pixels: ImageBatch = scaled
    return pixels
