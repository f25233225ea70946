"""One small network is exported once; its windows, peaks and boxes must be the same in onnxruntime."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import facesmith
from facesmith.detectors.kpnet.config import DRNetConfig, KPNetConfig
from facesmith.detectors.kpnet.model import KPNet
from facesmith.export.onnx import PARITY_TOLERANCE, Parity, export_onnx, smooth_noise
from facesmith.runtime import SizeRule


class Exported(NamedTuple):
    path: Path
    model: KPNet
    parity: Parity


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Nineteen landmarks, heads drawn so that scores and windows of all sizes come out."""
    torch.manual_seed(0)
    model = KPNet(KPNetConfig(backbone=DRNetConfig(stem=8, deep=16), points=19, candidates=30))
    for seed in range(3):  # statistics that fit the weights, as after a training
        model(torch.from_numpy(smooth_noise(np.random.default_rng(seed), (2, 64, 96))).permute(0, 3, 1, 2))
    with torch.no_grad():
        model.proposals.scales.weight.mul_(1500)
        model.proposals.scales.bias.fill_(-4.0)  # type: ignore[union-attr]
        model.landmarks.heat.weight.mul_(20)  # type: ignore[operator, union-attr]
    path = tmp_path_factory.mktemp("kpnet") / "small.onnx"
    return Exported(path, model.eval(), export_onnx(model, path, name="small"))


def test_parity(exported: Exported) -> None:
    assert max(exported.parity) < PARITY_TOLERANCE
    assert min(exported.parity) > 0, "exactly nothing would mean that nothing was compared"


def test_auto_is_the_size_of_the_training(exported: Exported) -> None:
    assert facesmith.load(exported.path).size_rule("auto") == SizeRule.parse(256)


def test_no_operator_needs_doubles(exported: Exported) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load(exported.path)).graph
    kinds = {value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    assert onnx.TensorProto.DOUBLE not in kinds
    assert len(kinds) > 1
    assert {node.domain for node in graph.node} == {""}


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 75, 201), (1, 7, 260), (2, 1, 1)])
def test_onnxruntime_gives_what_torch_gives(exported: Exported, shape: tuple[int, int, int]) -> None:
    images = smooth_noise(np.random.default_rng(1), shape)
    with torch.inference_mode():
        ours = [t.numpy() for t in exported.model.export_forward(torch.from_numpy(images))]
    session = ort.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    theirs = session.run(["boxes", "scores", "landmarks"], {"images": images})
    assert [t.shape for t in theirs] == [(shape[0], 30, 4), (shape[0], 30), (shape[0], 30, 5, 2)]
    np.testing.assert_allclose(theirs[1], ours[1], atol=1e-5)
    gaps = np.abs(np.diff(ours[1], axis=1, prepend=2, append=-1))
    clear = (np.minimum(gaps[:, 1:], gaps[:, :-1]) > 1e-5) & (ours[1] > 0)  # rows of one score may swap
    assert clear.any()
    np.testing.assert_allclose(theirs[0][clear], ours[0][clear], rtol=1e-4, atol=0.02)
    np.testing.assert_allclose(theirs[2][clear], ours[2][clear], rtol=1e-4, atol=0.02)
