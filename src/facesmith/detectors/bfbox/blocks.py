"""The blocks of Figure 2 as modules."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.bfbox.architecture import Block, Dense, Depthwise, Plain
from facesmith.detectors.parts.convolution import ConvUnit


def make_block(block: Block, channels_in: int, channels_out: int, *, squeeze: int, stride: int) -> nn.Module:
    """(B, channels_in, H, W) -> (B, channels_out, ceil(H / stride), ceil(W / stride))."""
    match block:
        case Plain(kernel):
            inner = channels_out // squeeze
            spatial: list[nn.Module] = [ConvUnit(inner, inner, kernel=kernel, stride=stride)]
            return Bottleneck(channels_in, inner, channels_out, spatial, stride)
        case Depthwise(kernels):
            inner = channels_out // squeeze
            strides = (stride, *[1] * (len(kernels) - 1))
            spatial = [
                ConvUnit(inner, inner, kernel=k, stride=s, groups=inner) for k, s in zip(kernels, strides, strict=True)
            ]
            return Bottleneck(channels_in, inner, channels_out, spatial, stride)
        case Dense(layers, growth):
            return DenseLayers(channels_in, channels_out, layers, growth, stride)


class Bottleneck(nn.Module):
    """1×1, the ``spatial`` units, 1×1, shortcut (1×1 where the shape changes), ReLU. It starts as its shortcut."""

    def __init__(self, channels_in: int, inner: int, channels_out: int, spatial: list[nn.Module], stride: int) -> None:
        super().__init__()
        last = ConvUnit(inner, channels_out, kernel=1, activate=False)
        nn.init.zeros_(last.norm.weight)
        self.branch = nn.Sequential(ConvUnit(channels_in, inner, kernel=1), *spatial, last)
        same = channels_in == channels_out and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else ConvUnit(channels_in, channels_out, kernel=1, stride=stride, activate=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See :func:`make_block`."""
        return torch.relu(self.shortcut(x) + self.branch(x))


def share_shortcut(blocks: Iterable[nn.Module]) -> None:
    """Give all bottlenecks among ``blocks``, of one shape, the shortcut of the first."""
    bottlenecks = [block for block in blocks if isinstance(block, Bottleneck)]
    for block in bottlenecks[1:]:
        block.shortcut = bottlenecks[0].shortcut


class DenseLayers(nn.Module):
    """Layers of 1×1 to four times ``growth`` and 3×3 to ``growth`` channels, each on all maps before it (Huang et al.
    2017, DenseNet-B); then 1×1 to ``channels_out``. A stride is an average pooling before."""

    def __init__(self, channels_in: int, channels_out: int, layers: int, growth: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.layers = nn.ModuleList(
            nn.Sequential(ConvUnit(channels_in + i * growth, 4 * growth, kernel=1), ConvUnit(4 * growth, growth))
            for i in range(layers)
        )
        self.join = ConvUnit(channels_in + layers * growth, channels_out, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """See :func:`make_block`."""
        if self.stride > 1:
            x = F.avg_pool2d(x, 3, self.stride, padding=1, count_include_pad=False)
        for layer in self.layers:
            x = torch.cat((x, layer(x)), dim=1)
        joined: Tensor = self.join(x)
        return joined
