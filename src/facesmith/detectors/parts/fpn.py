"""Feature pyramid network (Lin et al. 2017) as RetinaFace's official code builds it (facts/retinaface)."""

from collections.abc import Sequence

from torch import Tensor, nn

from facesmith.detectors.parts.convolution import ConvUnit


class FPN(nn.Module):
    """1×1 laterals, nearest ×2, sum, 3×3 merge on all but the top level; all with BN and ReLU."""

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(ConvUnit(c, channels, kernel=1) for c in channels_in)
        self.merges = nn.ModuleList(ConvUnit(channels, channels) for _ in channels_in[:-1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps, finest first -> maps of the same sizes with ``channels`` channels."""
        levels: list[Tensor] = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = self.merges[i](levels[i] + upsample_like(levels[i + 1], levels[i]))
        return levels


def upsample_like(coarse: Tensor, fine: Tensor) -> Tensor:
    """Nearest ×2, cut to the size of ``fine``.

    A fine side is 2n or 2n - 1 for a coarse side n (strided convolutions round up), so doubling and cutting
    is exact for every image size; resizing to a size would round differently in different runtimes.
    """
    doubled = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return doubled[:, :, : fine.shape[2], : fine.shape[3]]
