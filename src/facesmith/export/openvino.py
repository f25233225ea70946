"""ONNX files to OpenVINO's own form: a description (.xml) and weights (.bin) beside it."""

import json
from pathlib import Path

from facesmith.errors import MissingExtraError, ModelError
from facesmith.runtime.openvino_session import METADATA_KEY


def write_openvino(model: bytes, path: Path) -> None:
    """Write an exported model to ``path`` (.xml) and to the .bin beside it, in the precision that it has.

    Args:
        model: an ONNX file as :func:`facesmith.export.onnx.export_onnx` or :func:`~facesmith.export.quantise.quantise`
            gives it; eight-bit operators stay such.
        path: ends in ``.xml``.

    Raises:
        MissingExtraError: OpenVINO or onnx is not installed.
        ModelError: OpenVINO cannot read the model.
    """
    try:
        import onnx
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            f"openvino files need {error.name}: pip install 'facesmith[export,openvino]'"
        ) from error
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    try:
        converted = openvino.Core().read_model(model)
    except Exception as error:  # OpenVINO has classes of its own for this
        raise ModelError(f"OpenVINO cannot read the model: {str(error).strip().partition(chr(10))[0]}") from error
    converted.set_rt_info(json.dumps(json.loads(metadata["facesmith"])), [METADATA_KEY])
    openvino.save_model(converted, path, compress_to_fp16=False)
