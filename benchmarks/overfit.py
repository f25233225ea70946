"""Can the big RetinaFace learn a few photographs by heart? If it cannot, something in it is wrong.

    python benchmarks/overfit.py --labels DIR/widerface.txt --device cuda --bf16

Trains ResNet-50 with P2 to P6 and deformable layers on the first photographs of a label file, whose paths are relative
to its folder, and judges the averaged weights on the same photographs at their original size by WIDER FACE's rule. Ends
with success as soon as AP over all labelled faces is above the goal, with failure when the steps are spent.
``--steps 3 --side 64 --images 1`` only shows that it runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro

from facesmith import runtime
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

    batch: int = 8
    """Windows a step."""

    side: int = 640
    """Side of a window in pixels."""

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
        labels = read_labels(self.labels)[: self.images]
        source = Source(SourceConfig(self.labels.stem), [self.labels.parent / label.path for label in labels], labels)
        config = TrainConfig(
            steps=self.steps,
            batch=BatchConfig(self.batch, (self.side,), AugmentConfig(mosaic=0.0, colour=0.0, grey=0.0, blur=0.0)),
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
