"""DamoFD's search the plain way: text in, text out, an object a layer, everything counted afresh.

An independent second implementation, to check the package's against and to compare its speed with. It shares
no code with the package; only the order in which random numbers are drawn is the same.
"""

import math
import random
import re
from dataclasses import dataclass
from itertools import pairwise

STAGE = re.compile(r"([A-Z0-9]+)\(([\d,]+)\)")


@dataclass
class Layer:
    """A convolution with batch normalisation."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    groups: int
    bias: bool = False

    def resolution(self, before: int) -> int:
        return math.ceil(before / self.stride)

    def macs(self, before: int) -> int:
        positions = self.resolution(before) ** 2
        return positions * (self.weights() + self.out_channels)

    def weights(self) -> int:
        return self.kernel * self.kernel * self.in_channels * self.out_channels // self.groups

    def parameters(self) -> int:
        return self.weights() + 2 * self.out_channels + (self.out_channels if self.bias else 0)


@dataclass
class Block:
    """Layers in a row, with or without a projected shortcut."""

    layers: list[Layer]
    projection: Layer | None

    def macs(self, resolution: int) -> tuple[int, int]:
        total = self.projection.macs(resolution) if self.projection else 0
        for layer in self.layers:
            total += layer.macs(resolution)
            resolution = layer.resolution(resolution)
        return total, resolution

    def parameters(self) -> int:
        extra = [self.projection] if self.projection else []
        return sum(layer.parameters() for layer in self.layers + extra)


def stages(text: str) -> list[tuple[str, list[int]]]:
    return [(name, [int(n) for n in numbers.split(",")]) for name, numbers in STAGE.findall(text)]


def blocks(name: str, numbers: list[int]) -> list[Block]:
    in_channels, out, stride, *rest = numbers
    made = []
    if len(rest) == 1:
        for _ in range(rest[0]):
            made.append(Block([Layer(in_channels, out, int(name[1:]), stride, 1)], None))
            in_channels, stride = out, 1
        return made
    mid, sublayers = rest
    for index in range(sublayers):
        shortcut = Layer(in_channels, out, 1, stride, 1, True) if index == 0 else None
        if name.startswith("IDWE"):
            expansion, k = (int(n) for n in name[4:].split("K"))
            wide, wider = expansion * mid, expansion * out
            entry = index == 0 or in_channels != mid
            first = [
                Layer(in_channels, wide, 1, 1, 1),
                Layer(wide, wide, k, stride, wide),
                Layer(wide, mid, 1, 1, 1),
            ]
            second = [
                Layer(mid, wider, 1, 1, 1),
                Layer(wider, wider, k, 1, wider),
                Layer(wider, out, 1, 1, 1),
            ]
            made.append(Block(first, Layer(in_channels, mid, 1, stride, 1, True) if entry else None))
            made.append(Block(second, Layer(mid, out, 1, 1, 1, True) if mid != out else None))
        elif name.startswith("K1K"):
            k = int(name.split("K")[2])
            for unit_in, unit_stride, projection in ((in_channels, stride, shortcut), (out, 1, None)):
                layers = [
                    Layer(unit_in, mid, 1, 1, 1),
                    Layer(mid, mid, k, unit_stride, 1),
                    Layer(mid, out, 1, 1, 1),
                ]
                made.append(Block(layers, projection))
        else:
            k = int(name.split("K")[1])
            made.append(Block([Layer(in_channels, mid, k, stride, 1), Layer(mid, out, k, 1, 1)], shortcut))
        in_channels, stride = out, 1
    return made


def macs(text: str, resolution: int = 224) -> int:
    total = 0
    for name, numbers in stages(text):
        for block in blocks(name, numbers):
            cost, resolution = block.macs(resolution)
            total += cost
    return total


def parameters(text: str) -> int:
    return sum(block.parameters() for stage in stages(text) for block in blocks(*stage))


def stage_scores(text: str, alpha: float, h: float = 224) -> list[float]:
    """SAR of every stage, entry by entry of the table of "pre" and "post" widths."""
    scores = []
    for name, (in_channels, out, stride, *rest) in stages(text):
        mid, sublayers = rest if len(rest) == 2 else (0, rest[0])
        a, b, c = math.log(h * h * 3), 0.0, 0
        for _ in range(sublayers):
            if len(rest) == 1:
                before, after, kernels = [in_channels], [], int(name[1:])
            elif name.startswith("IDWE"):
                expansion, k = (int(n) for n in name[4:].split("K"))
                dw = expansion * mid
                before, after, kernels = [in_channels, dw], [dw, mid, dw, dw], 2 * k + 4
            elif name.startswith("K1K"):
                before, after = [in_channels, mid], [mid, out, mid, mid]
                kernels = 2 * int(name.split("K")[2]) + 4
            else:
                before, after, kernels = [in_channels], [mid], 2 * int(name.split("K")[1])
            for width in before:
                b += h * h * 3 * math.log(width / 3)
            if stride == 2:
                h, stride = h / 2, 1
            for width in after:
                b += h * h * 3 * math.log(width / 3)
            c += kernels
            in_channels = out
        scores.append(math.log(a + b) + alpha * c)
    return scores


def score(text: str, alpha: float, weights: tuple[float, ...] = (0.2, 0.27, 0.25, 0.18, 0.1)) -> float:
    return sum(w * s for w, s in zip(weights, stage_scores(text, alpha), strict=True))


@dataclass
class Options:
    """What mutations choose from."""

    names: list[str]
    out: tuple[list[float], int]  # factors, clip
    mid: tuple[list[float], int]


MOBILE = Options(
    [f"IDWE{e}K{k}" for k in (3, 5, 7) for e in (1, 2, 4, 6)],
    ([2.5, 2, 1.5, 1.25, 1], 128),
    ([2.5, 2, 1.5, 1.25, 1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5], 10**9),
)
RESIDUAL = Options(
    ["K1K3K1", "K1K5K1", "K1K7K1", "K3K3", "K5K5", "K7K7"],
    ([2, 1.75, 1.5, 1.25, 1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5], 1024),
    ([2.5, 2, 1.5, 1.25, 1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5], 256),
)


def choices(width: int, factors: list[float], most: int) -> list[int]:
    clipped = [min(most, max(8, width * factor)) for factor in factors]
    return sorted({8 * round(value / 8) for value in clipped})


def mutate(text: str, replacements: int, options: Options, rng: random.Random) -> str:
    parts = stages(text)
    drawn = []
    for _ in range(replacements):
        index = 1 + int(4 * rng.random())
        if index not in drawn:
            drawn.append(index)
    for index in sorted(drawn):
        _, (in_channels, out, stride, mid, sublayers) = parts[index]
        name = options.names[int(len(options.names) * rng.random())]
        outs = choices(out, *options.out)
        out = outs[int(len(outs) * rng.random())]
        mids = choices(mid, *options.mid)
        mid = mids[int(len(mids) * rng.random())]
        counts = sorted({max(1, sublayers + step) for step in (-2, -1, 0, 1, 2)})
        sublayers = counts[int(len(counts) * rng.random())]
        parts[index] = (name, [in_channels, out, stride, mid, sublayers])
    for before, (_, numbers) in pairwise(parts):
        numbers[0] = before[1][1]
    return "".join(f"{name}({','.join(map(str, numbers))})" for name, numbers in parts)


def search(
    initial: str,
    options: Options,
    *,
    budget: float,
    max_layers: int,
    alpha: float,
    iterations: int,
    population: int,
    seed: int,
) -> tuple[list[str], list[float]]:
    """The published loop: the final pool, oldest first, and its scores."""
    rng = random.Random(seed)
    nets: list[str] = []
    scores: list[float] = []
    for _ in range(iterations):
        while len(nets) > population:
            lowest = scores.index(min(scores))
            del nets[lowest], scores[lowest]
        if len(nets) > 10:
            net = mutate(nets[int(len(nets) * rng.random())], 2, options, rng)
        else:
            net = mutate(initial, 1, options, rng)
        sublayers = [numbers[-1] for _, numbers in stages(net)]
        if max(sublayers[1:]) >= 6 or sum(sublayers) > max_layers or macs(net) > budget:
            continue
        nets.append(net)
        scores.append(round(score(net, alpha), 9))
    while len(nets) > population:
        lowest = scores.index(min(scores))
        del nets[lowest], scores[lowest]
    return nets, scores
