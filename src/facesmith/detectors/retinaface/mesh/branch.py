"""The mesh branch on a detector: a linear head on the features of anchors, a frozen decoder, and the branch's loss.

Parameters are predicted for the anchors that need them only: some positives in training, the best candidates in use.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facesmith.detectors.parts.losses import process_count, total_over_processes
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.loss import crop, pixel_loss
from facesmith.detectors.retinaface.mesh.outputs import (
    DenseOutput,
    five_landmarks,
    parameter_count,
    split_parameters,
    to_image,
)
from facesmith.detectors.retinaface.mesh.pretrained import load_decoder
from facesmith.detectors.retinaface.mesh.renderer import Renderer
from facesmith.errors import ConfigError


class MeshMaps(NamedTuple):
    """What the branch keeps of a forward pass.

    Attributes:
        images: (B, 3, H, W) RGB of 0…255, any dtype: Eq. 3 compares with them.
        features: (B, cells, C) what the other heads see, the cells of all levels in the order of the anchors.
    """

    images: Tensor
    features: Tensor


class Positives(NamedTuple):
    """P matched anchors.

    Attributes:
        image: (P,) number of the picture.
        anchor: (P,) number of the anchor.
        anchors: (P, 4) their boxes.
        boxes: (P, 4) labelled boxes of their faces.
        landmarks: (P, 5, 2) labelled landmarks; NaN where there are none.
    """

    image: Tensor
    anchor: Tensor
    anchors: Tensor
    boxes: Tensor
    landmarks: Tensor


class MeshBranch(nn.Module):
    """Features -> 128 + 7 + 9 parameters an anchor, relative to the anchor's square -> meshes.

    The head starts at zero: average faces from the front that fill their anchors.

    Args:
        channels: of the features.
        per_cell: anchors a cell.
        config: sizes and weights.
    """

    def __init__(self, channels: int, per_cell: int, config: MeshBranchConfig) -> None:
        super().__init__()
        self.config, self.per_cell = config, per_cell
        self.head = nn.Linear(channels, per_cell * parameter_count(config.decoder.latent))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.dense = DenseOutput(MeshDecoder(config.decoder).requires_grad_(False))
        self.renderer = Renderer(config.decoder.topology.finest)

    def load_decoder(self, path: Path) -> None:
        """Take over a pre-trained decoder that ``facesmith.training.mesh_autoencoder`` wrote.

        Raises:
            ModelError: the file is not a mesh decoder's.
            ConfigError: it has other sizes than this branch.
        """
        decoder, _ = load_decoder(path)
        if decoder.config != self.config.decoder:
            raise ConfigError(f"{path}: is a decoder of {decoder.config}; the network needs {self.config.decoder}")
        self.dense.decoder.load_state_dict(decoder.state_dict())

    def forward(self, features: Tensor, anchor: Tensor) -> Tensor:
        """(B, cells, C) features and (B, K) numbers of anchors -> (B, K, 144)."""
        cell, which = anchor // self.per_cell, anchor % self.per_cell
        rows = features.gather(1, cell[..., None].expand(-1, -1, features.shape[2]))
        predicted = self.head(rows.float()).unflatten(-1, (self.per_cell, -1))
        index = which[..., None, None].expand(-1, -1, 1, predicted.shape[-1])
        chosen: Tensor = predicted.gather(2, index).squeeze(2)
        return chosen

    def loss(self, maps: MeshMaps, positives: Positives) -> dict[str, Tensor]:
        """The weighted terms ``mesh`` (Eq. 3), ``mesh_landmark`` and ``mesh_prior``, means over the drawn faces.

        Which positives are drawn depends on the batch alone: evenly spaced ones of those that are large enough.
        """
        config, chosen = self.config, self._chosen(positives)
        known = chosen.landmarks.isfinite().flatten(1).all(dim=1)
        counts = torch.tensor([len(known), int(known.sum())], device=known.device)
        faces, with_points = (max(total, 1) / process_count() for total in total_over_processes(counts).tolist())
        flat = chosen.image * maps.features.shape[1] * self.per_cell + chosen.anchor
        parameters = self(maps.features.flatten(0, 1)[None], flat[None])[0]
        if len(known) == 0:  # keeps the graph: every process takes part in each step's gradients
            nothing = parameters.sum()
            return {"mesh": nothing, "mesh_landmark": nothing, "mesh_prior": nothing}
        split = split_parameters(parameters, config.decoder.latent)
        coloured = self.dense.decoder(split.face)
        rendering = self.renderer(coloured, split.camera, split.illumination, config.crop)
        pixel = pixel_loss(rendering, crop(maps.images, chosen.anchors, chosen.image, config.crop)).sum()
        if config.pixels_alone:
            parameters = self(maps.features.detach().flatten(0, 1)[None], flat[None])[0]
            split = split_parameters(parameters, config.decoder.latent)
            coloured = self.dense.decoder(split.face)
        seen = to_image(split.camera, coloured[:, self.dense.landmark_vertices, :3], chosen.anchors)
        sides = (chosen.boxes[:, 2:] - chosen.boxes[:, :2]).amax(dim=1)[known]
        away = (five_landmarks(seen[known])[..., :2] - chosen.landmarks[known]).abs().mean(dim=(1, 2))
        return {
            "mesh": config.pixel * pixel / faces,
            "mesh_landmark": config.landmark * (away / sides).sum() / with_points,
            "mesh_prior": config.prior * split.face.square().mean(dim=1).sum() / faces,
        }

    def _chosen(self, positives: Positives) -> Positives:
        sides = (positives.boxes[:, 2:] - positives.boxes[:, :2]).amax(dim=1)
        large = (sides >= self.config.smallest).nonzero().squeeze(1)
        count = min(len(large), self.config.faces)
        spaced = torch.arange(count, device=large.device) * len(large) // max(count, 1)
        return Positives(*(column[large[spaced]] for column in positives))
