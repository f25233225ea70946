"""Networks to ONNX graphs, and graphs to the bytes of files."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from facesmith.runtime.session import METADATA_KEY

OPSET = 18


def trace(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    dimensions: Mapping[str, Sequence[str]],
    outputs: Sequence[str],
) -> Any:
    """The ONNX model of ``module``.

    Args:
        module: takes ``examples``, gives tensors in the order of ``outputs``.
        examples: inputs of sizes unlike each other.
        dimensions: name of each input -> names of its leading dimensions, which are dynamic; what is named alike is
            alike.
        outputs: their names.
    """
    free = tuple(dict.fromkeys(range(len(names)), torch.export.Dim.DYNAMIC) for names in dimensions.values())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            input_names=list(dimensions),
            output_names=list(outputs),
            dynamic_shapes=free,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for value, names in zip(proto.graph.input, dimensions.values(), strict=True):
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            _rename_dimension(proto, dimension.dim_param, name)
    return proto


def _rename_dimension(proto: Any, old: str, new: str) -> None:
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == old:
                dimension.dim_param = new


def finished(graph: Any, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a checked ONNX file with ``metadata`` as JSON under ``facesmith``, and nothing of the machine."""
    import onnx

    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {METADATA_KEY: json.dumps(metadata)})
    graph.producer_name, graph.producer_version, graph.doc_string = "facesmith", "", ""
    onnx.checker.check_model(graph, full_check=True)
    data: bytes = graph.SerializeToString()
    return data
