"""``facesmith train``: one command from labelled photographs to a detector. A subcommand a recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facesmith.errors import MissingExtraError
from facesmith.runtime.cpus import chosen_threads

try:
    import torch

    from facesmith.data.sources import find_sources
    from facesmith.detectors.retinaface.model import RetinaFace
    from facesmith.detectors.weights import load_weights, save_weights
    from facesmith.training.loop import Process, TrainConfig, train
    from facesmith.training.recipes import Recipe, retinaface_mobilenet025, retinaface_mobilenet025_widerface
    from facesmith.training.validation import validator
except ImportError as error:
    raise MissingExtraError(f"training needs {error.name}: pip install 'facesmith[train]'") from error


@dataclass(frozen=True)
class Run:
    """Train a detector. Run the same command again to go on after an interruption; start it by torchrun to use
    many processes. Writes checkpoint.pt, log.jsonl and, at the end, NAME.safetensors (`facesmith export` makes
    ONNX of it)."""

    recipe: tyro.conf.Suppress[Recipe]
    data: Path
    """training photographs: NAME.txt label files beside their images and background/, or WIDER FACE as published"""
    train: TrainConfig
    out: Path | None = None
    """output folder; by default runs/NAME"""
    init: Path | None = None
    """weights (.safetensors) of the same network to start from"""
    cache: Path | None = None
    """folder in which decoded pixels are kept: faster epochs for about 3 bytes a pixel of disk"""
    val: tuple[Path, Path] | None = None
    """ground truth (.mat lists or a label file) and image folder for AP during training (--train.evaluate-every)"""
    device: str = "cpu"
    """cpu or cuda"""
    threads: int | None = None
    """CPU threads of this process; by default all that it may use"""

    def run(self) -> int:
        """Train from the start or from where the last run stopped."""
        torch.set_num_threads(chosen_threads(self.threads))
        torch.manual_seed(self.train.seed)
        name = self.recipe.name
        out = self.out or Path("runs") / name
        out.mkdir(parents=True, exist_ok=True)
        sources = find_sources(self.data)
        if {source.config.name for source in sources} >= {config.name for config in self.recipe.sources}:
            sources = find_sources(self.data, self.recipe.sources)
        model = RetinaFace(self.recipe.model)
        if self.init:
            load_weights(self.init, model)
        final = out / f"{name}.safetensors"
        judge = None
        if self.val:
            judge = validator(*self.val, out=final, name=name, threads=chosen_threads(self.threads))
        process = Process.start(self.device)
        best = train(model, sources, self.train, out, process=process, cache=self.cache, evaluate=judge)
        if process.rank == 0:
            save_weights(final, best, name=name, steps=self.train.steps)
            print(f"{final}: {self.train.steps} steps")
        return 0


def _run(recipe: Recipe) -> Run:
    return Run(recipe=recipe, data=tyro.MISSING, train=recipe.train)


Train = (
    Annotated[
        Run, tyro.conf.subcommand("retinaface-mobilenet0.25", default=_run(retinaface_mobilenet025.RECIPE))
    ]
    | Annotated[
        Run,
        tyro.conf.subcommand(
            "retinaface-mobilenet0.25-widerface", default=_run(retinaface_mobilenet025_widerface.RECIPE)
        ),
    ]
)
