"""Zero-cost scores of untrained torch networks: synflow, NASWOT, Zen-score. Baselines beside DDSAR.

Each takes a ``torch.nn.Module`` and an input shape (C, H, W) and leaves the module as it was. The same seed
gives the same score. Torch is imported when a score is computed.
"""

import copy
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from facesmith.detectors.damofd.config import Backbone
from facesmith.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, int, int]


class ZeroCost(Protocol):
    """What the scores of this module are."""

    def __call__(self, model: "nn.Module", shape: Shape, *, seed: int = 0) -> float:
        """The score; higher is better."""


@dataclass(frozen=True)
class BackboneScore:
    """A zero-cost score as a callable on backbones, as searches take it.

    Attributes:
        measure: :func:`synflow`, :func:`naswot` or :func:`zen_score`.
        build: makes the network of a backbone; its random weights follow ``seed`` too.
        shape: channels, height and width of the input.
        seed: of weights and inputs.
    """

    measure: ZeroCost
    build: Callable[[Backbone], "nn.Module"]
    shape: Shape = (3, 224, 224)
    seed: int = 0

    def __call__(self, backbone: Backbone) -> float:
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            model = self.build(backbone)
        return self.measure(model, self.shape, seed=self.seed)


def synflow(model: "nn.Module", shape: Shape, *, seed: int = 0) -> float:
    """Synaptic flow (Tanaka et al. 2020; as a score: Abdelfattah et al. 2021): Σ |θ · ∂R/∂θ| over the weights
    of convolutions and linear layers, where R is the sum of the outputs for an input of ones and all weights
    are replaced by their magnitudes.

    Batch normalisation is switched off (running mean 0, variance 1, scale 1, shift 0), or it would cut the
    flow; biases are 0. Then every layer of a chain carries the same flow, R. There is nothing random here;
    ``seed`` only keeps the scores alike.
    """
    import torch
    from torch import nn

    model = copy.deepcopy(model).double().eval()
    weights = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.abs_()
                weights.append(module.weight)
            _neutralise(module)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if not weights:
        raise ConfigError("synflow needs a convolution or linear layer, and the network has none")
    output = _last(model(torch.ones(1, *shape, dtype=torch.float64)))
    gradients = torch.autograd.grad(output.sum(), weights, allow_unused=True, materialize_grads=True)
    flows = [(w.detach() * g).abs().sum() for w, g in zip(weights, gradients, strict=True)]
    return float(torch.stack(flows).sum())


def naswot(model: "nn.Module", shape: Shape, *, seed: int = 0, batch: int = 16) -> float:
    """NASWOT (Mellor et al. 2021): ln |det K|, where K_ij is the number of ReLUs that inputs i and j of a
    random batch switch alike. The more differently the ReLUs answer different inputs, the higher.

    Counts ``nn.ReLU`` and ``nn.ReLU6`` modules; calls of ``torch.relu`` are not seen. −inf where two inputs
    cannot be told apart.

    Raises:
        ConfigError: the network has no ReLU module.
    """
    import torch
    from torch import nn

    model = copy.deepcopy(model).train()
    kernel = torch.zeros(batch, batch, dtype=torch.float64)
    seen = 0

    def count(module: "nn.Module", inputs: tuple["Tensor", ...], output: "Tensor") -> None:
        nonlocal seen
        on = (output.detach() > 0).reshape(batch, -1).double()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)
        seen += on.shape[1]

    with ExitStack() as hooks, torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6):
                hooks.enter_context(_removing(module.register_forward_hook(count)))
        model(torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed)))
    if not seen:
        raise ConfigError("NASWOT needs nn.ReLU modules, and the network has none")
    sign, logarithm = torch.linalg.slogdet(kernel)
    return float(logarithm) if sign > 0 else -math.inf


def zen_score(
    model: "nn.Module",
    shape: Shape,
    *,
    seed: int = 0,
    batch: int = 16,
    repeats: int = 4,
    perturbation: float = 0.01,
    std: float = 1.0,
) -> float:
    """Zen-score (Lin et al. 2021, Algorithm 1): ln E‖f(x) − f(x + ε·noise)‖ + Σ ln σ̄, with Gaussian weights
    and inputs, and for each batch normalisation σ̄ = √(mean over channels of its input's batch variance),
    which puts back the scale that the normalisation takes out.

    So the score is about that of the network without normalisation, but without overflow: with weights
    ``std`` times as large it rises by ln ``std`` for every convolution in a row, normalised or not. The
    authors score networks without shortcuts; leave them out of ``model`` for their figures.

    Args:
        batch, repeats: inputs a repeat, and repeats with new weights to average over.
        perturbation: ε.
        std: standard deviation of the weights.
    """
    import torch
    from torch import nn

    model = copy.deepcopy(model).double().train()
    random = torch.Generator().manual_seed(seed)
    scales: list[Tensor] = []

    def collect(module: "nn.Module", inputs: tuple["Tensor", ...]) -> None:
        scales.append(inputs[0].detach().var(dim=(0, 2, 3), unbiased=False).mean().sqrt().log())

    scores = []
    with ExitStack() as hooks, torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                hooks.enter_context(_removing(module.register_forward_pre_hook(collect)))
        for _ in range(repeats):
            for module in model.modules():
                _neutralise(module)
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.weight.copy_(torch.randn(module.weight.shape, generator=random).double() * std)
            inputs = torch.randn(batch, *shape, generator=random).double()
            noise = torch.randn(batch, *shape, generator=random).double()
            scales.clear()
            features = _last(model(inputs))
            log_scales = float(sum(scales))
            difference = features - _last(model(inputs + perturbation * noise))
            scores.append(math.log(float(difference.flatten(1).norm(dim=1).mean())) + log_scales)
    return sum(scores) / repeats


def _neutralise(module: "nn.Module") -> None:
    """Biases 0; normalisation with scale 1, shift 0, fresh running statistics and next to no ε."""
    from torch import nn

    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        module.eps = 1e-12  # torch refuses 0
    if isinstance(module, nn.BatchNorm2d | nn.GroupNorm) and module.affine:
        nn.init.ones_(module.weight)
    bias = getattr(module, "bias", None)
    if bias is not None and isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.GroupNorm):
        nn.init.zeros_(bias)


class _removing:
    """A hook's handle as a context."""

    def __init__(self, handle: "object") -> None:
        self.handle = handle

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        self.handle.remove()  # type: ignore[attr-defined]


def _last(output: object) -> "Tensor":
    """A network's output, or the last of several."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, list | tuple) and output:
        return _last(output[-1])
    raise ConfigError(f"a zero-cost score needs a tensor, or a sequence of tensors, not {type(output).__name__}")
