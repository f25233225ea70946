"""Short runs and what is left of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from drawn_faces import TINY, TINY_BATCH
from facesmith.data.sources import Source
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.training.checkpoint import load_checkpoint
from facesmith.training.ddp import Process
from facesmith.training.loop import TrainConfig, train
from facesmith.training.optimisers import AdamW
from facesmith.training.schedule import Cosine

SHORT = TrainConfig(
    steps=50,
    batch=replace(TINY_BATCH, images=2),
    optimiser=AdamW(rate=1e-3),
    schedule=Cosine(warmup=5),
    save_every=30,
    workers=0,
)


class Trained(NamedTuple):
    """A network, the pictures that it has learnt, the folder of its run."""

    data: Path
    out: Path
    model: RetinaFace


class FrozenNorm(RetinaFace):
    """Normalises by its stored statistics in training too, so that pictures do not influence each other."""

    def train(self, mode: bool = True) -> "FrozenNorm":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def new_model(seed: int = 0, kind: type[RetinaFace] = RetinaFace) -> RetinaFace:
    torch.manual_seed(seed)
    return kind(TINY)


def fit(
    model: RetinaFace,
    sources: Sequence[Source],
    out: Path,
    config: TrainConfig = SHORT,
    process: Process | None = None,
    **more: Any,
) -> RetinaFace:
    """Train in this process alone, unless ``process`` is given."""
    return train(model, sources, config, out, process=process or Process.start("cpu"), **more)


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def assert_same_state(a: Path, b: Path) -> None:
    """The checkpoints of two runs are equal to the bit: weights, average, optimiser, random state."""

    def compare(x: Any, y: Any, where: str) -> None:
        if isinstance(x, torch.Tensor):
            assert torch.equal(x, y), where
        elif isinstance(x, dict):
            assert x.keys() == y.keys(), where
            for key in x:
                compare(x[key], y[key], f"{where}.{key}")
        elif isinstance(x, list):
            assert len(x) == len(y), where
            for i, pair in enumerate(zip(x, y, strict=True)):
                compare(*pair, f"{where}[{i}]")
        else:
            assert x == y, where

    compare(load_checkpoint(a / "checkpoint.pt"), load_checkpoint(b / "checkpoint.pt"), "")
