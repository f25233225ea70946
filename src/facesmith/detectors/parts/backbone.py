"""What every backbone is: maps with known channels and strides, and a start from ImageNet weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from facesmith.errors import ModelError

CLASSIFIERS = ("fc.", "classifier.")
"""Beginnings of the names of an ImageNet network's last layer, which a backbone does not have."""


_OWN = "backbone."
"""Beginning of the names of the backbone's tensors in a detector of ours."""


class Tap(NamedTuple):
    """One feature map that a backbone hands on: that is all a neck has to know of it."""

    channels: int
    stride: int


class Backbone(nn.Module, ABC):
    """Images to one map a tap, finest first.

    Attributes:
        taps: channels and stride of each map.
        first_layers: the layers that pretrained weights fix.
    """

    taps: tuple[Tap, ...]
    first_layers: Sequence[nn.Module] = ()
    _frozen = False

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float -> [(B, C, ceil(H / s), ceil(W / s)) for (C, s) in taps]."""

    def load_pretrained(self, path: Path) -> None:
        """Start from a local state dict of the same names and shapes; its classifier is left out.

        Of a facesmith detector's file its backbone is taken.

        ``first_layers`` stay as they are from then on: no gradients, and their normalisation uses the stored
        statistics in training too.

        Raises:
            ModelError: not a state dict, or its tensors are not this backbone's.
        """
        tensors = read_state_dict(path)
        own = {name.removeprefix(_OWN): value for name, value in tensors.items() if name.startswith(_OWN)}
        _fill(self, own or tensors, path)
        self._frozen = True
        for layer in self.first_layers:
            layer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; frozen layers stay in evaluation."""
        super().train(mode)
        if self._frozen:
            for layer in self.first_layers:
                layer.eval()
        return self


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a ``.safetensors`` file, or of a ``.pth`` file that torch loads with ``weights_only``.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle makes of itself
        raise ModelError(f"{path}: is not a readable state dict (.safetensors or .pth): {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        there = (
            f"a dictionary of {_listed([str(key) for key in state])}"
            if isinstance(state, dict)
            else type(state).__name__
        )
        raise ModelError(f"{path}: holds {there}; expected a state dict, that is names and tensors")
    return state


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy ``tensors`` into ``module``; all names and shapes must be right before anything is copied."""
    wanted = module.state_dict()
    given = {name: value for name, value in tensors.items() if not name.startswith(CLASSIFIERS)}
    # A counter that only newer versions of torch write; no result depends on it.
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    problems = [
        f"missing {_listed(missing)}" if missing else "",
        f"unexpected {_listed(unexpected)}" if (unexpected := [name for name in given if name not in wanted]) else "",
        *(
            f"{name} has shape {tuple(given[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in given and given[name].shape != value.shape
        ),
    ]
    if any(problems):
        found = [problem for problem in problems if problem]
        raise ModelError(
            f"{path}: is not a state dict of this {type(module).__name__}: "
            + "; ".join(found[:4])
            + (f"; and {len(found) - 4} more" if len(found) > 4 else "")
        )
    module.load_state_dict({**wanted, **given})


def _listed(names: Sequence[str], most: int = 4) -> str:
    """The first few of many names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
