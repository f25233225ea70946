"""Does the search's score order networks as training does?

    facesmith search damofd --flops 0.5G --out runs/search
    python benchmarks/damofd.py backbones --search runs/search --data TRAIN --dev DEV
    python benchmarks/damofd.py ranks --search runs/search --data TRAIN --dev DEV

``backbones``: the released net, the one that the search found at the same budget, and MobileNet-0.25, each in the same
framework (PAFPN, head, losses) and by the same short recipe. ``ranks``: nets from over the whole range of scores that
the search saw, trained very briefly; rank correlation of each zero-cost score with their average precision. TRAIN and
DEV hold unpacked photographs and labels. Results, with hardware and times: docs/results.md.

Runs that were finished are not repeated; a killed command goes on where it was.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from scipy.stats import kendalltau, spearmanr
from torch import nn

from facesmith import configs, files
from facesmith.detectors.damofd.config import RELEASED, Backbone, DamoFDConfig
from facesmith.detectors.damofd.model import DamoFD, Stages
from facesmith.detectors.parts.mobilenet_config import MobileNetConfig
from facesmith.detectors.weights import load_model, read_description
from facesmith.search.budgets import BackboneMacs, DetectorParameters
from facesmith.search.ddsar import DDSAR
from facesmith.search.record import read_candidates
from facesmith.search.results import BEST
from facesmith.search.zero_cost import BackboneScore, naswot, synflow, zen_score
from facesmith.training.validation import validator

SUBSETS = ("easy", "medium", "hard")


@dataclass(frozen=True)
class ShortTraining:
    """The recipe ``damofd-0.5g``, cut short, and where its photographs are."""

    search: Path
    """The folder of a finished `facesmith search`."""

    data: Path
    """Training photographs and label files, unpacked."""

    dev: Path
    """Development photographs: widerface-val/ unpacked, and ground-truth/."""

    steps: int
    """Steps of each net."""

    images: int = 16
    """Images a step."""

    side: int = 320
    """Side of the training windows in pixels."""

    out: Path = Path("runs/damofd-study")
    """Folder of the runs."""

    cache: Path | None = None
    """Folder in which decoded pixels are kept."""

    jobs: int = 1
    """Nets trained side by side, one thread each."""

    def figures(self, nets: Mapping[str, DamoFDConfig]) -> dict[str, dict[str, float]]:
        """AP at VGA size of each net after its training, by subset of WIDER FACE."""
        with ThreadPoolExecutor(self.jobs) as pool:
            trained = list(pool.map(self._trained, nets, nets.values()))
        return {name: self._judged(name, path) for name, path in zip(nets, trained, strict=True)}

    def _folder(self, name: str) -> Path:
        return self.out / f"{name}-{self.steps}x{self.images}x{self.side}"

    def _trained(self, name: str, net: DamoFDConfig) -> Path:
        folder = self._folder(name)
        described = folder / "net.json"
        files.write_text(described, json.dumps({"name": name, "detector": "damofd", "config": configs.to_json(net)}))
        weights = folder / f"{name}.safetensors"
        if not weights.exists():
            command = [sys.executable, "-m", "facesmith", "train", "damofd-0.5g", "--model", described]
            command += ["--data", self.data, "--out", folder, "--threads", 1, "--train.workers", 1]
            command += ["--train.steps", self.steps, "--train.batch.images", self.images]
            command += ["--train.batch.sides", self.side]
            command += ["--cache", self.cache] if self.cache else []
            with (folder / "train.log").open("w") as log:
                subprocess.run([*map(str, command)], check=True, stdout=log, stderr=log, env={**os.environ})
        return weights

    def _judged(self, name: str, weights: Path) -> dict[str, float]:
        result = self._folder(name) / "figures.json"
        if not result.exists():
            judge = validator(
                self.dev / "ground-truth",
                self.dev / "widerface-val",
                out=self._folder(name) / "judged.safetensors",
                name=name,
                threads=1,
            )
            files.write_text(result, json.dumps(judge(load_model(weights))))
        figures: dict[str, float] = json.loads(result.read_text())
        return {subset: figures[f"AP {subset}"] for subset in SUBSETS}


@dataclass(frozen=True)
class Backbones(ShortTraining):
    """The released, the searched and the MobileNet-0.25 backbone, in one framework and by one short recipe."""

    steps: int = 1000

    def run(self) -> None:
        """Train, judge, print a line a net."""
        released = RELEASED["0.5G"]
        nets = {
            "released": released,
            "searched": read_description(self.search / BEST)[1],
            "mobilenet0.25": replace(released, backbone=MobileNetConfig()),
        }
        print(
            f"{'backbone':<14} {'score':>7} {'parameters':>10} {'MACs VGA':>9}  {'easy':>6} {'medium':>6} {'hard':>6}"
        )
        for name, figures in self.figures(nets).items():
            net = nets[name]
            score = f"{DDSAR()(net.net):7.3f}" if isinstance(net.backbone, str) else "      –"
            model = DamoFD(net)
            parameters, macs = sum(p.numel() for p in model.parameters()), convolution_macs(model, 480, 640)
            values = " ".join(f"{figures[subset]:6.3f}" for subset in SUBSETS)
            print(f"{name:<14} {score} {parameters:>10,} {macs / 1e6:>8.0f}M  {values}")


@dataclass(frozen=True)
class Ranks(ShortTraining):
    """Rank correlation of zero-cost scores with AP after a very short training."""

    steps: int = 300
    nets: int = 10
    """Nets, one from each equal part of the range of scores."""

    closeness: float = 0.85
    """Nets take at least this share of the FLOPs budget, so that size alone does not decide."""

    seed: int = 0
    """Of the choice of nets."""

    def run(self) -> None:
        """Train, judge, print a line a net and a line a score."""
        torch.set_num_threads(1)
        chosen = self._chosen()
        base = RELEASED["0.5G"]
        figures = self.figures({f"net{i}": replace(base, backbone=str(net)) for i, net in enumerate(chosen)})
        means = [float(np.mean(list(values.values()))) for values in figures.values()]
        scores: dict[str, Callable[[Backbone], float]] = {
            "DDSAR": DDSAR(),
            "backbone MACs": BackboneMacs(),
            "parameters": DetectorParameters(base),
            "Zen": BackboneScore(zen_score, Stages),
            "synflow": BackboneScore(synflow, Stages),
            "NASWOT": BackboneScore(naswot, Stages),
        }
        table = {name: [float(score(net)) for net in chosen] for name, score in scores.items()}
        for i, (net, values) in enumerate(zip(chosen, figures.values(), strict=True)):
            ap = "/".join(f"{values[subset]:.3f}" for subset in SUBSETS)
            print(f"DDSAR {table['DDSAR'][i]:7.3f}  {table['backbone MACs'][i] / 1e6:5.1f}M  AP {ap}  {net}")
        print("score            Spearman  Kendall   with the mean of the three APs")
        for name, values in table.items():
            print(f"{name:<16} {spearmanr(values, means)[0]:8.2f} {kendalltau(values, means)[0]:8.2f}")

    def _chosen(self) -> list[Backbone]:
        scores, costs, nets = read_candidates(self.search / "candidates.tsv")
        close = np.flatnonzero(costs[:, 0] >= self.closeness * costs[:, 0].max())
        edges = np.linspace(scores[close].min(), scores[close].max(), self.nets + 1)
        part = np.clip(np.searchsorted(edges, scores[close], side="right") - 1, 0, self.nets - 1)
        rng = np.random.default_rng(self.seed)
        return [Backbone.parse(nets[rng.choice(close[part == i])]) for i in range(self.nets)]


def convolution_macs(model: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of the convolutions for one picture."""
    macs = 0

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d)
        macs += out.numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return macs


if __name__ == "__main__":
    commands: dict[str, Callable[..., Any]] = {"backbones": Backbones, "ranks": Ranks}
    tyro.extras.subcommand_cli_from_dict(commands, prog="benchmarks/damofd.py").run()
