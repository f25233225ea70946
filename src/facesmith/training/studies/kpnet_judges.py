"""Judging parts of a KPNet: its proposals without its landmarks, and its landmarks without its proposals.

Proposals are squares around boxes as the training labels draw them, that is WIDER FACE's. Here they are translated
into FDDB's frame, and FDDB's into theirs, by the medians of ``facesmith.box_styles``.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facesmith import geometry, images
from facesmith.box_styles import FDDB, SQUARE, WIDER, BoxStyle
from facesmith.detectors.kpnet.config import TemplateConfig
from facesmith.detectors.kpnet.model import KPNet
from facesmith.detectors.weights import load_model, save_weights
from facesmith.evaluation.predict import Settings
from facesmith.evaluation.result import Provenance, Result
from facesmith.evaluation.tasks import Task
from facesmith.faces import Faces
from facesmith.runtime import SizeRule
from facesmith.runtime.views import resized
from facesmith.training.studies.judges import FddbRecall, Found, Machine, turned

ELLIPSE = BoxStyle(0.0, -0.263, 1.298, 1.948)
"""The boxes around FDDB's ellipses: medians over 617 faces of 350 images, whose landmarks are those of
retinaface-mobilenet0.25 (dx by symmetry). They are larger than the rectangles that overlap the ellipses most."""

_SIDE = max(WIDER.sx, WIDER.sy)
PROPOSED = BoxStyle((FDDB.dx - WIDER.dx) / _SIDE, (FDDB.dy - WIDER.dy) / _SIDE, FDDB.sx / _SIDE, FDDB.sy / _SIDE)
"""FDDB's frame of a face whose proposal is the square of the style's landmarks."""


@dataclass(frozen=True)
class ProposalRecall(FddbRecall):
    """FDDB's recall of the scale proposals alone: their squares, their scores (Table 3, SP)."""

    box_style: BoxStyle | None = PROPOSED

    def find(
        self, weights: Path, task: Task[Any], pictures: Mapping[str, Path], machine: Machine
    ) -> tuple[Found, Provenance]:
        model = load_model(weights)
        assert isinstance(model, KPNet)
        with tempfile.TemporaryDirectory(prefix="facesmith-") as folder:
            path = Path(folder) / "proposals.safetensors"
            save_weights(path, without_landmarks(model), name=f"{weights.stem}, proposals")
            return super().find(path, task, pictures, machine)


@dataclass(frozen=True)
class TopProposalRecall(ProposalRecall):
    """FDDB's recall of all proposals of a picture, ``KPNetConfig.candidates`` of them (Table 1: 100)."""

    @property
    def columns(self) -> tuple[str, ...]:
        return ("FDDB",)

    @property
    def settings(self) -> Settings:
        return replace(super().settings, nms=1.0, nms_min_area=False)

    def figures(self, result: Result, found: Found, truth: Any) -> tuple[float, ...]:
        hits = result.counts["detections"] - result.counts["false positives"]
        return (100 * hits / result.counts["faces"],)


@dataclass(frozen=True)
class LabelledRecall(FddbRecall):
    """FDDB's recall where the labels propose the faces and the network places landmarks (Table 3, GT box)."""

    def find(
        self, weights: Path, task: Task[Any], pictures: Mapping[str, Path], machine: Machine
    ) -> tuple[Found, Provenance]:
        model = load_model(weights)
        assert isinstance(model, KPNet)
        torch.set_num_threads(machine.threads)
        model.to(machine.device)
        settings = replace(self.settings, turns=task.turns)
        found = dict(self._found(model, task, pictures, settings))
        provenance = Provenance(
            detector=f"{weights.stem}, labelled boxes",
            size_rule=str(SizeRule.parse(model.usual_size)),
            augmentation="none",
            score_threshold=settings.threshold,
            nms=settings.nms,
            settings={"NMS over": "the smaller area", "box style": str(self.style), "proposals": "labelled boxes"},
        )
        return found, provenance

    def _found(
        self, model: KPNet, task: Task[Any], pictures: Mapping[str, Path], settings: Settings
    ) -> Iterator[tuple[str, Faces]]:
        labels = dict(zip(task.truth.names, task.truth.ellipses, strict=True))
        for name, path in pictures.items():
            image = np.ascontiguousarray(np.rot90(images.read(path), settings.turns))
            boxes = restated(labels[name].boxes(), turned(ELLIPSE, settings.turns), turned(WIDER, settings.turns))
            faces = labelled_faces(model, image, boxes)
            faces = geometry.nms_faces(faces, settings.nms, min_area=True)
            yield name, faces if self.style is None else self.style.restyled(faces)


def without_landmarks(model: KPNet) -> KPNet:
    """The network whose faces are ``model``'s proposals, with the template's landmarks in them."""
    proposer = KPNet(replace(model.config, landmarks=TemplateConfig(), box_style=SQUARE, points=5))
    own = model.state_dict()
    proposer.load_state_dict({key: own[key] for key in proposer.state_dict()})
    return proposer.eval()


def labelled_faces(model: KPNet, image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float64]) -> Faces:
    """The faces of a picture, one for each of ``boxes``, whose proposals these would make.

    Args:
        model: in evaluation mode.
        image: (H, W, 3) uint8 RGB; the network sees it at its usual size, as a ``Detector`` shows it.
        boxes: (n, 4) in pixels of ``image``, drawn as the network's training labels are.
    """
    if not len(boxes):
        return Faces.empty()
    height, width = image.shape[:2]
    size = SizeRule.parse(model.usual_size).target(width, height)
    scale = np.array((size[0] / width, size[1] / height))
    device = next(model.parameters()).device
    with torch.inference_mode():
        maps = model(torch.from_numpy(resized(image, size))[None].permute(0, 3, 1, 2).to(device))
        given = torch.from_numpy((boxes * np.tile(scale, 2)).astype(np.float32))[None].to(device)
        found = (one[0].float().cpu().numpy() for one in model.locate(maps, model.labelled(maps, given)))
    inverse = 1 / scale
    return Faces(*found).mapped((float(inverse[0]), float(inverse[1])))


def restated(boxes: npt.NDArray[np.float64], drawn: BoxStyle, wanted: BoxStyle) -> npt.NDArray[np.float64]:
    """(n, 4) boxes of the style ``drawn`` as the style ``wanted`` draws them."""
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    square = (sides / np.array([drawn.sx, drawn.sy])).mean(axis=1, keepdims=True)
    centre = centre + square * np.array([wanted.dx - drawn.dx, wanted.dy - drawn.dy])
    half = square * np.array([wanted.sx, wanted.sy]) / 2
    return np.concatenate((centre - half, centre + half), axis=1)
