"""Replicas of published networks to ONNX files of one input size."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn


def write(network: nn.Module, path: Path, width: int, height: int, outputs: Sequence[str]) -> None:
    """``network``, which takes (1, 3, H, W) float32, for pictures of ``width`` × ``height``: sides are rounded up to
    multiples of 32. Batch norms are folded by the exporter."""
    padded = (-(-height // 32) * 32, -(-width // 32) * 32)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, *padded),),
            path,
            dynamo=True,
            external_data=False,
            opset_version=18,
            input_names=["input"],
            output_names=list(outputs),
            verbose=False,
        )
