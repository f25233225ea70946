"""``Detector``: a picture in, its faces out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from facesmith import geometry, images
from facesmith.errors import ConfigError, ImageError, ModelError
from facesmith.faces import Faces
from facesmith.runtime.meshes import MeshRows, MeshSession
from facesmith.runtime.ordered import ordered_map
from facesmith.runtime.session import Candidates, ImageBatch, Session
from facesmith.runtime.size import AUTO, SizeRule
from facesmith.runtime.views import Reach, View, batches, mapped_meshes, parts, seen_better_turned

EVERYDAY_THRESHOLD = 0.5
"""Lowest score of a face in everyday use."""

EVALUATION_THRESHOLD = 0.02
"""Lowest score of a face where precision-recall curves are drawn (facts/retinaface)."""

_TILES_AT_ONCE = 8  # on a GPU; CPUs are faster with one


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
        tiles: int | None = None,
        rotations: Sequence[int] = (),
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
        tiles: int | None = None,
        rotations: Sequence[int] = (),
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
        tiles: int | None = None,
        rotations: Sequence[int] = (),
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
            tiles: for pictures that ``size`` shrinks: see them in overlapping tiles of at most this side at full
                resolution as well, for small faces. Time grows with the picture, memory does not.
            rotations: degrees out of 90, -90 and 180: see everything turned by them (counter-clockwise) as well, for
                heads that lie on their side or hang down. Landmarks stay with their points of the face, so that the
                left eye is that which is left once the head is upright. Each costs as much as the upright look.

        Raises:
            ImageError: a picture cannot be read; for a list the message says which.
            ConfigError: ``size``, ``threshold``, ``nms``, ``tiles`` or ``rotations`` is out of range, or the model has
                no meshes to give.
        """
        reach = Reach(self.size_rule(size), tiles, tuple(rotations))
        if meshes and self._meshes is None:
            raise ConfigError(
                f"{self.name} has no mesh branch, so it gives no meshes; `facesmith models` says which do"
            )
        for name, value in (("threshold", threshold), ("nms", nms)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, not {value}")
        if not isinstance(source, list | tuple):
            return self._detect(images.read(source), reach, threshold, nms, nms_min_area, meshes)

        def work(numbered: "tuple[int, images.Source]") -> Faces:
            index, one = numbered
            try:
                return self._detect(images.read(one), reach, threshold, nms, nms_min_area, meshes)
            except ImageError as error:
                raise ImageError(f"picture {index} of the list: {error}") from error

        return list(ordered_map(work, enumerate(source), workers=min(self.threads, max(1, len(source)))))

    __call__ = detect

    @property
    def sessions(self) -> tuple[Session, MeshSession | None]:
        """The network and its mesh branch, for those who make another ``Detector`` around them."""
        return self._session, self._meshes

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
        self, image: ImageBatch, reach: Reach, threshold: float, nms: float, nms_min_area: bool, meshes: bool
    ) -> Faces:
        height, width = image.shape[:2]
        views = reach.views(width, height)
        at_once = _TILES_AT_ONCE if self.device.startswith("cuda") else 1
        looks = [look for some in batches(views, at_once) for look in self._looks(image, some, threshold, meshes)]
        found = _Look.concatenate(looks)
        if nms < 1 and len(views) > 1:
            found = found.at(~parts(found.faces, found.view, views))
        kept = found.at(geometry.nms(found.faces.boxes, found.faces.scores, nms, min_area=nms_min_area))
        if nms < 1 and len(views) > 1:
            kept = kept.at(~seen_better_turned(kept.faces, kept.view, views))
        if self._meshes is None or kept.rows is None:
            return kept.faces
        return replace(kept.faces, meshes=mapped_meshes(self._meshes.decode(*kept.rows), kept.view, views))

    def _looks(
        self, image: ImageBatch, views: Sequence[tuple[int, View]], threshold: float, meshes: bool
    ) -> "Iterator[_Look]":
        """What numbered ``views`` of one size find of at least ``threshold``, in pixels of ``image``."""
        batch, rows = np.stack([view.look(image) for _, view in views]), None
        if meshes and self._meshes is not None:
            candidates, rows = self._meshes.run(batch)
            candidates = self._checked(candidates)
        else:
            candidates = self.raw(batch)
        for i, (number, view) in enumerate(views):
            scores = candidates.scores[i]
            passed = np.flatnonzero((scores >= threshold) & (scores > 0))  # unused rows have a score of 0
            seen = Faces(candidates.boxes[i][passed], scores[passed], candidates.landmarks[i][passed])
            faces = view.mapped(seen)
            look = _Look(
                faces,
                None if rows is None else MeshRows(*(column[i][passed] for column in rows)),
                np.full(len(faces), number),
            )
            yield look.at(view.counted(faces))


class _Look(NamedTuple):
    """n faces in pixels of the picture.

    Attributes:
        faces: without meshes.
        rows: (n, 144) and (n, 4) what their meshes are made of, in pixels of the network's input.
        view: (n,) numbers of the views that found them.
    """

    faces: Faces
    rows: MeshRows | None
    view: npt.NDArray[np.int64]

    def at(self, index: npt.NDArray[Any]) -> "_Look":
        rows = None if self.rows is None else MeshRows(*(column[index] for column in self.rows))
        return _Look(self.faces[index], rows, self.view[index])

    @classmethod
    def concatenate(cls, looks: Sequence["_Look"]) -> "_Look":
        rows = None
        if looks[0].rows is not None:
            rows = MeshRows(*map(np.concatenate, zip(*(look.rows for look in looks if look.rows), strict=True)))
        faces = Faces.concatenate([look.faces for look in looks])
        return cls(faces, rows, np.concatenate([look.view for look in looks]))
