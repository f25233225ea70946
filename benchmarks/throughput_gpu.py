"""``throughput.py gpu``: network and decoding in bfloat16 against the GPU's own matrix product."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import throughput_bars as bars
from facesmith import images
from facesmith.runtime import Candidates
from facesmith.runtime.cpus import available_cpus
from throughput_models import Untrained, built
from throughput_stages import Picture, framed, pipeline, read_files

if TYPE_CHECKING:
    from torch import Tensor

    from facesmith.detectors.base import DetectorNetwork

Step = Callable[["Tensor"], tuple["Tensor", "Tensor", "Tensor"]]
SIDES = (4096, 8192, 16384)
"""Of the matrices."""
ONLINE_CALLS = 200


class Variant(NamedTuple):
    """A way to run a batch: ``call`` leaves the result of ``images`` in ``outputs``, both tensors on the GPU."""

    name: str
    images: "Tensor"
    outputs: tuple["Tensor", ...]
    call: Callable[[], object]


class Work(NamedTuple):
    """Of one image: FLOP of the network, and elements that its convolutions read and write."""

    flops: float
    maps: float


@dataclass(frozen=True)
class Gpu:
    """Measure on an NVIDIA GPU with PyTorch: bfloat16, channels last, plain and compiled, as CUDA graphs."""

    images: Path
    """Folder of photographs (JPEG)."""

    model: str | None = None
    """A .safetensors file."""

    untrained: Untrained | None = None
    """A KPNet with random weights in its place: for timing only."""

    size: int = 256
    """Side of the network's square input, pixels."""

    batch: int = 256
    """Images that the network takes at a time, offline."""

    pictures: int = 512
    """How many photographs."""

    rounds: int = 7
    """How often everything is measured."""

    def run(self) -> int:
        """Measure and print."""
        import torch

        if not torch.cuda.is_available():
            raise SystemExit(f"PyTorch {torch.__version__} sees no CUDA device")
        torch.backends.cudnn.benchmark = True
        name, network = built(self.model, self.untrained)
        files = read_files(self.images, self.pictures)
        frames = np.stack([framed(images.read(file), self.size).pixels for file in islice(cycle(files), self.batch)])
        work = counted(network, torch.from_numpy(frames[:1]))
        network = network.cuda().to(memory_format=torch.channels_last)
        product, copy = _product(torch), _copy(torch)
        print(
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}\n"
            f"{name} at {self.size} x {self.size}: {work.flops / 1e9:.2f} GFLOP and, were all fused into the "
            f"convolutions, {work.maps * 2 / 1e6:.0f} MB of maps an image in bf16"
        )
        batch = torch.from_numpy(frames).cuda()
        offline = self._offline(network, batch, product, copy, work)
        online = self._online(network, batch[:1].clone())
        if offline is not None:
            self._pipeline(files, offline[0])
        print("\nbars")
        share, note = (offline[1], f"{offline[0].name}, batch {self.batch}") if offline else (None, "see above")
        if self.batch < 256:
            share, note = None, f"the batch was {self.batch}"
        for bar in (bars.GPU_OFFLINE, bars.GPU_OFFLINE_GOAL):
            print(bar.line(share, note))
        print(bars.GPU_ONLINE.line(online, "wall time of a call with its synchronisation" if online else "see above"))
        for bar in (bars.CPU_FP32, bars.CPU_REDUCED, bars.CPU_RECALL):
            print(bar.line(None, "throughput.py cpu"))
        return 0

    def _offline(
        self, network: "DetectorNetwork", batch: "Tensor", product: "Variant", copy: "Variant", work: Work
    ) -> tuple[Variant, float] | None:
        """Time all variants; the fastest, and its share of the matrix product's rate."""
        amount, found = 2.0 * len(product.images) ** 3, list[tuple[Variant, float]]()
        expected = _reference(network, batch)
        print(f"\n{'batch of ' + str(len(batch)):<30}{'us/image':>10}{'images/s':>10}{'of bf16 product':>17}")
        for variant in _variants(lambda image: step(network, image), batch):
            difference = float((variant.outputs[1] - expected).abs().max())
            pairs = [(_seconds(variant.call), _seconds(product.call)) for _ in range(self.rounds)]
            image = statistics.median(pair[0] for pair in pairs) / len(batch)
            share = statistics.median(work.flops * len(batch) / a / (amount / b) for a, b in pairs)
            found.append((variant, share))
            print(f"  {variant.name:<28}{image * 1e6:>10.1f}{1 / image:>10.0f}{share:>16.1%}", end="")
            print(f"   scores differ from fp32 by {difference:.4f} at most")
        for variant in _variants(lambda image: (network_only(network, image),), batch):
            image = statistics.median(_seconds(variant.call) for _ in range(self.rounds)) / len(batch)
            print(f"  {variant.name + ', no decoding':<28}{image * 1e6:>10.1f}{1 / image:>10.0f}")
        rate = amount / statistics.median(_seconds(product.call) for _ in range(self.rounds))
        bandwidth = 2.0 * copy.images.nbytes / statistics.median(_seconds(copy.call) for _ in range(self.rounds))
        print(
            f"limits: bf16 product of {len(product.images)} {rate / 1e12:.0f} TFLOP/s, "
            f"so {work.flops / rate * 1e6:.1f} us an image; "
            f"copying {bandwidth / 1e9:.0f} GB/s, so {work.maps * 2 / bandwidth * 1e6:.1f} us an image"
        )
        return max(found, key=lambda pair: pair[1]) if found else None

    def _online(self, network: "DetectorNetwork", image: "Tensor") -> float | None:
        """Milliseconds of the fastest variant with a batch of 1, from call to synchronised; median."""
        print(f"\n{'batch of 1':<30}{'GPU ms':>10}{'wall ms':>10}")
        best: float | None = None
        for variant in _variants(lambda one: step(network, one), image):
            busy = statistics.median(_seconds(variant.call) for _ in range(self.rounds)) * 1e3
            wall = statistics.median(_waited(variant.call) for _ in range(ONLINE_CALLS)) * 1e3
            best = min(wall, best or wall)
            print(f"  {variant.name:<28}{busy:>10.3f}{wall:>10.3f}")
        return best

    def _pipeline(self, files: Sequence[bytes], variant: Variant) -> None:
        """From JPEG files to faces, with as many threads as there are CPUs."""
        import torch

        def run(pixels: Picture) -> Candidates:
            variant.images[: len(pixels)].copy_(torch.from_numpy(pixels).pin_memory(), non_blocking=True)
            variant.call()
            return Candidates(*(tensor[: len(pixels)].float().cpu().numpy() for tensor in variant.outputs))

        workers, count = available_cpus(), 8 * self.batch
        start = time.perf_counter()
        for _ in pipeline(islice(cycle(files), count), run, side=self.size, batch=self.batch, workers=workers):
            pass
        rate = count / (time.perf_counter() - start)
        print(f"\npipeline from JPEG to faces, {variant.name}, {workers} CPU threads: {rate:.0f} images/s")


def step(network: "DetectorNetwork", batch: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """The network in bfloat16, the decoding of its maps in float32: (B, H, W, 3) uint8 -> candidates."""
    import torch
    from torch.utils import _pytree

    maps = network_only(network, batch)
    return network.decode(_pytree.tree_map_only(torch.Tensor, lambda one: one.float(), maps))


def network_only(network: "DetectorNetwork", batch: "Tensor") -> Any:
    """:func:`step` without decoding: raw maps."""
    import torch

    with torch.autocast(batch.device.type, torch.bfloat16, cache_enabled=False):
        return network(batch.permute(0, 3, 1, 2))


def counted(network: "DetectorNetwork", image: "Tensor") -> Work:
    """What the network does to (1, H, W, 3) ``image``, counted while it does it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    maps = list[int]()

    def hook(_: Any, inputs: tuple["Tensor"], output: "Tensor") -> None:
        maps.append(inputs[0].numel() + output.numel())

    hooks = [one.register_forward_hook(hook) for one in network.modules() if isinstance(one, torch.nn.Conv2d)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image.permute(0, 3, 1, 2))
    for one in hooks:
        one.remove()
    return Work(float(counter.get_total_flops()), float(sum(maps)))


def _variants(function: Callable[["Tensor"], Any], batch: "Tensor") -> Iterator[Variant]:
    """``function`` as it is and compiled, both as CUDA graphs, and compiled alone; what fails is said."""
    import torch
    from torch._inductor import config

    config.freezing = True  # folds normalisation and the weights' casts
    compiled = torch.compile(function, dynamic=False)
    for name, one in (("plain, CUDA graph", function), ("compiled", compiled), ("compiled, CUDA graph", compiled)):
        make = _captured if name.endswith("graph") else _warm
        try:
            yield make(name, torch.no_grad()(one), batch)
        except Exception as error:  # compilers and drivers have many kinds
            print(f"  {name:<28}not measured: {str(error).strip().splitlines()[0][:120]}")


def _warm(name: str, function: Callable[["Tensor"], Any], batch: "Tensor") -> Variant:
    import torch

    outputs = [function(batch) for _ in range(3)][-1]
    torch.cuda.synchronize()
    held = tuple(outputs)

    def call() -> None:
        for target, source in zip(held, function(batch), strict=True):
            if hasattr(target, "copy_"):
                target.copy_(source)

    return Variant(name, batch, held, call)


def _captured(name: str, function: Callable[["Tensor"], Any], batch: "Tensor") -> Variant:
    """Warmed up on a stream of its own, as capturing demands."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function(batch)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(batch)
    graph.replay()
    torch.cuda.synchronize()
    return Variant(name, batch, tuple(outputs), graph.replay)


def _reference(network: "DetectorNetwork", batch: "Tensor") -> "Tensor":
    """Scores in float32."""
    import torch

    with torch.no_grad():
        parts = [network.decode(network(one.permute(0, 3, 1, 2)))[1] for one in batch.split(32)]
    return torch.cat(parts)


def _product(torch: Any) -> Variant:
    """The bf16 matrix product of the size with the best rate."""
    best: tuple[float, Variant] | None = None
    for n in SIDES:
        a = torch.randn(n, n, device="cuda", dtype=torch.bfloat16)
        b, target = torch.randn_like(a), torch.empty_like(a)
        variant = Variant(f"{n}", a, (target,), lambda a=a, b=b, target=target: torch.mm(a, b, out=target))
        rate = 2.0 * n**3 / min(_seconds(variant.call) for _ in range(3))
        best = max((rate, variant), best or (0.0, variant), key=lambda pair: pair[0])
    assert best is not None
    return best[1]


def _copy(torch: Any) -> Variant:
    source = torch.ones(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return Variant("copy", source, (target,), lambda: target.copy_(source))


def _seconds(call: Callable[[], object], least: float = 0.05) -> float:
    """Seconds a call by CUDA events, over as many calls as take about ``least`` seconds."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def timed(count: int) -> float:
        start.record()
        for _ in range(count):
            call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3

    once = timed(1)
    count = max(1, int(least / max(once, 1e-6)))
    return timed(count) / count


def _waited(call: Callable[[], object]) -> float:
    """Seconds of one call by the wall clock, with its synchronisation."""
    import torch

    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start
