"""The one idea: every detector is the same three functions, every exported file has the same signature."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from facesmith.detectors.types import Targets


class DetectorNetwork(nn.Module, ABC):
    """A trainable detector. ``forward`` gives raw maps (a named tuple of its own), which ``loss`` and
    ``decode`` take.

    Attributes:
        config: the frozen dataclass that it was built from.
        usual_size: the size rule (``facesmith.runtime.SizeRule.parse`` takes it) that ``auto`` means for this network;
            it travels in the metadata of exported files.
    """

    config: Any
    usual_size: str = "auto"

    @abstractmethod
    def forward(self, images: Tensor) -> Any:
        """(B, 3, H, W) RGB of 0…255, any dtype -> raw maps. Normalisation happens inside."""

    @abstractmethod
    def loss(self, maps: Any, targets: Targets) -> dict[str, Tensor]:
        """The paper's terms, weighted, one scalar a key; their sum is what training lowers."""

    @abstractmethod
    def decode(self, maps: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, K, 4), falling scores (B, K) in [0, 1], landmarks (B, K, 5, 2), in pixels of the input.

        Plain tensor code without data-dependent Python, so that it is exported inside the graph.
        """

    @property
    def export_outputs(self) -> tuple[str, ...]:
        """Names of what :meth:`export_forward` gives."""
        return ("boxes", "scores", "landmarks")

    def export_forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The signature of every exported file: (B, H, W, 3) uint8 RGB -> what ``decode`` gives."""
        return self.decode(self(images.permute(0, 3, 1, 2)))

    def start_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the weights of a trained network to train on from; every tensor must be there and fit.

        Raises:
            RuntimeError: one is missing, unknown, or has another shape.
        """
        self.load_state_dict(tensors)
