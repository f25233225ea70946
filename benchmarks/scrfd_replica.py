"""A network of SCRFD-500M's published structure with random weights, for timing where its weights are not at hand.

Structure: SCRFD-0.5GF with landmarks of Guo et al., "Sample and Computation Redistribution for Efficient Face
Detection" (ICLR 2022), as its published configuration has it: MobileNet blocks, PAFPN of 16 channels, a head of its own
a level. It finds no faces. Inputs and outputs are laid out like those of the published ONNX files.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replica_export import write

PLANES = (16, 16, 40, 72, 152, 288)
BLOCKS = (2, 3, 2, 6)
NECK, HEAD, ANCHORS = 16, 64, 2
STRIDES = (8, 16, 32)
OUTPUTS = {"score": 1, "bbox": 4, "kps": 10}


def unit(channels: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


def separable(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """3×3 depthwise unit, 1×1 unit."""
    return nn.Sequential(unit(channels, channels, 3, stride, channels), unit(channels, out, 1))


class SCRFDReplica(nn.Module):
    """(1, 3, H, W) normalised, H and W multiples of 32 -> score, bbox, kps at strides 8, 16, 32, rows of anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, PLANES[0], stride=2), separable(PLANES[0], PLANES[1]))
        pairs = zip(PLANES[1:], PLANES[2:], BLOCKS, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(separable(a, b, 2), *(separable(b, b) for _ in range(blocks - 1))) for a, b, blocks in pairs
        )
        self.laterals = nn.ModuleList(nn.Conv2d(planes, NECK, 1) for planes in PLANES[3:])
        self.merges = nn.ModuleList(nn.Conv2d(NECK, NECK, 3, padding=1) for _ in STRIDES)
        self.downs = nn.ModuleList(nn.Conv2d(NECK, NECK, 3, 2, 1) for _ in STRIDES[1:])
        self.outs = nn.ModuleList(nn.Conv2d(NECK, NECK, 3, padding=1) for _ in STRIDES[1:])
        self.towers = nn.ModuleList(nn.Sequential(separable(NECK, HEAD), separable(HEAD, HEAD)) for _ in STRIDES)
        self.heads = nn.ModuleDict(
            {n: nn.ModuleList(nn.Conv2d(HEAD, ANCHORS * k, 3, padding=1) for _ in STRIDES) for n, k in OUTPUTS.items()}
        )
        for head in self.heads["score"]:
            nn.init.constant_(head.bias, -4.6)  # hardly any candidates, as on an ordinary photograph

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        levels = [lateral(m) for lateral, m in zip(self.laterals, maps[1:], strict=True)]
        for i in (1, 0):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], scale_factor=2.0)
        levels = [merge(level) for merge, level in zip(self.merges, levels, strict=True)]
        for i, down in enumerate(self.downs):
            levels[i + 1] = levels[i + 1] + down(levels[i])
        levels[1:] = [out(level) for out, level in zip(self.outs, levels[1:], strict=True)]
        seen = [tower(level) for tower, level in zip(self.towers, levels, strict=True)]
        return tuple(self._rows(name, i, seen[i]) for name in OUTPUTS for i in range(len(STRIDES)))

    def _rows(self, name: str, level: int, features: Tensor) -> Tensor:
        rows = self.heads[name][level](features).permute(0, 2, 3, 1).reshape(-1, OUTPUTS[name])
        return rows.sigmoid() if name == "score" else rows


def export_replica(path: Path, width: int, height: int) -> int:
    """Write the replica for pictures of ``width`` × ``height`` (rounded up to multiples of 32); its parameters."""
    torch.manual_seed(0)
    network = SCRFDReplica().eval()
    write(network, path, width, height, [f"{name}_{stride}" for name in OUTPUTS for stride in STRIDES])
    return sum(parameter.numel() for parameter in network.parameters())
