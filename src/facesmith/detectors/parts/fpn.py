"""Feature pyramid network (Lin et al. 2017) as RetinaFace's official code builds it (facts/retinaface)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from facesmith.detectors.parts.convolution import ConvUnit


class FPN(nn.Module):
    """1×1 laterals, nearest ×2, sum, 3×3 merge on all but the top level; all with BN and ReLU.

    Each of the ``extra`` levels above halves the one below by a 3×3 convolution, the first of them the backbone's last
    map (P6 from C5 in RetinaFace's paper, section 4.2); nothing flows down from them. ``unit`` makes the 3×3 merges:
    ``ConvUnit``, or ``DeformableUnit`` with the same arguments.
    """

    def __init__(
        self,
        channels_in: Sequence[int],
        channels: int,
        *,
        extra: int = 0,
        unit: Callable[..., nn.Module] = ConvUnit,
    ) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(ConvUnit(c, channels, kernel=1) for c in channels_in)
        self.merges = nn.ModuleList(unit(channels, channels) for _ in channels_in[:-1])
        self.extra = nn.ModuleList(
            ConvUnit(c, channels, stride=2) for c in [channels_in[-1], *[channels] * extra][:extra]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps, finest first -> maps of the same sizes, and the extra ones, with ``channels`` channels."""
        levels: list[Tensor] = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = self.merges[i](levels[i] + upsample_like(levels[i + 1], levels[i]))
        top = maps[-1]
        for halve in self.extra:
            top = halve(top)
            levels.append(top)
        return levels


def upsample_like(coarse: Tensor, fine: Tensor) -> Tensor:
    """Nearest ×2, cut to the size of ``fine``.

    A fine side is 2n or 2n - 1 for a coarse side n (strided convolutions round up), so doubling and cutting
    is exact for every image size; resizing to a size would round differently in different runtimes.
    """
    doubled = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return doubled[:, :, : fine.shape[2], : fine.shape[3]]
