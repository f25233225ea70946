"""The one convolution unit that every part is built from."""

from torch import Tensor, nn


class ConvUnit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU (left out with ``activate=False``).

    The padding keeps ``ceil(side / stride)``, so any image side works. The common RetinaFace port uses
    LeakyReLU(0.1) in its light network; ReLU costs less at run time and in eight bits, and is used here.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out)
        self.activation = nn.ReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.activation(self.norm(self.convolution(x)))
        return out


class DepthwiseSeparable(nn.Sequential):
    """3×3 depthwise unit, then a 1×1 unit (MobileNet, Howard et al. 2017)."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__(
            ConvUnit(channels_in, channels_in, stride=stride, groups=channels_in),
            ConvUnit(channels_in, channels_out, kernel=1),
        )
