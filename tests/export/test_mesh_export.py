"""One small network with a mesh branch is exported once; the tests look at its two files, and use them."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch

import facesmith
from drawn_faces import TINY
from facesmith import images
from facesmith.cli import main
from facesmith.detectors.retinaface.mesh.config import MeshBranchConfig, MeshConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.detectors.weights import save_weights
from facesmith.errors import ConfigError, ModelError
from facesmith.export import meshes as export_meshes
from facesmith.export.onnx import PARITY_TOLERANCE, MeshParity, export_onnx, smooth_noise
from facesmith.runtime.meshes import MESH_OUTPUTS

CONFIG = replace(
    TINY, candidates=6, mesh=MeshBranchConfig(decoder=MeshConfig(latent=4, filters=(4,), order=2, coarsest=12))
)
VERTICES, TRIANGLES = 1801, 3456


class Exported(NamedTuple):
    folder: Path
    model: RetinaFace
    parity: tuple[float, ...]

    @property
    def detector(self) -> Path:
        return self.folder / "tiny.onnx"

    @property
    def meshes(self) -> Path:
        return self.folder / "tiny.mesh.onnx"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    model = RetinaFace(CONFIG).eval()
    assert model.mesh is not None
    with torch.no_grad():
        model.head.weight.mul_(20)
        model.head.bias.zero_()
        model.mesh.dense.decoder.last.weight.mul_(0.02)
        torch.nn.init.normal_(model.mesh.head.weight, std=0.2)
        torch.nn.init.normal_(model.mesh.head.bias, std=0.1)
    folder = tmp_path_factory.mktemp("mesh")
    save_weights(folder / "tiny.safetensors", model, name="tiny")
    return Exported(folder, model, export_onnx(model, folder / "tiny.onnx", name="tiny"))


def picture() -> npt.NDArray[np.uint8]:
    return smooth_noise(np.random.default_rng(3), (1, 60, 80))[0]


class TestFiles:
    def test_parity(self, exported: Exported) -> None:
        assert isinstance(exported.parity, MeshParity)
        assert max(exported.parity) < PARITY_TOLERANCE
        assert exported.parity.mesh > 0

    def test_the_detector_has_two_more_outputs(self, exported: Exported) -> None:
        session = ort.InferenceSession(exported.detector)
        assert [output.name for output in session.get_outputs()] == ["boxes", "scores", "landmarks", "mesh", "anchors"]
        found = session.run(["mesh", "anchors"], {"images": np.stack([picture()] * 2)})
        assert [array.shape for array in found] == [(2, 6, 20), (2, 6, 4)]
        sides = found[1][..., 2:] - found[1][..., :2]
        assert set(np.unique(sides)) <= {8, 12, 16, 24, 32, 48}

    def test_the_mesh_file(self, exported: Exported) -> None:
        session = ort.InferenceSession(exported.meshes)
        assert [(i.name, i.shape) for i in session.get_inputs()] == [("mesh", ["faces", 20]), ("anchors", ["faces", 4])]
        rng = np.random.default_rng(0)
        corner = rng.uniform(0, 50, (3, 2))
        inputs = {
            "mesh": rng.normal(0, 0.3, (3, 20)).astype(np.float32),
            "anchors": np.hstack([corner, corner + 30]).astype(np.float32),
        }
        found = dict(zip(MESH_OUTPUTS, session.run(list(MESH_OUTPUTS), inputs), strict=True))
        assert exported.model.mesh is not None
        with torch.inference_mode():
            expected = exported.model.mesh.dense(*(torch.from_numpy(array) for array in inputs.values()))
        for name, tensor in expected._asdict().items():
            np.testing.assert_allclose(found[name], tensor.numpy(), atol=1e-3)
        assert found["vertices"].shape == (3, VERTICES, 3)
        level = CONFIG.mesh.decoder.topology.finest  # type: ignore[union-attr]
        assert np.array_equal(found["triangles"], level.triangles)

    def test_the_detector_names_the_mesh_file_by_its_checksum(self, exported: Exported) -> None:
        facts = json.loads(onnx.load(exported.detector).metadata_props[0].value)
        assert facts["meshes"] == hashlib.sha256(exported.meshes.read_bytes()).hexdigest()
        assert facts["config"]["mesh"]["decoder"]["latent"] == 4

    def test_meshes_that_differ_are_found(
        self, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = RetinaFace(CONFIG).eval()
        monkeypatch.setattr(export_meshes.graphs, "trace", lambda *_: onnx.load(exported.meshes))
        with pytest.raises(ModelError, match=r"wrong: meshes of onnxruntime and torch differ by"):
            export_meshes.mesh_file(other, "wrong")


class TestDetecting:
    @pytest.fixture(params=["tiny.onnx", "tiny.safetensors"])
    def detector(self, request: pytest.FixtureRequest, exported: Exported) -> facesmith.Detector:
        return facesmith.load(exported.folder / request.param, threads=1)

    def test_meshes_of_the_faces_that_are_kept(self, exported: Exported, detector: facesmith.Detector) -> None:
        faces = detector.detect(picture(), size="original", threshold=0.0, meshes=True)
        plain = detector.detect(picture(), size="original", threshold=0.0)
        assert plain.meshes is None
        assert faces.meshes is not None
        assert 1 < len(faces) == len(faces.meshes)
        assert np.array_equal(plain.boxes, faces.boxes)
        with torch.inference_mode():
            boxes, _, _, parameters, anchors = exported.model.export_forward(torch.from_numpy(picture())[None])
            rows = [int(np.abs(boxes[0].numpy() - box).sum(axis=1).argmin()) for box in faces.boxes]
            assert exported.model.mesh is not None
            expected = exported.model.mesh.dense(parameters[0, rows], anchors[0, rows])
        np.testing.assert_allclose(faces.meshes.vertices, expected.vertices.numpy(), atol=0.02)
        np.testing.assert_allclose(faces.meshes.colours, expected.colours.numpy(), atol=1e-4)
        np.testing.assert_allclose(faces.meshes.landmarks68, expected.landmarks68.numpy(), atol=0.02)
        np.testing.assert_allclose(faces.meshes.pose, expected.pose.numpy(), atol=0.02)
        assert faces.meshes.triangles.shape == (TRIANGLES, 3)

    def test_pixels_are_those_of_the_picture(self, detector: facesmith.Detector) -> None:
        """At twice the size of what the network sees, places are twice as far."""
        small, large = picture(), np.repeat(np.repeat(picture(), 2, axis=0), 2, axis=1)
        one = detector.detect(small, size="original", threshold=0.0, meshes=True).meshes
        two = detector.detect(large, size=80, threshold=0.0, meshes=True).meshes
        assert one is not None
        assert two is not None
        np.testing.assert_allclose(two.vertices, 2 * one.vertices, atol=0.1)
        np.testing.assert_allclose(two.pose, one.pose, atol=0.1)

    def test_a_few_at_a_time(self, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
        detector = facesmith.load(exported.detector, threads=1)
        whole = detector.detect(picture(), threshold=0.0, nms=1, meshes=True).meshes
        monkeypatch.setattr("facesmith.runtime.meshes.AT_A_TIME", 4)
        parts = detector.detect(picture(), threshold=0.0, nms=1, meshes=True).meshes
        assert whole is not None
        assert parts is not None
        assert len(parts) == len(whole) == 6
        np.testing.assert_allclose(parts.vertices, whole.vertices, atol=1e-3)

    def test_no_face_no_mesh(self, detector: facesmith.Detector) -> None:
        faces = detector.detect(picture(), threshold=1.0, meshes=True)
        assert len(faces) == 0
        assert faces.meshes is not None
        assert faces.meshes.vertices.shape == (0, VERTICES, 3)

    def test_two_looks(self, exported: Exported) -> None:
        """A large picture is seen twice; each face's mesh lies at its box."""
        faces = facesmith.load(exported.detector, threads=1).detect(
            np.repeat(np.repeat(picture(), 30, axis=0), 30, axis=1), threshold=0.0, nms=1, meshes=True
        )
        assert faces.meshes is not None
        assert len(faces.meshes) == len(faces)

    def test_a_model_without_them_says_so(self, tiny_model: Path) -> None:
        with pytest.raises(ConfigError, match="tiny has no mesh branch"):
            facesmith.load(tiny_model).detect([], meshes=True)

    def test_torch_is_never_imported(self, exported: Exported) -> None:
        code = (
            "import sys, numpy, facesmith\n"
            f"faces = facesmith.load({str(exported.detector)!r}, threads=1).detect(\n"
            "    numpy.zeros((40, 40, 3), numpy.uint8), threshold=0.0, meshes=True)\n"
            "assert len(faces.meshes)\n"
            "print([m for m in ('torch', 'scipy', 'matplotlib', 'onnx', 'tyro') if m in sys.modules])"
        )
        assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


class TestWrongFiles:
    def test_the_mesh_file_is_missing(self, exported: Exported, tmp_path: Path) -> None:
        shutil.copy(exported.detector, tmp_path / "alone.onnx")
        detector = facesmith.load(tmp_path / "alone.onnx", threads=1)
        assert detector.detect(picture(), threshold=0.0).meshes is None
        with pytest.raises(ModelError, match=r"tiny needs alone\.mesh\.onnx beside alone\.onnx"):
            detector.detect(picture(), threshold=0.0, meshes=True)

    def test_the_mesh_file_of_another_export(self, exported: Exported, tmp_path: Path) -> None:
        shutil.copy(exported.detector, tmp_path / "a.onnx")
        (tmp_path / "a.mesh.onnx").write_bytes(exported.meshes.read_bytes() + b"\0")
        with pytest.raises(ModelError, match=r"a\.mesh\.onnx does not belong to tiny: its sha256"):
            facesmith.load(tmp_path / "a.onnx", threads=1).detect(picture(), threshold=0.0, meshes=True)


class TestCommands:
    @pytest.fixture
    def run(
        self,
        exported: Exported,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> Callable[..., tuple[int, str, str]]:
        monkeypatch.chdir(tmp_path)
        images.write(Path("a.png"), picture())

        def detect(*arguments: str, model: Path = exported.detector) -> tuple[int, str, str]:
            common = ("a.png", "--model", str(model), "--size", "original", "--threads", "1", "--threshold", "0.0")
            code = main(["detect", *common, *arguments])
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return detect

    def test_json(self, run: Callable[..., tuple[int, str, str]]) -> None:
        faces = json.loads(run("--mesh", "--jsonl")[1])["faces"]
        assert len(faces) > 1
        for face in faces:
            assert np.shape(face["pose"]) == (3,)
            assert np.shape(face["landmarks68"]) == (68, 3)
        assert not any("pose" in face for face in json.loads(run("--jsonl")[1])["faces"])

    @pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
    def test_masks_and_files(self, run: Callable[..., tuple[int, str, str]], suffix: str) -> None:
        count = len(json.loads(run("--save", "plain", "--jsonl")[1])["faces"])
        assert run("--mesh", "--save", "out", "--mesh-format", suffix)[0] == 0
        names = {f"a.png-{i}.{suffix}" for i in range(count)}
        assert {path.name for path in Path("out").iterdir()} == {"a.png", *names}
        assert (images.read(Path("out/a.png")) != images.read(Path("plain/a.png"))).any(axis=2).sum() > 50

    def test_a_format_needs_a_folder_and_meshes(self, run: Callable[..., tuple[int, str, str]]) -> None:
        for arguments in (("--mesh",), ("--save", "out")):
            code, _, errors = run("--mesh-format", "obj", *arguments)
            assert code == 2
            assert "--mesh-format needs --mesh and, for the folder, --save" in errors

    def test_a_model_without_meshes(self, run: Callable[..., tuple[int, str, str]], tiny_model: Path) -> None:
        code, _, errors = run("--mesh", model=tiny_model)
        assert code == 2
        assert "tiny has no mesh branch" in errors
