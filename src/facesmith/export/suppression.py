"""Non-maximum suppression inside an exported graph: a file whose boxes are faces already."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from facesmith.errors import ConfigError, MissingExtraError, ModelError
from facesmith.runtime.detector import EVALUATION_THRESHOLD
from facesmith.runtime.session import METADATA_KEY

NMS_KEY = "nms"
"""Metadata of a file with suppression inside: its IoU threshold."""

_FACES = "faces"


def with_suppression(model: bytes, threshold: float) -> bytes:
    """An exported model with the operator ``NonMaxSuppression`` behind its candidates.

    The outputs keep names, ranks and meaning: boxes (B, K, 4), falling scores (B, K), landmarks (B, K, 5, 2). K is the
    number of faces in the picture of the batch that has most, at least 1; rows that a picture does not fill have a
    score of 0. Of two candidates with an IoU above ``threshold`` only the better stays, as in
    :func:`facesmith.geometry.nms`; scores of :data:`~facesmith.runtime.detector.EVALUATION_THRESHOLD` and less are
    dropped before, for speed.

    Args:
        model: an ONNX file as :func:`facesmith.export.onnx.export_onnx` writes it.
        threshold: greatest IoU of two faces, in [0, 1].

    Raises:
        ConfigError: the threshold is out of range.
        ModelError: suppression is inside already.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(f"export needs {error.name}: pip install 'facesmith[export]'") from error
    if not 0 <= threshold <= 1:
        raise ConfigError(f"nms must lie between 0 and 1, not {threshold}")
    proto = onnx.load_from_string(model)
    metadata = json.loads(next(one.value for one in proto.metadata_props if one.key == METADATA_KEY))
    if NMS_KEY in metadata:
        raise ModelError(f"this model suppresses at an IoU of {metadata[NMS_KEY]} already")
    graph = proto.graph
    rows = [output.name for output in graph.output]
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [_candidates(name) if name in rows else name for name in names]
    graph.node.extend(_nodes(rows))
    for name, value in _constants(threshold).items():
        graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    for output in graph.output:
        count = output.type.tensor_type.shape.dim[1]
        count.Clear()
        count.dim_param = _FACES
    del graph.value_info[:]
    onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps({**metadata, NMS_KEY: threshold})})
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString()
    return data


def _candidates(name: str) -> str:
    return f"candidate_{name}"


def _constants(threshold: float) -> dict[str, Any]:
    return {
        "nms_iou": np.array([threshold], np.float32),
        "nms_score": np.array([EVALUATION_THRESHOLD], np.float32),
        "nms_one": np.array([1], np.int64),
        "nms_two": np.array([2], np.int64),
        "nms_picture_and_row": np.array([0, 2], np.int64),
    }


def _nodes(rows: list[str]) -> Iterator[Any]:
    """From candidates to what is left of them; ``rows`` are all outputs of the graph."""
    from onnx import TensorProto, helper

    def node(kind: str, inputs: str, *outputs: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs.split(), list(outputs), name=f"nms_{outputs[0]}", **attributes)

    boxes, scores = _candidates("boxes"), _candidates("scores")
    # which candidates stay: (M, 3) of picture, class, row
    yield node("Unsqueeze", f"{scores} nms_one", "nms_class_scores")
    yield node("Shape", boxes, "nms_most", start=1, end=2)
    yield node("NonMaxSuppression", f"{boxes} nms_class_scores nms_most nms_iou nms_score", "nms_selected")
    yield node("Gather", "nms_selected nms_picture_and_row", "nms_kept_rows", axis=1)
    # the scores of the others to 0
    yield node("Shape", scores, "nms_score_shape")
    yield node("ConstantOfShape", "nms_score_shape", "nms_none")
    yield node("Shape", "nms_selected", "nms_selected_count", start=0, end=1)
    one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    yield node("ConstantOfShape", "nms_selected_count", "nms_ones", value=one)
    yield node("ScatterND", "nms_none nms_kept_rows nms_ones", "nms_mask")
    yield node("Mul", f"{scores} nms_mask", "nms_scores")
    # as many rows as the fullest picture has
    yield node("ReduceSum", "nms_mask nms_one", "nms_counts", keepdims=0)
    yield node("ReduceMax", "nms_counts", "nms_fullest", keepdims=0)
    yield node("Cast", "nms_fullest", "nms_fullest_count", to=TensorProto.INT64)
    yield node("Max", "nms_fullest_count nms_one", "nms_row_count")
    yield node("TopK", "nms_scores nms_row_count", "scores", "nms_order", axis=1)
    yield node("Unsqueeze", "nms_order nms_two", "nms_index")
    for name in rows:
        if name != "scores":
            yield node("GatherND", f"{_candidates(name)} nms_index", name, batch_dims=1)
