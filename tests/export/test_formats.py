"""The tiny network in other formats: its faces are the bright cells of a picture, which do not overlap."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from facesmith import images, load
from facesmith.errors import ConfigError, ModelError
from facesmith.export import formats
from facesmith.export.formats import Format, export
from facesmith.runtime.portrait import paint_portrait


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures of bright and dark patches; hardly two cells are equally bright."""
    rng = np.random.default_rng(0)
    for i in range(3):
        patches = rng.integers(0, 256, (6, 8, 3), np.uint8)
        images.write(tmp_path / f"pictures/{i}.png", cv2.resize(patches, (640, 480), interpolation=cv2.INTER_CUBIC))
    return tmp_path / "pictures"


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("nms", [None, 0.4])
def test_exact_formats_find_the_same_faces(
    format: Format, nms: float | None, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    if format == "openvino":
        pytest.importorskip("openvino")
    suffix = ".xml" if format == "openvino" else ".onnx"
    done = export(str(tiny_model), format, out=tmp_path / f"new{suffix}", nms=nms, folder=pictures)
    assert done.paths[0] == tmp_path / f"new{suffix}"
    assert [path.suffix for path in done.paths] == ([".xml", ".bin"] if format == "openvino" else [".onnx"])
    assert done.agreement.same == 1
    assert done.agreement.clear > 20
    picture = images.read(pictures / "0.png")
    before, after = (load(path, threads=1).detect(picture, size="original") for path in (tiny_model, done.paths[0]))
    assert len(before) > 5
    np.testing.assert_allclose(before.boxes, after.boxes, atol=0.01)
    np.testing.assert_allclose(before.landmarks, after.landmarks, atol=0.01)


def test_where_the_file_goes(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(tiny_model.read_bytes())
    assert export(str(own), "onnx", out=None, nms=0.4, folder=None).paths == (tmp_path / "own-nms.onnx",)
    with pytest.raises(ConfigError, match="is the model itself; name another file with --out"):
        export(str(own), "onnx", out=None, nms=None, folder=None)
    with pytest.raises(ConfigError, match=r"files of format openvino end in \.xml"):
        export(str(own), "openvino", out=tmp_path / "a.onnx", nms=None, folder=None)
    assert formats._target("retinaface-mobilenet0.25", "openvino-int8", None, None) == Path(
        "retinaface-mobilenet0.25-int8.xml"
    )


def test_a_file_that_finds_other_faces_is_not_written(
    tiny_model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(proto: onnx.ModelProto) -> None:
        next(t for t in proto.graph.initializer if t.name == "white").raw_data = np.float32(250).tobytes()

    monkeypatch.setattr(formats, "fuse", spoil)
    with pytest.raises(ModelError, match=r"new\.onnx finds only .*% of the model's .* less than 99%"):
        export(str(tiny_model), "onnx", out=tmp_path / "new.onnx", nms=None, folder=pictures)
    assert not (tmp_path / "new.onnx").exists()


def test_int8_of_a_shipped_model(tmp_path: Path) -> None:
    """By its name; on painted faces, which is no way to calibrate, the faces stay where they are."""
    for i in range(3):
        painted = paint_portrait(160, 120, (60.0 + 8 * i, 60.0), 14.0 + 2 * i)
        images.write(tmp_path / f"faces/{i}.png", painted)
    out = tmp_path / "int8.onnx"
    done = export("retinaface-mobilenet0.25", "onnx-int8", out=out, nms=None, folder=tmp_path / "faces")
    assert done.paths == (out,)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(out).graph.node}
    assert done.agreement.average_precision > 0.9
    facts = json.loads(onnx.load(out).metadata_props[0].value)
    assert (facts["name"], facts["precision"]) == ("retinaface-mobilenet0.25", "int8")
    assert out.stat().st_size < 900_000


def test_refusals(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--images DIR"):
        export(str(tiny_model), "onnx-int8", out=tmp_path / "a.onnx", nms=None, folder=None)
    with pytest.raises(ModelError, match="only networks with convolutions"):
        export(str(tiny_model), "onnx-int8", out=tmp_path / "a.onnx", nms=None, folder=pictures)
    with pytest.raises(ModelError, match="no model is called 'retinafac'"):
        export("retinafac", "onnx", out=tmp_path / "a.onnx", nms=None, folder=None)
    assert not (tmp_path / "a.onnx").exists()
