"""Small networks with the parts that ablations exchange; what they decode must be the same in onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.kpnet.config import (
    ArgmaxConfig,
    AssociativeConfig,
    DRNetConfig,
    KPNetConfig,
    RegressionConfig,
    RPNConfig,
    SoftArgmaxConfig,
)
from facesmith.detectors.weights import build
from facesmith.export.onnx import PARITY_TOLERANCE, export_onnx, smooth_noise

BACKBONE = DRNetConfig(stem=4, deep=8)
NETWORKS = [
    pytest.param(KPNetConfig(BACKBONE, landmarks=ArgmaxConfig(), candidates=30), id="argmax"),
    pytest.param(KPNetConfig(BACKBONE, RPNConfig(), RegressionConfig(), candidates=30), id="rpn-regression"),
    pytest.param(KPNetConfig(BACKBONE, landmarks=SoftArgmaxConfig(scored=0), candidates=30), id="P_s-alone"),
    pytest.param(AssociativeConfig(BACKBONE, candidates=30), id="associative"),
]


def drawn(config: KPNetConfig | AssociativeConfig) -> DetectorNetwork:
    """A network whose scores and windows are of all sizes."""
    torch.manual_seed(0)
    model = build(config)
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Conv2d) and not name.startswith("backbone"):
                layer.weight.normal_(std=1.0)
                layer.bias.fill_(-4.0)  # type: ignore[union-attr]
    for seed in range(3):  # statistics that fit the weights, as after a training
        model(torch.from_numpy(smooth_noise(np.random.default_rng(seed), (2, 64, 96))).permute(0, 3, 1, 2))
    return model.eval()


@pytest.mark.parametrize("config", NETWORKS)
def test_onnxruntime_gives_what_torch_gives(config: KPNetConfig | AssociativeConfig, tmp_path: Path) -> None:
    model, path = drawn(config), tmp_path / "small.onnx"
    parity = export_onnx(model, path, name="small")
    assert max(parity) < PARITY_TOLERANCE
    assert parity.scores > 0, "exactly nothing would mean that nothing was compared"
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    kinds = {value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    assert onnx.TensorProto.DOUBLE not in kinds
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 1), (2, 75, 101)):
        images = smooth_noise(np.random.default_rng(1), shape)
        with torch.inference_mode():
            ours = [t.numpy() for t in model.export_forward(torch.from_numpy(images))]
        theirs = session.run(["boxes", "scores", "landmarks"], {"images": images})
        assert [t.shape for t in theirs] == [t.shape for t in ours]
        np.testing.assert_allclose(theirs[1], ours[1], atol=1e-5)
