"""Can the big RetinaFace learn a few photographs by heart? If it cannot, something in it is wrong.

    python benchmarks/overfit.py --labels DIR/widerface.txt --device cuda --bf16

Trains ResNet-50 with P2 to P6 and deformable layers on the first photographs of a label file, whose paths are relative
to its folder, and judges the averaged weights on the same photographs by WIDER FACE's rule. Each photograph is fitted
into a square; those with a face that is then smaller than the smallest anchor are passed over. Ends with success as
soon as AP over all labelled faces is above the goal, with failure when the steps are spent.
``--steps 3 --side 64 --images 1`` only shows that it runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro

from facesmith import images, runtime
from facesmith.data.augment import AugmentConfig
from facesmith.data.batches import BatchConfig
from facesmith.data.labels import LabelledImage, read_labels
from facesmith.data.sources import Source, SourceConfig
from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.retinaface.config import R50
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import save_weights
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predict import Settings, predict
from facesmith.evaluation.widerface import evaluate
from facesmith.evaluation.widerface.truth import Truth
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train
from facesmith.training.memory import keep_freed_memory
from facesmith.training.optimisers import AdamW
from facesmith.training.schedule import Cosine

AS_THEY_ARE = AugmentConfig(squares=(1.0,), ignore_below=0.0, colour=0.0, grey=0.0, blur=0.0)
"""Whole squares, some of them mirrored."""


class GoalReachedError(Exception):
    """Ends the training; carries the AP."""


@dataclass(frozen=True)
class Overfit:
    """Learn a few photographs by heart."""

    labels: Path
    """Label file in RetinaFace's layout, beside the folders that its paths name."""

    images: int = 50
    """Photographs, from the first."""

    goal: float = 0.95
    """AP that counts as learnt."""

    steps: int = 4000
    """Most steps."""

    batch: int = 4
    """Photographs a step."""

    side: int = 256
    """Side of the squares in pixels."""

    smallest: float = 16.0
    """Side √(w·h) in a square, in pixels, that every face of a photograph has at least."""

    judge_every: int = 200
    """Steps between judgements."""

    pretrained: Path | None = None
    """ImageNet state dict of torchvision's or timm's resnet50."""

    device: str = "cpu"
    """cpu or cuda"""

    bf16: bool = False
    """Multiply in bfloat16."""

    out: Path = Path("runs/overfit")
    """Folder of checkpoint and log."""

    def run(self) -> bool:
        """Train until the goal is reached; whether it was."""
        torch.manual_seed(0)
        keep_freed_memory()
        model = RetinaFace(R50)
        if self.pretrained:
            model.backbone.load_pretrained(self.pretrained)
        source = self._squares()
        config = TrainConfig(
            steps=self.steps,
            batch=BatchConfig(self.batch, (self.side,), AS_THEY_ARE),
            optimiser=AdamW(rate=3e-4),
            schedule=Cosine(warmup=100, final=0.1),
            ema=0.99,
            bf16=self.bf16,
            evaluate_every=self.judge_every,
        )
        process = Process.start(self.device)
        try:
            train(model, [source], config, self.out, process=process, evaluate=partial(self._judge, source))
        except GoalReachedError as reached:
            print(f"learnt: {reached}")
            return True
        print(f"not learnt within {self.steps} steps: AP is not above {self.goal}")
        return False

    def _squares(self) -> Source:
        """The photographs in squares, written to the output folder."""
        kept, paths = [], []
        for label in read_labels(self.labels):
            if len(kept) == self.images:
                break
            pixels = images.read(self.labels.parent / label.path)
            height, width = pixels.shape[:2]
            scale = self.side / max(height, width)
            boxes = label.boxes * scale
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
            if label.ignored.any() or not len(boxes) or areas.min() < self.smallest**2:
                continue
            square = np.zeros((self.side, self.side, 3), np.uint8)
            size = (round(width * scale), round(height * scale))
            square[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            paths.append(self.out / "squares" / f"{len(kept):03}.png")
            images.write(paths[-1], square)
            kept.append(label._replace(path=paths[-1].name, boxes=boxes, landmarks=label.landmarks * scale))
        if len(kept) < self.images:
            sys.exit(f"{self.labels}: only {len(kept)} photographs have no face below --smallest {self.smallest}")
        return Source(SourceConfig(self.labels.stem), paths, kept)

    def _judge(self, source: Source, model: DetectorNetwork) -> dict[str, float]:
        """AP of ``model`` on the photographs that it is trained on.

        Raises:
            GoalReachedError: it is above the goal.
        """
        weights = self.out / "judged.safetensors"
        save_weights(weights, model, name="retinaface-r50")
        detector = runtime.load(weights, device=self.device)
        truth, settings = truth_of(source.labels), Settings()
        pictures = dict(zip(truth.names, source.paths, strict=True))
        found = {p.name: p.faces for p in predict(detector, pictures, settings, progress=False)}
        ap = evaluate(found, truth, provenance=settings.provenance(detector)).metrics["all"]
        print(f"AP {ap:.4f}", flush=True)
        if ap > self.goal:
            raise GoalReachedError(f"AP {ap:.4f}")
        return {"AP": ap}


def truth_of(labels: Sequence[LabelledImage]) -> Truth:
    """Training labels as ground truth; ignored faces stay ignored."""
    offsets = np.cumsum([0, *(len(label.boxes) for label in labels)])
    counted = ~np.concatenate([label.ignored for label in labels])
    boxes = np.concatenate([label.boxes for label in labels])
    names = tuple(image_name(label.path) for label in labels)
    return Truth(names, boxes, offsets, {"all": counted}, {}, None)


if __name__ == "__main__":
    sys.exit(not tyro.cli(Overfit).run())
