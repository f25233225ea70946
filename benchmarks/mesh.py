"""Speed of RetinaFace's mesh decoder and renderer; the bar is Zhou et al.'s 2,500 faces a second on a GPU.

    python benchmarks/mesh.py                       # this CPU, one thread: PyTorch and onnxruntime
    python benchmarks/mesh.py --device cuda --compiled   # a GPU: eager, as one CUDA graph, and compiled (Triton)
    python benchmarks/mesh.py --decoder mesh-decoder.safetensors

``decode`` is (B, 128) parameters to (B, n, 6) coloured meshes; ``draw`` is meshes to pictures as in training,
forward and backward; its shapes depend on what is seen, so it is not compiled. ``--compiled`` adds ``torch.compile``,
which takes minutes (on a CPU it needs a C++ compiler). On a CPU the process's own CPU time is taken, which other work
on the machine disturbs least; what is printed is the best of several rounds. Without ``--decoder`` weights are random:
the speed is the same.
Needs ``pip install facesmith[export]``.
"""

import io
import logging
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import tyro
from torch import Tensor

from facesmith.detectors.retinaface.mesh.camera import CAMERA_PARAMETERS, Camera
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.detectors.retinaface.mesh.lighting import ILLUMINATION_PARAMETERS, Illumination
from facesmith.detectors.retinaface.mesh.pretrained import load_decoder
from facesmith.detectors.retinaface.mesh.renderer import Renderer
from facesmith.runtime.torch_session import torch_device

BAR = 2500.0
"""Faces a second on a GPU (Zhou et al. 2019)."""

_LEAST_SECONDS = 0.2
"""A round repeats a call until it has taken so long."""

Call = Callable[[], object]


@dataclass(frozen=True)
class MeshSpeed:
    """Time the mesh decoder."""

    decoder: Path | None = None
    """weights that mesh_autoencoder wrote; random ones by default"""
    device: str = "cpu"
    """cpu (one thread), cuda or cuda:N"""
    batches: tuple[int, ...] = (1, 32, 256)
    """faces at a time"""
    rounds: int = 5
    """how often everything is timed"""
    picture: int = 64
    """side of the pictures that are drawn, pixels"""
    compiled: bool = False
    """time the compiled decoder too"""

    def run(self) -> None:
        """Measure and print."""
        device = torch_device(self.device)
        torch.set_num_threads(1)
        torch.manual_seed(0)
        decoder = MeshDecoder() if self.decoder is None else load_decoder(self.decoder)[0]
        decoder = decoder.eval().requires_grad_(False).to(device)
        weights = sum(parameter.numel() for parameter in decoder.parameters())
        cuda = device.type == "cuda"
        where = torch.cuda.get_device_name(device) if cuda else f"{platform.machine()} CPU, one thread"
        print(f"{where}; {len(decoder.mean):,} vertices, {weights:,} weights; faces a second")
        session = None if cuda else onnx_session(decoder)
        for batch in self.batches:
            parameters = torch.randn(batch, decoder.config.latent, device=device)
            calls: dict[str, Call] = {"decode with torch": lambda given=parameters: decoder(given)}
            if session is None:
                calls["decode as a CUDA graph"] = graphed(decoder, parameters)
            else:
                calls["decode with onnxruntime"] = checked(session, decoder, parameters)
            if self.compiled:
                calls["decode compiled"] = compiled(decoder, parameters)
            calls[f"draw {self.picture} px and back"] = drawing(decoder, parameters, self.picture)
            rounds = [{name: seconds(call, device) for name, call in calls.items()} for _ in range(self.rounds)]
            speeds = {name: batch / min(one[name] for one in rounds) for name in calls}
            print(f"batch {batch:>3}: " + ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items()))
            best = max(speed for name, speed in speeds.items() if name.startswith("decode"))
            print(f"{'':>11}{best / BAR:.2f} x the bar of {BAR:,.0f} faces/s on a GPU", flush=True)


def seconds(call: Call, device: torch.device) -> float:
    """Of one call; repeated until a round is long enough to be timed."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    call()
    repeats, taken = 0, 0.0
    start = clock()
    while taken < _LEAST_SECONDS:
        call()
        if cuda:
            torch.cuda.synchronize(device)
        repeats += 1
        taken = clock() - start
    return taken / repeats


def onnx_session(decoder: MeshDecoder) -> onnxruntime.InferenceSession:
    """The decoder in onnxruntime on one thread, for batches of any size."""
    example = torch.zeros(2, decoder.config.latent)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            decoder, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
        )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])


def checked(session: onnxruntime.InferenceSession, decoder: MeshDecoder, parameters: Tensor) -> Call:
    """A call of ``session``, once it has been seen to agree with PyTorch."""
    feed = {session.get_inputs()[0].name: parameters.numpy()}
    found, expected = session.run(None, feed)[0], decoder(parameters).numpy()
    if not np.allclose(found, expected, atol=1e-4):
        raise SystemExit(f"onnxruntime and PyTorch differ by {np.abs(found - expected).max():.2g}")
    return lambda: session.run(None, feed)


def compiled(decoder: MeshDecoder, parameters: Tensor) -> Call:
    """The decoder compiled for this batch, once it has been seen to agree with itself."""
    mode = "reduce-overhead" if parameters.is_cuda else "default"
    fast = torch.compile(decoder, fullgraph=True, dynamic=False, mode=mode)
    away = (fast(parameters) - decoder(parameters)).abs().max().item()
    if not away < 1e-4:
        raise SystemExit(f"the compiled decoder differs by {away:.2g}")
    return lambda: fast(parameters)


def graphed(decoder: MeshDecoder, parameters: Tensor) -> Call:
    """The decoder captured once and replayed: what it costs without Python's share."""
    stream = torch.cuda.Stream(parameters.device)
    with torch.cuda.stream(stream):
        for _ in range(3):
            decoder(parameters)
    torch.cuda.synchronize(parameters.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = decoder(parameters)

    def replay() -> Tensor:
        graph.replay()
        return kept  # the graph's output must not be freed

    return replay


def drawing(decoder: MeshDecoder, parameters: Tensor, size: int) -> Call:
    """Meshes to pictures and gradients back to vertices, colours, camera and light."""
    renderer = Renderer(decoder.config.topology.finest).to(parameters.device)
    faces = decoder(parameters).requires_grad_()
    camera, light = (
        torch.zeros(len(faces), count, device=parameters.device, requires_grad=True)
        for count in (CAMERA_PARAMETERS, ILLUMINATION_PARAMETERS)
    )

    def draw() -> object:
        view, lamp = Camera.from_parameters(camera), Illumination.from_parameters(light)
        return torch.autograd.grad(renderer(faces, view, lamp, size).colours.sum(), (faces, camera, light))

    return draw


if __name__ == "__main__":
    tyro.cli(MeshSpeed).run()
