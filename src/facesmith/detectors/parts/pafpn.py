"""Path aggregation feature pyramid (Liu et al. 2018) as SCRFD and DamoFD build it (facts/damofd)."""

from collections.abc import Sequence

from torch import Tensor, nn

from facesmith.detectors.parts.fpn import upsample_like


class PAFPN(nn.Module):
    """Top-down sums, a 3×3 convolution a level, then bottom-up sums; plain convolutions without norm or ReLU."""

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        upper = range(len(channels_in) - 1)
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in channels_in)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in channels_in)
        self.down = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, padding=1) for _ in upper)
        self.aggregate = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in upper)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps, finest first -> maps of the same sizes with ``channels`` channels."""
        levels: list[Tensor] = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + upsample_like(levels[i + 1], levels[i])
        levels = [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]
        for i, down in enumerate(self.down):
            levels[i + 1] = levels[i + 1] + down(levels[i])
        return [levels[0], *(conv(x) for conv, x in zip(self.aggregate, levels[1:], strict=True))]
