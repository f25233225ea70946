"""What the losses of KPNet's parts share: the labelled faces, cross entropy of nearly empty maps, means."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from facesmith.detectors.kpnet.config import STRIDE
from facesmith.detectors.kpnet.scales import covered
from facesmith.detectors.parts.losses import process_count, total_over_processes
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError

OCTAVES = 6
"""Faces are learnt down to 2⁻⁶ of the side of training pictures, where the scale bins end."""


class Faces(NamedTuple):
    """The faces of a batch side by side, padded to N an image; a padded row is neither wanted nor ignored."""

    boxes: Tensor  # (B, N, 4)
    landmarks: Tensor  # (B, N, K, 2)
    wanted: Tensor  # (B, N) bool: to be learnt
    ignored: Tensor  # (B, N) bool: to be left alone

    @property
    def known(self) -> Tensor:
        """(B, N) bool: to be learnt, and with landmarks."""
        return self.wanted & self.landmarks.isfinite().all(dim=3).all(dim=2)


class Term(NamedTuple):
    """A weighted sum, and the float number of what was summed up; both without dimensions."""

    total: Tensor
    number: Tensor


def labelled_faces(targets: Targets, points: int, side: int) -> Faces:
    """The labels; faces too small to be learnt are ignored.

    Args:
        targets: the labels.
        points: number of landmarks K.
        side: of training pictures in pixels.

    Raises:
        ConfigError: the labels' number of landmarks is not K.
    """
    boxes = pad_sequence(list(targets.boxes), batch_first=True)
    landmarks = pad_sequence(list(targets.landmarks), batch_first=True, padding_value=torch.nan)
    if landmarks.shape[2] != points:
        raise ConfigError(f"labels have {landmarks.shape[2]} landmarks a face, the network {points}")
    there = pad_sequence([torch.ones_like(ignored) for ignored in targets.ignored], batch_first=True)
    ignored = pad_sequence(list(targets.ignored), batch_first=True)
    large = (boxes[..., 2:] - boxes[..., :2]).amax(dim=2) >= side / 2**OCTAVES
    wanted = there & ~ignored & large
    return Faces(boxes, landmarks, wanted, there & ~wanted)


def background(best: Tensor, faces: Faces, silent: Tensor, complete: Tensor, threshold: float) -> Tensor:
    """Which cells teach background: none on silent faces, nor confident ones off all labels where these lack faces.

    Args:
        best: (B, H, W) each cell's greatest logit.
        faces: the labels.
        silent: (B, N) bool, faces that teach no background.
        complete: (B,) bool of the images.
        threshold: of the confident cells' score.

    Returns:
        (B, H, W) bool.
    """
    size = (best.shape[1], best.shape[2])
    left_out = covered(faces.boxes, silent, size)
    if not complete.all():
        sure = best.detach()[~complete].sigmoid() > threshold
        left_out[~complete] |= sure & ~covered(faces.boxes, faces.wanted, size)[~complete]
    return ~left_out


def sparse_cross_entropy(logits: Tensor, places: Tensor, target: Tensor, counted: Tensor) -> Term:
    """Eq. 4 for a map that is 0 but in a few places: cross entropy is softplus(z) - p z.

    Args:
        logits: (B, C, H, W).
        places: (m,) int64 in the flattened map, each at most once.
        target: (m,) wanted probabilities there.
        counted: (B, H, W) bool, cells whose other elements count; ``places`` count everywhere.
    """
    _, channels, height, width = logits.shape
    cell = places // (channels * height * width) * (height * width) + places % (height * width)
    extra = ~counted.flatten()[cell]
    at = logits.flatten()[places]
    loss = (F.softplus(logits).sum(dim=1) * counted).sum() + (F.softplus(at) * extra - target * at).sum()
    return Term(loss, (counted.sum() * channels + extra.sum()).float())


def keypoint_cross_entropy(logits: Tensor, faces: Faces, complete: Tensor, threshold: float) -> Term:
    """Eq. 4 for heat maps whose targets are single cells, those that hold a face's landmarks.

    Cells on ignored faces and on faces without landmarks teach no background.

    Args:
        logits: (B, K, H, W).
        faces: the labels.
        complete, threshold: see :func:`background`.
    """
    _, points, height, width = logits.shape
    cells, inside = keypoint_cells(faces, (height, width))
    image, face, point = inside.nonzero(as_tuple=True)
    x, y = cells[image, face, point].unbind(dim=1)
    places = (((image * points + point) * height + y) * width + x).unique()  # type: ignore[no-untyped-call]
    silent = faces.ignored | (faces.wanted & ~faces.known)
    counted = background(logits.amax(dim=1), faces, silent, complete, threshold)
    return sparse_cross_entropy(logits, places, torch.ones_like(places, dtype=logits.dtype), counted)


def keypoint_cells(faces: Faces, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(B, N, K, 2) int64 x, y of the cells that hold the landmarks; (B, N, K) bool, which of these are learnt.

    Those are the landmarks of ``faces.known`` inside the map of (height, width).
    """
    height, width = size
    cells = (faces.landmarks / STRIDE).nan_to_num(-1).floor().long()
    limit = torch.tensor((width, height), device=cells.device)
    return cells, faces.known[..., None] & ((cells >= 0) & (cells < limit)).all(dim=3)


def means(terms: Mapping[str, Term]) -> dict[str, Tensor]:
    """Sums by their counts; in a distributed run by the mean count of a process."""
    counts = torch.stack([term.number for term in terms.values()])
    shares = (total_over_processes(counts) / process_count()).clamp(min=1e-6)
    return {name: term.total / share for (name, term), share in zip(terms.items(), shares.unbind(), strict=True)}
