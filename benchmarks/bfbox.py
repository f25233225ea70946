"""Studies of BFBox, one command each; whatever was trained before in --out is not trained again.

    python benchmarks/bfbox.py speed                                    seconds of a supernet's step and of a score
    python benchmarks/bfbox.py blocks --data DIR --out DIR              Table 3: a backbone of each kind of block
    python benchmarks/bfbox.py pyramids --data DIR --out DIR            Tables 1 and 6: FPN, IFPN, FEM
    python benchmarks/bfbox.py depth --data DIR --out DIR               Table 5: FDB(1) to FDB(4), the plain network
    python benchmarks/bfbox.py nets --nets joint=runs/a/best.json …     Tables 7 and 8: what searches found
    python benchmarks/bfbox.py rank --search runs/a --data DIR          supernet score against stand-alone training

Each network is trained from scratch for --steps by one recipe and judged on held-out training photographs, as the
search judges its candidates: AP over all faces, and for each pyramid layer the AP of its own detections on the faces
that are nearest to its anchor. (How the paper's Table 1 assigns faces to layers is not said.) The paper's tables are of
WIDER val and of the paper's widths; these are of the ``tiny`` preset, and compare only with each other.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from scipy.stats import kendalltau, spearmanr

from facesmith.detectors.bfbox.architecture import PYRAMIDS, STAGES, Architecture
from facesmith.detectors.bfbox.config import BFBoxConfig, uniform
from facesmith.detectors.bfbox.model import BFBox
from facesmith.detectors.bfbox.space import TINY, uniform_path
from facesmith.detectors.bfbox.supernet import Supernet, SupernetConfig
from facesmith.detectors.weights import read_description
from facesmith.evaluation.widerface.average_precision import match, precision_recall
from facesmith.evaluation.widerface.truth import Truth
from facesmith.search.bfbox.costs import detector_cost
from facesmith.search.bfbox.pictures import Pictures, PicturesConfig, find_photographs, hold_out, make_pictures
from facesmith.search.bfbox.scoring import average_precision, detections, recalibrate
from facesmith.search.record import CANDIDATES, read_candidates
from facesmith.training.ddp import Process
from facesmith.training.loop import train
from facesmith.training.memory import keep_freed_memory
from facesmith.training.recipes.bfbox_supernet import SUPERNETS

LAYERS = tuple(f"p{stage}" for stage in STAGES)


@dataclass(frozen=True)
class Bench:
    """How networks are trained and judged."""

    data: Path
    """Training photographs."""

    out: Path = Path("runs/bench-bfbox")
    """Folder of the trainings."""

    cache: Path | None = None
    """Folder of decoded pixels."""

    steps: int = 600
    """Of each training."""

    validation: int = 200
    """Images that judge; they are kept out of the training."""

    side: int = 192
    """Of the windows that judge."""

    threads: int = 1
    """CPU threads."""

    seed: int = 0
    """Of weights, batches, windows."""

    def table(self, networks: Mapping[str, BFBoxConfig]) -> dict[str, float]:
        """Train and judge; print a row a network; AP by name."""
        keep_freed_memory()
        torch.set_num_threads(self.threads)
        training, held_out = hold_out(find_photographs(self.data), self.validation)
        config = PicturesConfig(1, self.validation, self.side, self.seed)
        recipe = SUPERNETS["tiny"]
        pictures = make_pictures(training, held_out, config, recipe.batch.augment, cache=self.cache)
        recipe = replace(recipe, steps=self.steps, seed=self.seed)
        print("".join(f"{title:>9}" for title in ("AP", *LAYERS, "MMACs", "kparams")))
        figures = {}
        for name, config_of_net in networks.items():
            torch.manual_seed(self.seed)
            folder = self.out / name
            net = train(BFBox(config_of_net), training, recipe, folder, process=Process.start("cpu"), cache=self.cache)
            layers = [layer_precision(net, pictures, layer) for layer in range(len(STAGES))]
            figures[name] = average_precision(net, pictures)
            cost = detector_cost(config_of_net)
            row = [100 * value for value in (figures[name], *layers)] + [cost.macs / 1e6, cost.parameters / 1e3]
            print("".join(f"{value:9.2f}" for value in row), f" {name}", flush=True)
        return figures


@torch.inference_mode()
def layer_precision(net: BFBox, pictures: Pictures, layer: int) -> float:
    """AP of the detections of one layer on the faces whose side is nearest, in ratio, to its anchor."""
    anchors = np.log2([net.detector.anchor * 2**stage for stage in STAGES])
    sides = np.log2(np.maximum(pictures.truth.sizes, 1))
    mine = np.abs(sides[:, None] - anchors).argmin(axis=1) == layer
    counted = mine & pictures.truth.subsets["all"]
    if not counted.any():
        return float("nan")
    found = detections(net, pictures, silenced=[other for other in range(len(STAGES)) if other != layer])
    return precision_recall(match(found, pictures.truth), counted).average_precision


@dataclass(frozen=True)
class Blocks:
    """Table 3: in the two shallow stages one kind of block, elsewhere 3×3 bottlenecks, with the plain pyramid."""

    bench: Annotated[Bench, tyro.conf.arg(name="")]
    kinds: tuple[str, ...] = ("k3", "k5", "k7", "k9", "dw3", "dw5", "dw7", "dw9", "dw35", "dw37", "dw57", "dense2x8")
    """Kinds of blocks."""

    def run(self) -> None:
        """Print the table."""
        deep = uniform("k3", (2, 2, 1, 1))
        self.bench.table(
            {kind: replace(TINY.detector, architecture=f"{kind},{kind}/{kind},{kind}/{deep}") for kind in self.kinds}
        )


@dataclass(frozen=True)
class Pyramids:
    """Tables 1 and 6: pyramids made by hand on the plain backbone."""

    bench: Annotated[Bench, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Print the table."""
        backbone = Architecture.parse(TINY.detector.architecture).backbone
        plain = replace(TINY.detector, attention=False)
        nets = {name: replace(plain, architecture=f"{backbone} {text}") for name, text in PYRAMIDS.items()}
        nets["fpn without receptive fields"] = replace(nets["fpn"], receptive_field=False)
        nets["fpn with attention"] = replace(nets["fpn"], attention=True)
        self.bench.table(nets)


@dataclass(frozen=True)
class Depth:
    """Table 5's question, on networks made by hand: more blocks in the shallow stages, or in the deep ones."""

    bench: Annotated[Bench, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Print the table."""
        nets = {f"shallow {k}": uniform("k3", (k, k, 2, 2, 1, 1)) for k in (1, 2, 3, 4)}
        nets |= {f"deep {k}": uniform("k3", (2, 2, k, k, 1, 1)) for k in (1, 3, 4)}
        self.bench.table({name: replace(TINY.detector, architecture=text) for name, text in nets.items()})


@dataclass(frozen=True)
class Nets:
    """Tables 7 and 8: the networks that searches found, and the plain one."""

    bench: Annotated[Bench, tyro.conf.arg(name="")]
    nets: tuple[str, ...] = ()
    """NAME=best.json of each search."""

    def run(self) -> None:
        """Print the table."""
        given = {name: Path(path) for name, _, path in (net.partition("=") for net in self.nets)}
        self.bench.table({"plain": TINY.detector} | {name: read_description(path)[1] for name, path in given.items()})


@dataclass(frozen=True)
class Rank:
    """Whether the supernet's score orders networks as short trainings of their own do."""

    bench: Annotated[Bench, tyro.conf.arg(name="")]
    search: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/search-bfbox/joint")
    """Folder of a search's candidates.tsv."""
    count: int = 8
    """Networks: the best, the worst, and others evenly between them by rank."""
    attention: bool = True
    """Whether they have attention; the joint method's have."""

    def run(self) -> None:
        """Print table and correlation."""
        scores, _, nets = read_candidates(self.search / CANDIDATES)
        order = np.argsort(scores, kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, self.count).round().astype(int)]
        detector = replace(TINY.detector, attention=self.attention)
        figures = self.bench.table({f"rank {i}": replace(detector, architecture=nets[i]) for i in chosen})
        ours = [scores[i] for i in chosen]
        alone = list(figures.values())
        for name, values in (("supernet", ours), ("alone", alone)):
            print(f"{name} {100 * min(values):.2f} … {100 * max(values):.2f}")
        print(f"Spearman {spearmanr(ours, alone)[0]:.2f}, Kendall {kendalltau(ours, alone)[0]:.2f}")


@dataclass(frozen=True)
class Speed:
    """CPU seconds of one process, on pictures of noise: other work on the machine matters little."""

    images: int = 16
    side: int = 256
    steps: int = 10
    nets: int = 5

    def run(self) -> None:
        """Print them."""
        torch.set_num_threads(1)
        rng = np.random.default_rng(0)
        net = Supernet(SupernetConfig(TINY)).train()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        batch = torch.from_numpy(rng.integers(0, 256, (self.images, 3, self.side, self.side), np.uint8))
        steps = [cpu_time(lambda: _step(net, batch)) for _ in range(self.steps + 2)][2:]
        print(f"step of {self.images} x {self.side}²: {np.mean(steps):.2f} s ({min(steps):.2f} … {max(steps):.2f})")
        recalibration, validation = (rng.integers(0, 256, (n, 192, 192, 3), np.uint8) for n in (500, 200))
        pictures = Pictures(
            recalibration, validation, Truth((), np.zeros((0, 4), np.float32), np.zeros(1, np.int64), {}, {}, None)
        )
        scores = []
        for k in range(self.nets):
            model = net.network(uniform_path(TINY.space, 0, k))
            scores.append(cpu_time(lambda: _score(model, pictures)))  # noqa: B023 - called at once
        print(f"score on 500 + 200 x 192²: {np.mean(scores):.2f} s ({min(scores):.2f} … {max(scores):.2f})")


def _step(net: Supernet, batch: torch.Tensor) -> None:
    net.zero_grad(set_to_none=True)
    maps = net(batch)
    (maps.logits.mean() + maps.boxes.mean() + maps.landmarks.mean()).backward()


def _score(model: BFBox, pictures: Pictures) -> None:
    recalibrate(model, pictures)
    detections(model, pictures)


def cpu_time(call: Callable[[], None]) -> float:
    """Seconds of this process."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    tyro.cli(
        Annotated[Blocks, tyro.conf.subcommand("blocks")]
        | Annotated[Pyramids, tyro.conf.subcommand("pyramids")]
        | Annotated[Depth, tyro.conf.subcommand("depth")]
        | Annotated[Nets, tyro.conf.subcommand("nets")]
        | Annotated[Rank, tyro.conf.subcommand("rank")]
        | Annotated[Speed, tyro.conf.subcommand("speed")]
    ).run()
