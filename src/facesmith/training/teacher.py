"""A teacher: a trained detector that labels along with the people who labelled the photographs.

It looks at every batch as the student sees it, and fills in what labels lack. Photographs without any labels are
labelled by it alone, which is self-training where teacher and student are the same network. Any detector can teach any
other: what passes between them are boxes, scores and landmarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facesmith import geometry, images
from facesmith.data.labelled import labelled_images
from facesmith.data.sources import Source, SourceConfig
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError, LabelError
from facesmith.faces import Faces
from facesmith.runtime import Detector

Array = npt.NDArray[Any]

SAME_FACE = 0.5
"""Least IoU of a label and a detection of one face."""

OTHER_FACE = 0.3
"""A detection that overlaps every label by less shows a face without label."""


@dataclass(frozen=True)
class TeacherConfig:
    """When a teacher is believed.

    Attributes:
        certain: lowest score of a detection that becomes a label.
        doubtful: lowest score of a detection that is marked as ignored: neither face nor background.

    Raises:
        ConfigError: not 0 < doubtful ≤ certain ≤ 1.
    """

    certain: float = 0.6
    doubtful: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.doubtful <= self.certain <= 1:
            raise ConfigError(f"a teacher needs 0 < doubtful <= certain <= 1, not {self}")


class Teacher:
    """Completes the labels of batches.

    - A labelled face without landmarks gets those of the detection that shows it.
    - In images whose labels may be incomplete, detections off all labels are labelled too, doubtful ones ignored.

    In images that are completely labelled people are believed: what else the teacher sees there is background.
    """

    def __init__(self, detector: Detector, config: TeacherConfig) -> None:
        self.detector, self.config = detector, config

    def __str__(self) -> str:
        """What decides its labels."""
        return f"teacher {self.detector.checksum or self.detector.name} {self.config}"

    def __call__(self, batch: Tensor, targets: Targets) -> Targets:
        """The targets of a (B, 3, H, W) uint8 ``batch``, completed; on the CPU."""
        pictures = batch.permute(0, 2, 3, 1).contiguous().numpy()
        found = self.detector.detect(list(pictures), threshold=self.config.doubtful)
        rows = [self._completed(targets, index, faces) for index, faces in enumerate(found)]
        boxes, landmarks, ignored = (list(column) for column in zip(*rows, strict=True))
        return Targets(boxes, landmarks, ignored, targets.complete)

    def _completed(self, targets: Targets, index: int, faces: Faces) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, landmarks and ignored of one image."""
        boxes, points = targets.boxes[index], targets.landmarks[index]
        if not len(faces) or (not len(boxes) and targets.complete[index]):
            return boxes, points, targets.ignored[index]
        overlap = geometry.iou(boxes.numpy(), faces.boxes)  # (labels, detections)
        points = self._with_landmarks(points, faces, overlap)
        if targets.complete[index]:
            return boxes, points, targets.ignored[index]
        new = faces[overlap.max(axis=0, initial=0) < OTHER_FACE]
        more = _landmarks(new, points.shape[1])
        return (
            torch.cat((boxes, torch.from_numpy(new.boxes))),
            torch.cat((points, torch.from_numpy(more))),
            torch.cat((targets.ignored[index], torch.from_numpy(new.scores < self.config.certain))),
        )

    def _with_landmarks(self, points: Tensor, faces: Faces, overlap: Array) -> Tensor:
        """(n, K, 2) landmarks of labelled faces, the missing ones from the detections where these are certain."""
        if not len(points) or faces.landmarks is None or points.shape[1] != faces.landmarks.shape[1]:
            return points
        best = overlap.argmax(axis=1)
        believed = (overlap.max(axis=1) >= SAME_FACE) & (faces.scores[best] >= self.config.certain)
        lacking = ~points.isfinite().all(dim=2).all(dim=1) & torch.from_numpy(believed)
        return torch.where(lacking[:, None, None], torch.from_numpy(faces.landmarks[best]), points)


def unlabelled(folder: Path) -> Source:
    """The photographs in and below ``folder``, to be labelled by a teacher alone.

    Raises:
        LabelError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if images.is_image_path(path))
    if not paths:
        raise LabelError(f"{folder}: no photographs in this folder")
    labels = labelled_images(folder, {path.relative_to(folder).as_posix(): [] for path in paths})
    return Source(SourceConfig(str(folder), share=len(paths), complete=False), paths, labels)


def shared_out(sources: Sequence[Source], more: Source) -> list[Source]:
    """``sources`` and ``more``, which is drawn from as often as its number of photographs among all says."""
    photographs = sum(len(source.paths) for source in sources)
    share = sum(source.config.share for source in sources) * len(more.paths) / photographs
    return [*sources, replace(more, config=replace(more.config, share=share))]


def _landmarks(faces: Faces, count: int) -> npt.NDArray[np.float32]:
    """(n, count, 2): NaN where the teacher has none, or another number."""
    if faces.landmarks is None or faces.landmarks.shape[1] != count:
        return np.full((len(faces), count, 2), np.nan, np.float32)
    return faces.landmarks
