"""The linear half of the mesh auto-encoder: faces -> 128 whitened principal components of shape and colour.

CoMA and Zhou et al. train an encoder of graph convolutions beside the decoder. It is thrown away afterwards, costs
half of the training, and its codes follow no known distribution. Principal components of faces from a linear model
are as good an encoder, need no training, and have mean 0 and variance 1, which is the prior that a detector's branch
wants. They are also the baseline: ``decode`` is what a linear decoder makes of the same 128 numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facesmith.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Codes:
    """Whitened principal components.

    Attributes:
        mean: (n, 6) average face.
        deviation: (6,) root mean square distance from it, one number for x, y, z and one for r, g, b.
        weights: (6,) importance of a channel's errors, in units of ``deviation``.
        basis: (k, 6·n) orthonormal rows.
        spread: (k,) standard deviation along each.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    basis: Tensor
    spread: Tensor

    @classmethod
    def fit(cls, faces: Tensor, components: int, shape_weight: float) -> "Codes":
        """From (N, n, 6) faces.

        Raises:
            ConfigError: there are too few faces for so many components.
        """
        if len(faces) <= components:
            raise ConfigError(f"{components} principal components need more than {len(faces)} faces")
        mean = faces.mean(dim=0)
        away = (faces - mean).reshape(*faces.shape[:2], 2, 3)
        deviation = away.square().mean(dim=(0, 1, 3)).sqrt().repeat_interleave(3)
        weights = faces.new_tensor([shape_weight] * 3 + [1.0] * 3)
        rows = (away.flatten(2) / deviation * weights).flatten(1)
        values, vectors = torch.linalg.eigh(rows.double() @ rows.double().T)
        values, vectors = values[-components:].flip(0), vectors[:, -components:].flip(1)
        basis = (vectors.T @ rows.double()) / values.sqrt()[:, None]
        return cls(mean, deviation, weights, basis.float(), (values / len(faces)).sqrt().float())

    def to(self, device: torch.device) -> "Codes":
        """The same on another device."""
        return Codes(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def encode(self, faces: Tensor) -> Tensor:
        """(B, n, 6) -> (B, k) codes of about unit variance."""
        rows = ((faces - self.mean) / self.deviation * self.weights).flatten(1)
        return rows @ self.basis.T / self.spread

    def decode(self, codes: Tensor) -> Tensor:
        """(B, k) -> (B, n, 6), linearly: the best that any linear decoder does."""
        rows = (codes * self.spread @ self.basis).reshape(len(codes), *self.mean.shape)
        return rows / self.weights * self.deviation + self.mean
