"""The one training loop: plain PyTorch, resumable to the bit, one process or many (torchrun).

    batch of step k (a pure function of seed and k) -> forward -> loss -> clipped step -> EMA
    every ``evaluate_every`` steps: the EMA weights are judged; every ``save_every``: a checkpoint is replaced
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from facesmith.data.batches import BatchConfig, Batches
from facesmith.data.sources import Source
from facesmith.detectors.types import Targets
from facesmith.errors import TrainingError
from facesmith.training.checkpoint import load_checkpoint, save_checkpoint
from facesmith.training.ema import EMA
from facesmith.training.optimisers import SGD, AdamW
from facesmith.training.schedule import Cosine, Drops


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
        seed: of weights, batches and augmentation.
        save_every: steps between checkpoints.
        evaluate_every: steps between evaluations; 0 for none.
        workers: processes that make batches ahead.
    """

    steps: int = 20_000
    batch: BatchConfig = BatchConfig()
    optimiser: AdamW | SGD = AdamW()
    schedule: Cosine | Drops = Cosine()
    clip: float = 10.0
    ema: float = 0.999
    bf16: bool = False
    seed: int = 0
    save_every: int = 500
    evaluate_every: int = 0
    workers: int = 2


@dataclass(frozen=True, eq=False)
class Process:
    """This process's place among ``world`` processes."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def start(cls, device: str) -> "Process":
        """Join torchrun's processes where its environment is set; otherwise be the only one."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls(0, 1, torch.device(device))
        local = int(os.environ["LOCAL_RANK"])
        chosen = torch.device("cuda", local) if device == "cuda" else torch.device(device)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(torch.distributed.get_rank(), world, chosen)


def train(
    model: nn.Module,
    sources: Sequence[Source],
    config: TrainConfig,
    out: Path,
    *,
    process: Process,
    cache: Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> nn.Module:
    """Train ``model`` (any detector with ``forward`` and ``loss``) and return the averaged weights' model.

    ``out`` receives ``checkpoint.pt`` and ``log.jsonl``. If a checkpoint is there the run goes on from it, and
    ends with the same weights, to the bit on a CPU, as one that was never interrupted.

    Raises:
        TrainingError: a loss is not finite (the checkpoint before is kept), or the checkpoint there belongs to
            a run with other settings.
    """
    model.to(process.device, memory_format=torch.channels_last)
    run = _Run(model, config, out, process)
    step = run.resume()
    batches = Batches(
        sources, config.batch, seed=config.seed, cache=cache, rank=process.rank, world=process.world
    )
    progress = tqdm(
        total=config.steps, initial=step, unit="step", disable=process.rank > 0, mininterval=1, smoothing=0.02
    )
    for images, targets in batches.loader(step, config.steps, workers=config.workers):
        losses = run.step(step, images, targets)
        step += 1
        progress.update()
        if step % 20 == 0 or step == config.steps:
            progress.set_postfix_str(" ".join(f"{name} {value:.3f}" for name, value in losses.items()))
            run.log({"step": step, "rate": run.rate, **losses})
        if config.evaluate_every and step % config.evaluate_every == 0 and evaluate and process.rank == 0:
            run.log({"step": step, **evaluate(run.ema.model)})
        if step % config.save_every == 0 or step == config.steps:
            run.save(step)
    progress.close()
    return run.ema.model


class _Run:
    """State that changes from step to step."""

    def __init__(self, model: nn.Module, config: TrainConfig, out: Path, process: Process) -> None:
        self.model, self.config, self.out, self.process = model, config, out, process
        self.ema = EMA(model, config.ema)
        self.optimiser = config.optimiser.make(model)
        self.base = [group["lr"] for group in self.optimiser.param_groups]
        self.rate = 0.0
        self.started = time.monotonic()
        self.forward: nn.Module = model
        if process.world > 1:
            self.forward = nn.parallel.DistributedDataParallel(model)

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def step(self, step: int, images: Tensor, targets: Targets) -> dict[str, float]:
        factor = self.config.schedule.factor(step, self.config.steps)
        for group, base in zip(self.optimiser.param_groups, self.base, strict=True):
            group["lr"] = base * factor
        self.rate = self.optimiser.param_groups[0]["lr"]
        device = self.process.device
        self.forward.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bf16):
            maps = self.forward(images.to(device, non_blocking=True))
        losses: dict[str, Tensor] = self.model.loss(maps, targets.to(device))  # type: ignore[operator]
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(float(norm)) or not all(math.isfinite(v) for v in values.values()):
            terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise TrainingError(
                f"step {step}: not finite: {terms}, gradient norm {float(norm):g}; nothing of this step was kept. "
                f"{self.checkpoint} holds the last good state; lower the rate or look at the batch of this step"
            )
        self.optimiser.step()
        self.ema.update(self.model, step)
        return {**values, "norm": float(norm)}

    def resume(self) -> int:
        if not self.checkpoint.exists():
            return 0
        state = load_checkpoint(self.checkpoint, self.process.device)
        if state["settings"] != self.settings:
            raise TrainingError(
                f"{self.checkpoint} belongs to a run with other settings; choose another output folder, or remove it"
            )
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        return int(state["step"])

    @property
    def settings(self) -> str:
        """What must stay the same for a run to be resumed."""
        same = {**vars(self.config), "save_every": 0, "evaluate_every": 0, "workers": 0}
        return f"{same} {getattr(self.model, 'config', '')}"

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
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
