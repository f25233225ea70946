"""``Detector``: a picture in, its faces out."""

from typing import Any, overload

import cv2
import numpy as np

from facesmith import geometry, images
from facesmith.errors import ConfigError, ImageError, ModelError
from facesmith.faces import Faces
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

    Attributes:
        name: the model's name.
        checksum: sha256 of its file.
        device: where it really runs.
        threads: CPU threads that it may use.
        usual_size: the size rule that ``size="auto"`` means for this model.
    """

    def __init__(self, session: Session, *, checksum: str) -> None:
        self._session = session
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
    ) -> Faces: ...

    def detect(
        self,
        source: "images.Source | list[Any] | tuple[Any, ...]",
        *,
        size: SizeRule | str | int = "auto",
        threshold: float = EVERYDAY_THRESHOLD,
        nms: float = 0.4,
        nms_min_area: bool = False,
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

        Raises:
            ImageError: a picture cannot be read; for a list the message says which.
            ConfigError: ``size``, ``threshold`` or ``nms`` is out of range.
        """
        rule = self.size_rule(size)
        for name, value in (("threshold", threshold), ("nms", nms)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not {value}")
        if not isinstance(source, list | tuple):
            return self._detect(images.read(source), rule, threshold, nms, nms_min_area)

        def work(numbered: "tuple[int, images.Source]") -> Faces:
            index, one = numbered
            try:
                return self._detect(images.read(one), rule, threshold, nms, nms_min_area)
            except ImageError as error:
                raise ImageError(f"picture {index} of the list: {error}") from error

        return list(ordered_map(work, enumerate(source), workers=min(self.threads, max(1, len(source)))))

    __call__ = detect

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
        candidates = self._session.run(np.ascontiguousarray(batch))
        if not (np.isfinite(candidates.boxes).all() and np.isfinite(candidates.scores).all()):
            raise ModelError(f"{self.name} answers with NaN or infinity")
        return candidates

    def _detect(self, image: ImageBatch, rule: SizeRule, threshold: float, nms: float, nms_min_area: bool) -> Faces:
        height, width = image.shape[:2]
        first = rule.target(width, height)
        faces = self._look(image, first, threshold)
        if second := rule.second_target(width, height):
            large = self._look(image, second, threshold)
            sides = np.sqrt(large.widths * large.heights) * (max(first) / max(width, height))
            faces = Faces.concatenate([faces, large[sides >= OVERVIEW_FACE]])
        return geometry.nms_faces(faces, nms, min_area=nms_min_area)

    def _look(self, image: ImageBatch, size: tuple[int, int], threshold: float) -> Faces:
        """Candidates of at least ``threshold`` when ``image`` is seen at ``size``, in pixels of ``image``."""
        candidates = self.raw(resized(image, size)[None])
        scores = candidates.scores[0]
        kept = (scores >= threshold) & (scores > 0)  # unused rows have a score of 0
        faces = Faces(candidates.boxes[0][kept], scores[kept], candidates.landmarks[0][kept])
        return faces.mapped((image.shape[1] / size[0], image.shape[0] / size[1]))


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
