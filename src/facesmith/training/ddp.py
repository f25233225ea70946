"""One process or many: torchrun's environment, PyTorch's DistributedDataParallel."""

import os
from dataclasses import dataclass

import torch
from torch import distributed

from facesmith.runtime.torch_session import torch_device


@dataclass(frozen=True, eq=False)
class Process:
    """This process's place among ``world`` processes.

    Together W processes take the step, to rounding, that one process would take with all images, but for
    batch normalisation: in training each process normalises by its own images, as is usual, and the running
    statistics that are kept are those of rank 0.
    """

    rank: int
    world: int
    device: torch.device

    @classmethod
    def start(cls, device: str) -> "Process":
        """Join torchrun's processes where its environment is set; otherwise be the only one.

        Args:
            device: ``cpu``, ``cuda`` (of several processes each takes its own) or ``cuda:N``.

        Raises:
            DeviceError: ``device`` is none of these, or PyTorch has no such device.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world > 1 and device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
        chosen = torch_device(device)
        if world == 1:
            return cls(0, 1, chosen)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), world, chosen)

    def end(self) -> None:
        """Leave the other processes."""
        if distributed.is_initialized():
            distributed.destroy_process_group()


def local_processes() -> int:
    """How many of torchrun's processes share this machine; 1 without torchrun."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
