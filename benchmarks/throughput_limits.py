"""What the machine could do at best: a large matrix product in each precision, and copying memory.

No figure of a data sheet: whatever else runs on the machine slows these down as it slows a network down. Several
libraries multiply, at several sizes; the fastest is the limit.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

SIDES = (512, 1024, 2048)
"""Sides of the matrices; the larger ones do not fit into a core's own cache."""

SECONDS = 0.05
"""A limit is measured for about as long each time."""


class Limit(NamedTuple):
    """Something the machine does as fast as it can: ``amount`` of FLOP or bytes a call."""

    name: str
    amount: float
    call: Callable[[], object]


class Clock:
    """Seconds: of the process's CPU time for one thread (what it would take on an idle machine), else of the wall."""

    def __init__(self, threads: int) -> None:
        self.now = time.process_time if threads == 1 else time.perf_counter
        self.name = "CPU time" if threads == 1 else "wall time"

    def __call__(self, call: Callable[[], object]) -> float:
        """How long ``call`` takes."""
        start = self.now()
        call()
        return self.now() - start


def keep_to(threads: int) -> None:
    """Keep this process to as many CPUs, so that no library takes more; call before threads start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def rate(limit: Limit, clock: Clock) -> float:
    """FLOP or bytes a second, over about :data:`SECONDS`."""
    calls, taken = 0, 0.0
    while taken < SECONDS:
        taken += clock(limit.call)
        calls += 1
    return limit.amount * calls / taken


def fastest(limits: Iterator[Limit], clock: Clock) -> Limit | None:
    """The one with the best rate of three; ``None`` where there are none."""
    best: tuple[float, Limit] | None = None
    for limit in limits:
        limit.call()
        found = max(rate(limit, clock) for _ in range(3))
        best = max((found, limit), best or (0.0, limit), key=lambda pair: pair[0])
    return best[1] if best else None


def products(precision: str, threads: int) -> Iterator[Limit]:
    """Matrix products of ``fp32``, ``bf16`` or ``int8`` by every library that is here and can."""
    for n in SIDES:
        if precision != "bf16":
            yield Limit(f"onnxruntime, {n}", 2.0 * n**3, _onnxruntime(n, threads, integers=precision == "int8"))
        if precision == "fp32":
            yield Limit(f"numpy, {n}", 2.0 * n**3, _numpy(n))
        yield from (Limit(f"{name}, {n}", 2.0 * n**3, call) for name, call in _torch(n, precision, threads))


def memory(threads: int) -> Limit:
    """Copying 256 MB: bytes read and written."""
    source = np.ones((threads, (1 << 26) // threads), np.float32)
    target = np.empty_like(source)
    pool = ThreadPoolExecutor(threads)

    def copy() -> object:
        return list(pool.map(np.copyto, target, source)) if threads > 1 else np.copyto(target, source)

    return Limit("copy of 256 MB", 2.0 * source.nbytes, copy)


def _numpy(n: int) -> Callable[[], object]:
    a = np.random.default_rng(0).standard_normal((n, n), np.float32)
    return lambda: a @ a


def _onnxruntime(n: int, threads: int, *, integers: bool) -> Callable[[], object]:
    """The right-hand matrix is constant, as a network's weights are."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    left: npt.NDArray[np.generic] = rng.standard_normal((n, n), np.float32)
    right: npt.NDArray[np.generic] = rng.standard_normal((n, n), np.float32)
    kind, source, sums = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
    if integers:
        left, right = rng.integers(0, 256, (n, n), np.uint8), rng.integers(-127, 128, (n, n), np.int8)
        kind, source, sums = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(kind, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", source, [n, n])],
        [helper.make_tensor_value_info("product", sums, [n, n])],
        [numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"left": left})


def _torch(n: int, precision: str, threads: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """torch's plain product, and oneDNN's with weights packed (on some CPUs MKL, behind the plain one, is slow)."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(threads)
    if precision == "int8":
        integers = torch.randint(-127, 128, (n, n), dtype=torch.int8)
        yield "torch", lambda: torch._int_mm(integers, integers)
        return
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    matrix = torch.randn(n, n, dtype=kind)
    yield "torch", lambda: matrix @ matrix
    if precision == "fp32" and torch.backends.mkldnn.is_available():
        from torch.utils import mkldnn

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch is about to move this elsewhere
            packed = mkldnn.to_mkldnn(torch.nn.Linear(n, n, bias=False).eval())
        left = matrix.to_mkldnn()

        def product() -> object:
            with torch.inference_mode():
                return packed(left)

        yield "torch (oneDNN)", product
