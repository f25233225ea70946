"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

from pathlib import Path
from typing import Any

import torch

from facesmith import files
from facesmith.errors import ModelError

KEYS = frozenset({"step", "model", "ema", "optimiser", "random", "settings"})


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the one checkpoint dictionary whole or not at all; its keys are exactly ``KEYS``."""
    assert set(state) == KEYS
    with files.replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, to the CPU.

    Raises:
        ModelError: the file is damaged, or its keys are not those of a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle makes of itself
        raise ModelError(f"{path}: is not a readable checkpoint: {error}") from error
    if not isinstance(state, dict) or set(state) != KEYS:
        raise ModelError(f"{path}: is not a facesmith checkpoint; expected the keys {', '.join(sorted(KEYS))}")
    return state
