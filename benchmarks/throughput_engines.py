"""The ways to run an exported model on the CPU: onnxruntime and OpenVINO, in fp32, bf16 and int8."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from facesmith.runtime import Candidates
from throughput_stages import Picture, Run

Arrays = Mapping[str, npt.NDArray[Any]]
Call = Callable[[Arrays], list[npt.NDArray[Any]]]
OUTPUTS = ("boxes", "scores", "landmarks")


class Runner(NamedTuple):
    """A model in an engine and a precision: all of it, and the decoding of its maps alone."""

    engine: str
    precision: str
    run: Run
    decode: Callable[[], object]

    @property
    def name(self) -> str:
        return f"{self.engine} {self.precision}"


class Missing(NamedTuple):
    """What cannot be measured here, and why."""

    name: str
    reason: str


def runners(model: bytes, quantised: bytes, decoding: tuple[bytes, Arrays], threads: int) -> Iterator[Runner | Missing]:
    """Every engine in every precision that it and this CPU have."""
    part, feeds = decoding
    for precision, data in (("fp32", model), ("int8", quantised)):
        yield _runner("onnxruntime", precision, _onnxruntime(data, threads), _onnxruntime(part, threads), feeds)
    yield Missing("onnxruntime bf16", "onnxruntime has no bf16 convolutions on x86 CPUs")
    try:
        import openvino
    except ImportError:
        yield Missing("openvino", "OpenVINO is not installed: pip install 'facesmith[openvino]'")
        return
    for precision, data in (("fp32", model), ("int8", quantised), ("bf16", model)):
        if precision == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            yield Missing("openvino bf16", "this CPU has neither AVX-512 BF16 nor AMX")
            continue
        hint = "bf16" if precision == "bf16" else "f32"
        calls = (_openvino(one, threads, hint) for one in (data, part))
        yield _runner("openvino", precision, *calls, feeds)


def operators(model: bytes, images: Picture, threads: int) -> list[tuple[str, float]]:
    """Kinds of operators in onnxruntime and their shares of its time, greatest first.

    The profile is by wall time: of each operator the fastest of several runs counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(6):
            session.run(None, {"images": images})
        events = json.loads(Path(session.end_profiling()).read_text())
    times, kinds = dict[str, float](), dict[str, str]()
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            kinds[event["name"]] = event["args"]["op_name"]
            times[event["name"]] = min(event["dur"], times.get(event["name"], event["dur"]))
    total = Counter[str]()
    for node, taken in times.items():
        total[kinds[node]] += taken
    return [(kind, taken / total.total()) for kind, taken in total.most_common()]


def _runner(engine: str, precision: str, whole: Call, part: Call, feeds: Arrays) -> Runner:
    def run(images: Picture) -> Candidates:
        return Candidates(*whole({"images": np.ascontiguousarray(images)}))

    return Runner(engine, precision, run, lambda: part(feeds))


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return options


def _onnxruntime(model: bytes, threads: int) -> Call:
    session = ort.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(list(OUTPUTS), dict(feeds))


def _openvino(model: bytes, threads: int, hint: str) -> Call:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()

    def call(feeds: Arrays) -> list[npt.NDArray[Any]]:
        request.infer(dict(feeds), share_inputs=True)
        return [request.get_tensor(name).data.copy() for name in OUTPUTS]

    return call
