"""The model whose speed is measured: shipped, trained, or a KPNet with random weights."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from facesmith import weights

if TYPE_CHECKING:
    from facesmith.detectors.base import DetectorNetwork

Untrained = Literal["drnet", "hourglass"]


def exported(model: str | None, untrained: Untrained | None) -> tuple[str, bytes]:
    """Name and ONNX file."""
    if untrained is None:
        name = model or weights.DEFAULT
        if record := weights.records().get(name):
            return name, weights.read(record)
        if name.endswith(".onnx"):
            return Path(name).stem, Path(name).read_bytes()
    from facesmith.export.onnx import export_onnx

    name, network = built(model, untrained)
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(network, Path(folder) / "model.onnx", name=name)
        return name, (Path(folder) / "model.onnx").read_bytes()


def built(model: str | None, untrained: Untrained | None) -> tuple[str, "DetectorNetwork"]:
    """Name and network in PyTorch.

    Raises:
        SystemExit: neither or both are given, or ``model`` is no .safetensors file.
    """
    if (model is None) == (untrained is None):
        raise SystemExit("give either --model or --untrained")
    if model is not None:
        from facesmith.detectors.weights import load_model

        if not model.endswith(".safetensors"):
            raise SystemExit(f"{model} is no .safetensors file")
        return Path(model).stem, load_model(Path(model)).eval()
    import torch

    from facesmith.detectors.kpnet.config import HourglassConfig, KPNetConfig
    from facesmith.detectors.kpnet.model import KPNet

    torch.manual_seed(0)
    config = KPNetConfig() if untrained == "drnet" else KPNetConfig(backbone=HourglassConfig())
    return f"kpnet-{untrained} with random weights", KPNet(config).eval()
