"""Optimisers, with no weight decay on biases and normalisation."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay."""

    rate: float = 2e-3
    weight_decay: float = 0.02

    def make(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of ``model``'s trainable parameters."""
        return torch.optim.AdamW(_groups(model, self.weight_decay), lr=self.rate)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, the papers' choice."""

    rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def make(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of ``model``'s trainable parameters."""
        return torch.optim.SGD(_groups(model, self.weight_decay), lr=self.rate, momentum=self.momentum)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
