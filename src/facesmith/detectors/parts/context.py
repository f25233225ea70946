"""Context module of SSH (Najibi et al. 2017), as RetinaFace uses it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from facesmith.detectors.parts.convolution import ConvUnit


class SSHContext(nn.Module):
    """Receptive fields of 3, 5 and 7: half, a quarter and a quarter of the channels, concatenated, ReLU.

    ``unit`` makes the 3×3 layers: ``ConvUnit``, or ``DeformableUnit`` with the same arguments.
    """

    def __init__(self, channels_in: int, channels: int, *, unit: Callable[..., nn.Module] = ConvUnit) -> None:
        super().__init__()
        quarter = channels // 4
        self.field3 = unit(channels_in, channels - 2 * quarter, activate=False)
        self.shared = unit(channels_in, quarter)
        self.field5 = unit(quarter, quarter, activate=False)
        self.field7 = nn.Sequential(unit(quarter, quarter), unit(quarter, quarter, activate=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels, H, W)."""
        shared = self.shared(x)
        return torch.relu(torch.cat((self.field3(x), self.field5(shared), self.field7(shared)), dim=1))
