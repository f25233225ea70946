"""From a model to a file in any of the formats, checked before it is written."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from facesmith import files, weights
from facesmith.errors import ConfigError, MissingExtraError, ModelError
from facesmith.export.agreement import Agreement, compare
from facesmith.export.fusion import fuse
from facesmith.export.openvino import write_openvino
from facesmith.export.photographs import GENERAL_SIDE, Photographs, Picture, photographs, seen
from facesmith.export.quantise import quantise
from facesmith.export.suppression import with_suppression
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD, Detector, SizeRule, load
from facesmith.runtime.meshes import mesh_path
from facesmith.runtime.size import AUTO

Format: TypeAlias = Literal["onnx", "openvino", "onnx-int8", "openvino-int8"]

SAME_SHARE = 0.99
"""Least share of faces that an exact format must find again."""

NMS = 0.4
"""IoU at which faces are suppressed in the check where the file does not do that itself."""


class Exported(NamedTuple):
    """What was written and how it compares with the model that it was made of.

    Attributes:
        paths: the files; the first is what ``facesmith detect --model`` takes.
        agreement: of the model's faces with the file's.
        pictures: on which, in words.
    """

    paths: tuple[Path, ...]
    agreement: Agreement
    pictures: str


def export(model: str, format: Format, *, out: Path | None, nms: float | None, folder: Path | None) -> Exported:
    """Write ``model`` in another format.

    Args:
        model: a name in the table of weights, a ``.safetensors`` checkpoint or an ``.onnx`` file of facesmith.
        format: what to write; the eight-bit ones are calibrated on ``folder``.
        out: the file; ``None``: beside a model that is a file, in the current folder for a name.
        nms: suppress candidates with an IoU above this inside the file; ``None``: give all candidates.
        folder: photographs; ``None``: painted faces check the file.

    Raises:
        ConfigError: a setting is out of range, photographs are missing, or ``out`` is the model or has another suffix.
        ModelError: the file does not find the model's faces; nothing is written then.
        MissingExtraError: a package for the format is not installed.
    """
    target = _target(model, format, out, nms)
    integers = format.endswith("int8")
    with tempfile.TemporaryDirectory(prefix="facesmith-") as temporary:
        reference = load(model)  # says what is wrong with a file
        exact = _exact(model, Path(temporary))
        pictures = photographs(folder, reference.usual_size, calibrate=integers)
        data = exact.read_bytes()
        if integers:
            data = _quantised(data, pictures, reference.usual_size, everything=format.startswith("openvino"))
        if nms is not None:
            data = with_suppression(data, nms)
        result = Path(temporary) / "result" / target.name
        result.parent.mkdir()
        if format.startswith("openvino"):
            write_openvino(data, result)
        else:
            result.write_bytes(data)
        if mesh_path(exact).exists():
            shutil.copyfile(mesh_path(exact), mesh_path(result))
        agreement = compare(*(_faces(one, pictures.checking, nms) for one in (reference, load(result))))
        if not integers:
            _require(agreement, target.name)
        paths = [target, *(target.with_name(p.name) for p in sorted(result.parent.iterdir()) if p.name != target.name)]
        for path in reversed(paths):  # what the others belong to comes last
            files.write_bytes(path, (result.parent / path.name).read_bytes())
    return Exported(tuple(paths), agreement, pictures.description)


def _target(model: str, format: Format, out: Path | None, nms: float | None) -> Path:
    suffix = ".xml" if format.startswith("openvino") else ".onnx"
    if out is None:
        source = Path(model)
        base = Path(model) if model in weights.records() else source.with_suffix("")
        marks = ("-int8" if format.endswith("int8") else "") + ("-nms" if nms is not None else "")
        out = base.with_name(f"{base.name}{marks}{suffix}")
    if out.suffix != suffix:
        raise ConfigError(f"--out {out}: files of format {format} end in {suffix}")
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise ConfigError(f"{out} is the model itself; name another file with --out")
    return out


def _exact(model: str, folder: Path) -> Path:
    """The model as an ONNX file of float32 in ``folder``, with its mesh file if it has one."""
    path, record = folder / "exact.onnx", weights.records().get(model)
    if record is None and Path(model).suffix == ".safetensors":
        try:
            from facesmith.detectors.weights import load_model, read_metadata
            from facesmith.export.onnx import export_onnx
        except ImportError as error:
            raise MissingExtraError(f"export needs {error.name}: pip install 'facesmith[export]'") from error
        export_onnx(load_model(Path(model)), path, name=read_metadata(Path(model))["name"])
        return path
    if record is not None:
        source, data = Path(weights.__file__).with_name(record.file), weights.read(record)
    elif Path(model).suffix == ".onnx":
        source = Path(model)
        data = source.read_bytes()
    else:
        raise ModelError(weights.unknown(model))
    path.write_bytes(_fused(data))
    if mesh_path(source).exists():
        shutil.copyfile(mesh_path(source), mesh_path(path))
    return path


def _fused(data: bytes) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'facesmith[export]'") from error
    proto = onnx.load_from_string(data)
    fuse(proto)
    fused: bytes = proto.SerializeToString()
    return fused


def _quantised(data: bytes, pictures: Photographs, usual_size: SizeRule, *, everything: bool) -> bytes:
    rule = SizeRule.parse(GENERAL_SIDE) if usual_size == AUTO else usual_size
    return quantise(data, (image[None] for image in seen(pictures.calibrating, rule)), everything=everything)


def _faces(detector: Detector, pictures: Sequence[Picture], nms: float | None) -> list[Faces]:
    iou = NMS if nms is None else nms
    return [detector.detect(one, size="original", threshold=EVALUATION_THRESHOLD, nms=iou) for one in pictures]


def _require(agreement: Agreement, name: str) -> None:
    if agreement.faces and agreement.same < SAME_SHARE:
        raise ModelError(
            f"{name} finds only {agreement.same:.1%} of the model's {agreement.faces} faces in {agreement.pictures} "
            f"pictures at the same place with the same score; less than {SAME_SHARE:.0%}, so it is not written"
        )
