"""A network at the start of its training: random weights, but for the parts that were trained before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.parts.backbone import Backbone
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.mesh.branch import MeshBranch
from facesmith.detectors.retinaface.mesh.pretrained import SHIPPED_DECODER
from facesmith.detectors.weights import build
from facesmith.errors import ConfigError


@dataclass(frozen=True)
class Start:
    """Files of the parts that do not start at random.

    Attributes:
        backbone: weights of the backbone, see :meth:`Backbone.load_pretrained`; ``None``: random ones.
        decoder: mesh decoder of a RetinaFace with a mesh branch; ``None``: the shipped one.
    """

    backbone: Path | None = None
    decoder: Path | None = None

    def network(self, config: Any) -> DetectorNetwork:
        """The network of ``config``, of any of ``facesmith.detectors.weights.DETECTORS``, to be trained.

        Raises:
            ConfigError: a file is given for a part that this network does not have, or the decoder has other sizes.
            ModelError: a file is not what it should be.
        """
        model = build(config)
        if self.backbone:
            backbone = getattr(model, "backbone", None)
            if not isinstance(backbone, Backbone):
                raise ConfigError(
                    f"--pretrained is for ResNet and MobileNet backbones; {type(model).__name__} has another here"
                )
            backbone.load_pretrained(self.backbone)
        branch = getattr(model, "mesh", None)
        if isinstance(branch, MeshBranch):
            branch.load_decoder(self.decoder or SHIPPED_DECODER)
        elif self.decoder:
            raise ConfigError(f"--decoder is for a RetinaFace with a mesh branch; this {type(model).__name__} has none")
        return model

    def files(self, config: Any) -> tuple[Path, ...]:
        """The files that the weights of ``config``'s network start from."""
        meshed = isinstance(config, RetinaFaceConfig) and config.mesh is not None
        return tuple(
            path for path in (self.backbone, (self.decoder or SHIPPED_DECODER) if meshed else None) if path is not None
        )
