"""Eight-bit integers for CPUs that multiply them fast (VNNI, AMX): an exported model in, a quantised one out."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith.errors import ConfigError, MissingExtraError, ModelError
from facesmith.export.precision import QUANTISED, integer_nodes, network_nodes

ImageBatch = npt.NDArray[np.uint8]


def quantise(model: bytes, batches: Iterable[ImageBatch], *, everything: bool = False) -> bytes:
    """Quantise the network of an exported model; the decoding of its maps stays in float32.

    Static quantisation in the QDQ form, which onnxruntime and OpenVINO both turn into integer kernels: weights int8
    with a scale a channel, maps uint8 with one scale each, from the least and greatest values that they take on the
    calibration pictures.

    Args:
        model: an ONNX file as :func:`facesmith.export.onnx.export_onnx` writes it.
        batches: calibration pictures, (B, H, W, 3) uint8 RGB, of the kind and at the size that the model will see; a
            few hundred photographs do (with 64 kpnet-drnet lost 2.4 points of recall, with 256 none).
        everything: also what :func:`~facesmith.export.precision.integer_nodes` leaves alone; OpenVINO is faster so,
            onnxruntime slower.

    Returns:
        An ONNX file of the same signature, its metadata plus ``"precision": "int8"``.

    Raises:
        ConfigError: there are no calibration pictures.
        ModelError: the model has no convolutions, or is quantised already.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise MissingExtraError(f"quantising needs {error.name}: pip install 'facesmith[export]'") from error

    proto = onnx.load_from_string(model)
    if any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
        raise ModelError("this model is quantised already")
    if not network_nodes(proto.graph):
        raise ModelError("only networks with convolutions can be quantised; this model has none")
    nodes = network_nodes(proto.graph) if everything else integer_nodes(proto.graph)
    chosen = [node.name for node in nodes if node.op_type in QUANTISED]
    _mark_preprocessed(proto)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            proto,
            file,
            _reader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_quantize=chosen,
        )
        quantised = onnx.load(file)
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    facts = {"facesmith": json.dumps({**json.loads(facts["facesmith"]), "precision": "int8"})}
    del quantised.metadata_props[:]
    onnx.helper.set_model_props(quantised, facts)
    data: bytes = quantised.SerializeToString()
    return data


def _mark_preprocessed(proto: Any) -> None:
    """Keep onnxruntime from asking for its preprocessing: the exporter has folded and inferred what that would."""
    proto.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")


def _reader(batches: Iterable[ImageBatch]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the base has no types
        def __init__(self) -> None:
            self.batches: Iterator[ImageBatch] = iter(batches)
            self.count = 0

        def get_next(self) -> dict[str, ImageBatch] | None:
            batch = next(self.batches, None)
            if batch is None:
                if not self.count:
                    raise ConfigError("quantising needs calibration pictures; there are none")
                return None
            self.count += 1
            return {"images": batch}

    return Reader()
