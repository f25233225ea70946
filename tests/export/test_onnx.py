"""One small network is exported once; the tests look at the file."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from facesmith import runtime, weights
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import load_model
from facesmith.errors import MissingExtraError, ModelError
from facesmith.export import onnx as export
from facesmith.export.onnx import PARITY_TOLERANCE, Parity, check_parity, export_onnx, smooth_noise


class Exported(NamedTuple):
    path: Path
    model: RetinaFace
    parity: Parity

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        session = ort.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        return session.run(["boxes", "scores", "landmarks"], {"images": images})


def random_model() -> RetinaFace:
    """The light RetinaFace, its normalisation statistics and head drawn at random: scores from 0 to 1."""
    torch.manual_seed(0)
    model = RetinaFace(RetinaFaceConfig())
    model.train()
    for seed in range(3):  # statistics that fit the weights, as after a training
        batch = smooth_noise(np.random.default_rng(seed), (2, 64, 96))
        model(torch.from_numpy(batch).permute(0, 3, 1, 2))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.uniform_(-0.3, 0.3)
                module.weight.uniform_(0.7, 1.3)
        model.head.weight.mul_(20)
        model.head.bias.zero_()
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("export") / "random.onnx"
    model = random_model()
    return Exported(path, model, export_onnx(model, path, name="random", steps=7))


@pytest.mark.parametrize("name", weights.records())
def test_the_released_file_is_the_released_network(name: str) -> None:
    """The ONNX file and the safetensors beside it, at three sizes and two batch sizes."""
    record = weights.records()[name]
    model = load_model(Path(weights.__file__).parent / f"{name}.safetensors")
    assert len(export.PARITY_SHAPES) == 6
    assert max(check_parity(model, weights.read(record))) < PARITY_TOLERANCE


class TestParity:
    def test_the_reported_difference_is_small_but_measured(self, exported: Exported) -> None:
        assert max(exported.parity) < PARITY_TOLERANCE
        assert min(exported.parity) > 0, "exactly nothing would mean that nothing was compared"

    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize(("height", "width"), [(120, 160), (64, 64), (75, 201)])
    def test_onnxruntime_gives_what_torch_gives(self, exported: Exported, batch: int, height: int, width: int) -> None:
        images = smooth_noise(np.random.default_rng(height), (batch, height, width))
        with torch.inference_mode():
            ours = [t.numpy() for t in exported.model.export_forward(torch.from_numpy(images))]
        theirs = exported.run(images)
        assert [t.shape for t in theirs] == [(batch, 2000, 4), (batch, 2000), (batch, 2000, 5, 2)]
        np.testing.assert_allclose(theirs[1], ours[1], atol=1e-5)
        assert ours[1].max() > 0.6
        gaps = np.abs(np.diff(ours[1], axis=1, prepend=2, append=-1))
        clear = (np.minimum(gaps[:, 1:], gaps[:, :-1]) > 1e-5) & (ours[1] > 0)  # rows of one score may swap
        assert clear.sum() > 50 * batch
        np.testing.assert_allclose(theirs[0][clear], ours[0][clear], rtol=1e-4, atol=0.02)
        np.testing.assert_allclose(theirs[2][clear], ours[2][clear], rtol=1e-4, atol=0.02)

    @pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (1, 33, 47), (1, 130, 7)])
    def test_any_size_runs(self, exported: Exported, shape: tuple[int, int, int]) -> None:
        boxes, scores, landmarks = exported.run(np.full((*shape, 3), 90, np.uint8))
        anchors = 2 * sum(-(-shape[1] // s) * -(-shape[2] // s) for s in (8, 16, 32))
        assert ((scores > 0).sum(axis=1) <= anchors).all()
        assert (np.diff(scores, axis=1) <= 0).all()
        assert all(np.isfinite(t).all() for t in (boxes, scores, landmarks))

    def test_a_graph_that_differs_is_found_and_not_written(
        self, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = random_model()
        with torch.no_grad():
            other.head.bias += 0.01
        data = exported.path.read_bytes()
        assert max(check_parity(exported.model, data)) < PARITY_TOLERANCE
        assert check_parity(other, data).scores > PARITY_TOLERANCE
        monkeypatch.setattr(export, "_trace", lambda model: onnx.load(exported.path))
        with pytest.raises(ModelError, match=r"wrong: onnxruntime and torch differ: .*more than 0\.0001"):
            export_onnx(other, tmp_path / "wrong.onnx", name="wrong")
        assert list(tmp_path.iterdir()) == []


class TestFile:
    def graph(self, exported: Exported) -> Any:
        return onnx.load(exported.path).graph

    def test_signature(self, exported: Exported) -> None:
        def form(value: Any) -> tuple[str, int, list[object]]:
            kind = value.type.tensor_type
            return value.name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]

        graph = self.graph(exported)
        assert [form(v) for v in graph.input] == [("images", onnx.TensorProto.UINT8, ["batch", "height", "width", 3])]
        outputs = {name: (kind, shape) for name, kind, shape in map(form, graph.output)}
        assert list(outputs) == ["boxes", "scores", "landmarks"]
        assert {kind for kind, _ in outputs.values()} == {onnx.TensorProto.FLOAT}
        assert [shape[1:] for _, shape in outputs.values()] == [[2000, 4], [2000], [2000, 5, 2]]
        assert {shape[0] for _, shape in outputs.values()} == {"batch"}

    def test_normalisation_is_folded_away(self, exported: Exported) -> None:
        kinds = {node.op_type for node in self.graph(exported).node}
        assert "BatchNormalization" not in kinds
        assert {"Conv", "TopK"} <= kinds
        assert {node.domain for node in self.graph(exported).node} == {""}

    def test_metadata(self, exported: Exported) -> None:
        model = onnx.load(exported.path)
        assert [prop.key for prop in model.metadata_props] == ["facesmith"]
        facts = json.loads(model.metadata_props[0].value)
        assert (facts["name"], facts["detector"], facts["steps"]) == ("random", "retinaface", 7)
        assert facts["size"] == "auto"
        assert facts["config"]["anchors"]["strides"] == [8, 16, 32]
        assert model.producer_name == "facesmith"

    def test_size(self, exported: Exported) -> None:
        assert exported.path.stat().st_size < 2.5e6
        text = exported.path.read_bytes()
        assert b"/site-packages/" not in text, "a path of the exporting machine"
        assert str(Path(__file__).parents[2]).encode() not in text

    def test_it_is_a_detector(self, exported: Exported) -> None:
        detector = runtime.load(exported.path, threads=1)
        assert detector.name == "random"
        picture = smooth_noise(np.random.default_rng(1), (1, 90, 120))[0]
        faces = detector.detect(picture, size="original", threshold=0.5)
        _, scores, _ = exported.run(picture[None])
        assert faces.scores.max() == pytest.approx(scores.max(), abs=1e-5)
        assert len(faces) <= (scores >= 0.5).sum()


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxslim"])
def test_a_missing_package_is_named(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"export needs {module}: pip install 'facesmith\[export\]'"):
        export_onnx(random_model(), tmp_path / "a.onnx", name="a")
