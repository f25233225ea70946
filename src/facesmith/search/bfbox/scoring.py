"""What a supernet thinks of an architecture: its weights, recalibrated normalisation, AP on held-out pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facesmith.detectors.bfbox.architecture import Architecture
from facesmith.detectors.bfbox.model import BFBox
from facesmith.detectors.bfbox.supernet import Supernet, SupernetConfig
from facesmith.evaluation.widerface.average_precision import match, precision_recall
from facesmith.faces import Faces, FloatArray
from facesmith.geometry import nms_faces
from facesmith.runtime.torch_session import torch_device
from facesmith.search.bfbox.pictures import Pictures
from facesmith.training.checkpoint import load_checkpoint

BATCH = 20
LEAST_SCORE = 0.02
NMS_IOU = 0.4
MOST_FACES = 200
"""Detections kept of each window."""


@dataclass(frozen=True)
class Judge:
    """All that a process needs to score candidates; small, so that it travels.

    Attributes:
        supernet: its configuration.
        checkpoint: its training's checkpoint; the averaged weights are taken.
        pictures: folder of the pictures.
        threads: CPU threads.
        device: where networks run.
    """

    supernet: SupernetConfig
    checkpoint: Path
    pictures: Path
    threads: int = 1
    device: str = "cpu"


class Scorer:
    """Scores architectures one after the other; the order makes no difference."""

    def __init__(self, judge: Judge) -> None:
        torch.set_num_threads(judge.threads)
        self._supernet = Supernet(judge.supernet).eval()
        self._supernet.load_state_dict(load_checkpoint(judge.checkpoint)["ema"])
        self._pictures = Pictures.read(judge.pictures)
        self._device = torch_device(judge.device)

    def score(self, architecture: str) -> float:
        """AP in 0 … 1 of the architecture with this text form, of the supernet's space."""
        space = self._supernet.space
        model = self._supernet.network(space.encode(Architecture.parse(architecture)))
        model.to(self._device)
        recalibrate(model, self._pictures)
        return average_precision(model, self._pictures)


@torch.no_grad()
def recalibrate(model: BFBox, pictures: Pictures) -> None:
    """Replace the statistics of every batch normalisation by their means over the recalibration pictures.

    The supernet's own statistics mix all paths, so they fit none (Guo et al. 2019, section 3.4). Weights stay as they
    are. Ends in evaluation mode.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    model.train()
    count = len(pictures.recalibration)
    batches = max(round(count / BATCH), 1)
    for rows in np.array_split(np.arange(count), batches):
        model(_tensor(pictures.recalibration[rows], model))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def average_precision(model: BFBox, pictures: Pictures) -> float:
    """AP by WIDER FACE's rule over all faces that are not ignored."""
    truth = pictures.truth
    return precision_recall(match(detections(model, pictures), truth), truth.subsets["all"]).average_precision


@torch.inference_mode()
def detections(model: BFBox, pictures: Pictures, *, silenced: Sequence[int] = ()) -> list[Faces]:
    """What ``model`` finds in each validation window; levels with an index in ``silenced`` (0 is p2) find nothing."""
    found: list[Faces] = []
    for start in range(0, len(pictures.validation), BATCH):
        maps = model.eval()(_tensor(pictures.validation[start : start + BATCH], model))
        levels = maps.logits.split([height * width for height, width in maps.sizes], dim=1)
        for index in silenced:
            levels[index].fill_(-100.0)  # a view of the logits
        rows = zip(*(tensor.cpu().numpy() for tensor in model.decode(maps)), strict=True)
        found.extend(_kept(boxes, scores, landmarks) for boxes, scores, landmarks in rows)
    return found


def _kept(boxes: FloatArray, scores: FloatArray, landmarks: FloatArray) -> Faces:
    likely = scores >= LEAST_SCORE
    return nms_faces(Faces(boxes[likely], scores[likely], landmarks[likely]), NMS_IOU, MOST_FACES)


def _tensor(images: npt.NDArray[np.uint8], model: BFBox) -> torch.Tensor:
    """(B, S, S, 3) uint8, perhaps mapped from a file -> (B, 3, S, S) where ``model`` is."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(model.head.weight.device)
