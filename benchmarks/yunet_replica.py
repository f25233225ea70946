"""A network of YuNet's published structure with random weights, for timing where its weights are not at hand.

Structure: YuNet-n of Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector" (Machine Intelligence
Research 2023): 75,856 parameters. It finds no faces; OpenCV's ``FaceDetectorYN`` loads it like the published
file.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from replica_export import write

PARAMETERS = 75_856
STRIDES = (8, 16, 32)
HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class Unit(nn.Module):
    """1×1 convolution, 3×3 depthwise convolution, both with bias; batch norm and ReLU unless ``plain``."""

    def __init__(self, channels: int, out: int, *, plain: bool = False) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, out, 1)
        self.depth = nn.Conv2d(out, out, 3, padding=1, groups=out)
        self.norm = None if plain else nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(self.point(x))
        return x if self.norm is None else F.relu(self.norm(x))


class YuNetReplica(nn.Module):
    """(1, 3, H, W) BGR of 0…255, H and W multiples of 32 -> cls, obj, bbox, kps at strides 8, 16, 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.stem_norm = nn.BatchNorm2d(16)
        self.stem_unit = Unit(16, 16)
        self.stages = nn.ModuleList(
            nn.Sequential(Unit(c, c), Unit(c, out)) for c, out in ((16, 64), (64, 64), (64, 64), (64, 64), (64, 64))
        )
        self.laterals = nn.ModuleList(Unit(64, 64) for _ in STRIDES)
        self.shared = nn.ModuleList(Unit(64, 64) for _ in STRIDES)
        self.heads = nn.ModuleDict(
            {name: nn.ModuleList(Unit(64, out, plain=True) for _ in STRIDES) for name, out in HEADS.items()}
        )
        for name in ("cls", "obj"):  # hardly any candidates, as on an ordinary photograph
            for head in self.heads[name]:
                nn.init.constant_(head.depth.bias, -4.0)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = F.relu(self.stem_norm(self.stem(x)))
        x = F.max_pool2d(self.stem_unit(x), 2)  # stride 4
        x = self.stages[0](x)
        p8 = self.stages[2](F.max_pool2d(self.stages[1](x), 2))
        p16 = self.stages[3](F.max_pool2d(p8, 2))
        p32 = self.stages[4](F.max_pool2d(p16, 2))
        p32 = self.laterals[2](p32)
        p16 = self.laterals[1](p16 + F.interpolate(p32, scale_factor=2.0))
        p8 = self.laterals[0](p8 + F.interpolate(p16, scale_factor=2.0))
        maps = [shared(p) for shared, p in zip(self.shared, (p8, p16, p32), strict=True)]
        return tuple(self._rows(name, i, maps[i]) for name in HEADS for i in range(len(STRIDES)))

    def _rows(self, name: str, level: int, features: Tensor) -> Tensor:
        rows = self.heads[name][level](features).permute(0, 2, 3, 1).flatten(1, 2)
        return rows.sigmoid() if name in ("cls", "obj") else rows


def export_replica(path: Path, width: int, height: int) -> None:
    """Write the replica for pictures of ``width`` × ``height`` (rounded up to multiples of 32) to ``path``.

    Raises:
        AssertionError: the structure is not the published one.
    """
    torch.manual_seed(0)
    network = YuNetReplica().eval()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == PARAMETERS, f"{count} parameters, the published YuNet has {PARAMETERS}"
    _fuse(network)
    write(network, path, width, height, [f"{name}_{stride}" for name in HEADS for stride in STRIDES])


def _fuse(network: YuNetReplica) -> None:
    """Put the batch norms into the convolutions before them, as in the published file."""
    network.stem = fuse_conv_bn_eval(network.stem, network.stem_norm)
    network.stem_norm = nn.Identity()
    for unit in network.modules():
        if isinstance(unit, Unit) and unit.norm is not None:
            unit.depth = fuse_conv_bn_eval(unit.depth, unit.norm)
            unit.norm = nn.Identity()
