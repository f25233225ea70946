"""The one training loop: plain PyTorch, resumable to the bit, one process or many (torchrun).

batch of step k (a pure function of seed and k) -> forward -> loss -> clipped step -> EMA
every ``evaluate_every`` steps: the EMA weights are judged; every ``save_every``: a checkpoint is replaced
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from facesmith import files
from facesmith.data.batches import BatchConfig, Batches
from facesmith.data.sources import Source
from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.parts.losses import process_count, total_over_processes
from facesmith.detectors.types import Targets
from facesmith.errors import ConfigError, TrainingError
from facesmith.training.checkpoint import load_checkpoint, save_checkpoint
from facesmith.training.ddp import Process
from facesmith.training.ema import EMA
from facesmith.training.optimisers import SGD, AdamW
from facesmith.training.schedule import Cosine, Drops
from facesmith.training.teacher import Teacher

LOG = "log.jsonl"
LOG_EVERY = 20
"""Steps between rows of the log."""

Model = TypeVar("Model", bound=DetectorNetwork)


@dataclass(frozen=True)
class TrainConfig:
    """How weights are fitted.

    Attributes:
        steps: optimiser steps of the whole run.
        batch: what a step sees.
        optimiser: ``AdamW`` or ``SGD`` with their settings.
        schedule: learning-rate schedule.
        clip: greatest norm of the gradient.
        ema: decay of the weights' average.
        bf16: autocast the forward pass to bfloat16 (worth it on a GPU; the loss stays float32).
        accumulate: parts of a batch that are taken one after the other, their gradients averaged: less memory for the
            same batch. Batch statistics and the normalisation of losses are each part's own.
        compiled: run the network through ``torch.compile`` (minutes at the start, once for every side of the batches).
        seed: of weights, batches and augmentation.
        save_every: steps between checkpoints.
        evaluate_every: steps between evaluations; 0 for none.
        workers: processes that make batches ahead; 0 makes them in this process.

    Raises:
        ConfigError: a number is out of range.
    """

    steps: int = 20_000
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimiser: AdamW | SGD = field(default_factory=AdamW)
    schedule: Cosine | Drops = field(default_factory=Cosine)
    clip: float = 10.0
    ema: float = 0.999
    bf16: bool = False
    accumulate: int = 1
    compiled: bool = False
    seed: int = 0
    save_every: int = 500
    evaluate_every: int = 0
    workers: int = 2

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "save_every": 1,
            "evaluate_every": 0,
            "workers": 0,
            "accumulate": 1,
            "seed": 0,
            "clip": 0,
            "ema": 0,
        }
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ConfigError(f"training needs {name} of at least {minimum}, not {getattr(self, name)}")
        if not self.clip or self.ema >= 1:
            raise ConfigError(f"training needs clip above 0 and ema below 1, not {self.clip} and {self.ema}")


def train(
    model: Model,
    sources: Sequence[Source],
    config: TrainConfig,
    out: Path,
    *,
    process: Process,
    cache: Path | None = None,
    evaluate: Callable[[Model], dict[str, float]] | None = None,
    teacher: Teacher | None = None,
) -> Model:
    """Train ``model``, in place, and return the model of the averaged weights.

    ``out`` receives ``checkpoint.pt`` and ``log.jsonl``. If a checkpoint is there the run goes on from it,
    and ends with the same weights, to the bit on a CPU, as one that was never interrupted; rows that were
    logged after that checkpoint are dropped, since their steps are taken again.

    Args:
        model: any detector.
        sources: the photographs.
        config: how its weights are fitted.
        out: the run's folder.
        process: this process's place; every process of a distributed run calls this function.
        cache: folder for decoded pixels.
        evaluate: gives the figures that are logged every ``config.evaluate_every`` steps; called in rank 0.
        teacher: completes the labels of every batch.

    Raises:
        TrainingError: a loss is not finite (the checkpoint before is kept), or the checkpoint there belongs
            to a run with other settings.
        ModelError: the checkpoint there is damaged.
        ConfigError: there are more processes, or parts to accumulate, than images in a batch.
    """
    out.mkdir(parents=True, exist_ok=True)
    model.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _Run(model, config, out, process, "" if teacher is None else f" {teacher}")
    step = run.resume()
    batches = Batches(
        sources,
        config.batch,
        seed=config.seed,
        cache=cache,
        rank=process.rank,
        world=process.world,
        parts=config.accumulate,
    )
    with tqdm(
        total=config.steps, initial=step, unit="step", disable=process.rank > 0, mininterval=1, smoothing=0.02
    ) as progress:
        for images, targets in batches.loader(step, config.steps, workers=config.workers):
            losses = run.step(step, images, targets if teacher is None else teacher(images, targets))
            step += 1
            progress.update()
            if step % LOG_EVERY == 0 or step == config.steps:
                progress.set_postfix_str(" ".join(f"{name} {value:.3f}" for name, value in losses.items()))
                run.log({"step": step, "rate": run.rate, **losses})
            if evaluate and process.rank == 0 and config.evaluate_every and step % config.evaluate_every == 0:
                run.log({"step": step, **evaluate(run.ema.model)})
            if step % config.save_every == 0 or step == config.steps:
                run.save(step)
    return run.ema.model


class _Run(Generic[Model]):
    """State that changes from step to step."""

    def __init__(self, model: Model, config: TrainConfig, out: Path, process: Process, taught: str) -> None:
        self.model, self.config, self.out, self.process, self.taught = model, config, out, process, taught
        self.forward: nn.Module = model
        if config.compiled:
            self.forward = cast(nn.Module, torch.compile(model))
        if process.world > 1:
            self.forward = nn.parallel.DistributedDataParallel(self.forward)  # all start with rank 0's weights
        self.ema = EMA(model, config.ema)
        self.optimiser = config.optimiser.make(model)
        self.base = [group["lr"] for group in self.optimiser.param_groups]
        self.rate = 0.0
        self.started = time.monotonic()

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def step(self, step: int, images: Tensor, targets: Targets) -> dict[str, float]:
        factor = self.config.schedule.factor(step, self.config.steps)
        for group, base in zip(self.optimiser.param_groups, self.base, strict=True):
            group["lr"] = base * factor
        self.rate = self.optimiser.param_groups[0]["lr"]
        self.forward.train()
        self.optimiser.zero_grad(set_to_none=True)
        parts = self.config.accumulate
        bounds = [len(images) * part // parts for part in range(parts + 1)]
        terms: list[dict[str, Tensor]] = []
        for part, (first, end) in enumerate(pairwise(bounds), start=1):
            with self._gradients_stay_here() if part < parts else nullcontext():
                terms.append(self._backward(images[first:end], targets.part(first, end)))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        sums = torch.stack([torch.stack(list(losses.values())) for losses in terms]).sum(dim=0)
        means = total_over_processes(sums) / process_count()
        values = dict(zip((*terms[0], "norm"), torch.cat((means, norm[None])).tolist(), strict=True))
        if not all(map(math.isfinite, values.values())):
            found = ", ".join(f"{name} {value:g}" for name, value in values.items())
            kept = f"{self.checkpoint} holds the last good state" if self.checkpoint.exists() else "none was saved yet"
            raise TrainingError(
                f"step {step}: not finite: {found}; nothing of this step was kept, {kept}. "
                "Lower the rate, or look at the batch of this step"
            )
        self.optimiser.step()
        self.ema.update(self.model, step)
        return values

    def _backward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Add the gradient of one part of the batch; its share of the losses."""
        device = self.process.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bf16):
            maps = self.forward(images.to(device, non_blocking=True))
        losses = self.model.loss(maps, targets.to(device))
        if self.config.accumulate > 1:
            losses = {name: value / self.config.accumulate for name, value in losses.items()}
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in losses.items()}

    def _gradients_stay_here(self) -> AbstractContextManager[None]:
        """Processes exchange their gradients once a step, not once a part."""
        if isinstance(self.forward, nn.parallel.DistributedDataParallel):
            return self.forward.no_sync()
        return nullcontext()

    def resume(self) -> int:
        """Take up the checkpoint's state, if there is one; the step to go on with."""
        step = 0
        if self.checkpoint.exists():
            state = load_checkpoint(self.checkpoint)
            if state["settings"] != self.settings:
                difference = _difference(state["settings"], self.settings)
                raise TrainingError(
                    f"{self.checkpoint} belongs to a run with other settings: {difference}; "
                    "choose another output folder, or remove it"
                )
            self.model.load_state_dict(state["model"])
            self.ema.model.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["random"])
            step = int(state["step"])
        if self.process.rank == 0:
            self._trim_log(step)
        return step

    def _trim_log(self, step: int) -> None:
        """Drop the rows after ``step``: their steps were lost with an interrupted run and are taken again."""
        path = self.out / LOG
        if not path.exists():
            return
        rows = [row for line in path.read_text(encoding="utf-8").splitlines() if (row := _row(line))]
        kept = [row for row in rows if row["step"] <= step]
        files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self.started -= kept[-1]["seconds"] if kept else 0

    @property
    def settings(self) -> str:
        """What must stay the same for a run to be resumed."""
        same = {**vars(self.config), "save_every": 0, "evaluate_every": 0, "workers": 0}
        return f"{same} {getattr(self.model, 'config', '')}{self.taught}"

    def save(self, step: int) -> None:
        if self.process.rank == 0:
            save_checkpoint(
                self.checkpoint,
                {
                    "step": step,
                    "model": self.model.state_dict(),
                    "ema": self.ema.model.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "random": torch.get_rng_state(),
                    "settings": self.settings,
                },
            )

    def log(self, row: dict[str, Any]) -> None:
        if self.process.rank == 0:
            row = {**row, "seconds": round(time.monotonic() - self.started, 1)}
            with (self.out / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _row(line: str) -> dict[str, Any] | None:
    """A row of the log; ``None`` if the process was killed while it wrote it."""
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return row


def _difference(there: str, here: str) -> str:
    """What two settings differ in, item by item."""
    pairs = zip(there.split(", "), here.split(", "), strict=False)
    return ", ".join(f"{a} there and {b} here" for a, b in pairs if a != b) or "they have other fields"
