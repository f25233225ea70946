"""Exponential moving average of a model's weights: what is evaluated and shipped."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class EMA(Generic[Model]):
    """A copy of a model whose floating tensors follow the original's; the rest is copied."""

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Move towards ``model`` after ``step`` (from 0); early steps move faster, to forget the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for average, value in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)


def _tensors(model: nn.Module) -> list[Tensor]:
    """All weights and saved buffers, those that several modules share once."""
    return list({id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}.values())
