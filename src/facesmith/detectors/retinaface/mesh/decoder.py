"""The joint shape and texture decoder: 128 numbers -> n vertices of x, y, z, r, g, b.

RetinaFace's (section 3.2; Zhou et al. 2019, built as CoMA, Ranjan et al. 2018): fully connected -> (un-pool, Chebyshev
convolution, non-linearity) a level -> a last, linear convolution to 6 channels. Zhou et al. leave the sizes open.
CoMA's (16, 16, 16, 32 filters, ReLU) were tried first and lost detail at the coarse levels, which are cheap: here
filters grow as the mesh shrinks, and the non-linearity is ELU.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.detectors.retinaface.mesh.chebyshev import ChebyshevConv, SparseProduct
from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.template import template_vertices
from facesmith.detectors.retinaface.mesh.topology import Topology

CHANNELS = 6
"""x, y, z in units of 10 cm (x right, y up, z towards the viewer), r, g, b of the skin in 0...1."""


class MeshDecoder(nn.Module):
    """128 parameters -> coloured mesh.

    What the network gives is relative to ``mean`` and in units of ``deviation``, so that untrained weights, and
    parameters of 0 with trained ones, give a plausible face. Both travel with the weights.

    Attributes:
        mean: (n, 6) average face; our template in a skin tone until :meth:`set_statistics`.
        deviation: (6,) spread of the data around it.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: MeshConfig | None = None) -> None:
        super().__init__()
        self.config = config or MeshConfig()
        topology, filters, order = self.config.topology, self.config.filters, self.config.order
        self.coarse = len(topology.levels[-1]), filters[-1]
        self.linear = nn.Linear(self.config.latent, self.coarse[0] * self.coarse[1])
        self.ups, self.convs = nn.ModuleList(), nn.ModuleList()
        widths = [*filters, filters[-1]]
        for pooling in reversed(range(len(filters))):  # coarse to fine
            laplacian = SparseProduct(topology.levels[pooling].scaled_laplacian)
            self.ups.append(SparseProduct(topology.up(pooling)))
            self.convs.append(ChebyshevConv(laplacian, widths[pooling + 1], widths[pooling], order))
        self.last = ChebyshevConv(laplacian, filters[0], CHANNELS, order)
        self.register_buffer("mean", _average_face(topology))
        self.register_buffer("deviation", torch.ones(CHANNELS))

    def set_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Take over (n, 6) mean and (6,) deviation of the training faces."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, parameters: Tensor) -> Tensor:
        """(B, 128) P_ST -> (B, n, 6): x, y, z, r, g, b."""
        x = self.linear(parameters).reshape(-1, *self.coarse).transpose(0, 1)  # (n, B, C) from here on
        for up, conv in zip(self.ups, self.convs, strict=True):
            x = F.elu(conv(up(x)))
        faces: Tensor = self.last(x).transpose(0, 1) * self.deviation + self.mean
        return faces


def _average_face(topology: Topology) -> Tensor:
    vertices = torch.from_numpy(template_vertices(topology.finest)).float()
    return torch.cat([vertices, torch.tensor([0.72, 0.55, 0.46]).expand(len(vertices), 3)], dim=1)
