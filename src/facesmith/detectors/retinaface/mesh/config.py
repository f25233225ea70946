"""Sizes of the mesh and its decoder, and how the branch is trained; without torch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facesmith.errors import ConfigError

if TYPE_CHECKING:
    from facesmith.detectors.retinaface.mesh.topology import Topology


@dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh and its decoder.

    Attributes:
        latent: shape and texture parameters a face, P_ST.
        filters: channels of the convolutions, finest level first; there are as many poolings.
        order: polynomials a convolution, K.
        coarsest: rings of the coarsest hexagon; 2 rings and 4 poolings make 3,169 vertices (``Topology.build``).

    Raises:
        ConfigError: a number is not positive.
    """

    latent: int = 128
    filters: tuple[int, ...] = (24, 32, 64, 128)
    order: int = 4
    coarsest: int = 2

    def __post_init__(self) -> None:
        if not self.filters or min(self.latent, self.order, self.coarsest, *self.filters) < 1:
            raise ConfigError(f"a mesh decoder needs positive sizes and at least one level, not {self}")

    @property
    def topology(self) -> "Topology":
        """The mesh with its hierarchy."""
        from facesmith.detectors.retinaface.mesh.topology import Topology

        return Topology.build(self.coarsest, len(self.filters))


@dataclass(frozen=True)
class MeshBranchConfig:
    """The mesh branch of a detector and its loss.

    Attributes:
        decoder: sizes of the frozen, pre-trained decoder.
        alone: whether training changes the branch only and keeps the rest of the detector, batch-norm statistics
            included, as it is.
        pixel: λ₃, weight of the dense regression loss (Eq. 3).
        landmark: weight of the L1 distance between the mesh's five landmarks and the labelled ones, in shares of the
            labelled box's longer side. The paper has no such term; without it a mesh must find its place by its
            colours alone.
        prior: weight of the mean square of P_ST, which keeps faces plausible. Not in the paper either.
        pixels_alone: whether the two terms that are not the paper's reach the branch's head only. The rest of the
            detector then learns from the dense regression loss alone, as in the paper, while landmarks still hold the
            meshes in their place.
        faces: positive anchors of a batch that are drawn, at most (of each process); drawing all is slow.
        smallest: longer side, in pixels of the network's input, of the smallest labelled face that is drawn.
        crop: side in pixels to which the crop of an anchor is scaled for Eq. 3.

    Raises:
        ConfigError: a number is out of range.
    """

    decoder: MeshConfig = field(default_factory=MeshConfig)
    alone: bool = False
    pixel: float = 0.01
    landmark: float = 0.1
    prior: float = 1e-4
    pixels_alone: bool = False
    faces: int = 32
    smallest: float = 32.0
    crop: int = 48

    def __post_init__(self) -> None:
        if min(self.pixel, self.landmark, self.prior, self.smallest) < 0 or min(self.faces, self.crop) < 1:
            raise ConfigError(f"a mesh branch needs weights of at least 0, faces and crop of at least 1: {self}")
