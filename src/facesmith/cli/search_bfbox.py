"""``facesmith search bfbox``: backbone and pyramid found together, by a weight-shared supernet."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.runtime.cpus import available_cpus
from facesmith.search.plan import amount, parse_size

if TYPE_CHECKING:
    from facesmith.search.bfbox.run import Found, SearchConfig


@dataclass(frozen=True)
class BFBoxSearch:
    """Find backbone and feature pyramid of a face detector together: train a supernet, score its paths.

    One command trains the supernet, scores candidates and writes best.json (the net's configuration), candidates.tsv
    and pareto.svg. Run the same command again to go on after an interruption; nothing that is done is repeated.
    """

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """training photographs, as for `facesmith train`; the search keeps some of them to judge candidates by"""

    method: Literal["joint", "two-step", "intuitive"] = "joint"
    """joint: backbone and pyramid together, with FPN attention; two-step: without it; intuitive: the backbone first,
    then the pyramid"""

    algorithm: Literal["random", "evolution"] = "random"
    """which candidates are tried: uniformly drawn ones (the paper's choice), or children of the best"""

    preset: Literal["tiny", "paper"] = "tiny"
    """the space: tiny runs on a CPU, paper has the paper's widths and choices"""

    flops: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """multiply-accumulates of the whole detector at --size, such as 0.6G"""

    backbone_flops: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """multiply-accumulates of the backbone at 224x224, as the paper counts them, such as 2.9G"""

    size: str = "VGA"
    """input for --flops, as WIDTHxHEIGHT; VGA is 640x480"""

    candidates: int = 500
    """candidates scored; the paper has 10,000"""

    steps: int | None = None
    """steps of each supernet's training; without it 5,000 (tiny) or 150,000 (paper)"""

    recalibration: int = 500
    """training windows from which each candidate's normalisation is worked out anew"""

    validation: int = 200
    """images that judge the candidates; they are kept out of the training"""

    side: int | None = None
    """side of both kinds of windows, pixels; without it 192 (tiny) or 640 (paper)"""

    seed: int = 0
    """the same seed finds the same nets"""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/search-bfbox")
    """folder of the results"""

    supernets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder of the supernets, by default --out; searches that name the same one share them"""

    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder in which decoded pixels are kept"""

    device: str = "cpu"
    """cpu or cuda, for training and for scoring"""

    threads: int | None = None
    """CPU threads of the training; by default all that may be used"""

    workers: int | None = None
    """processes that make batches ahead in training; without it 2 (tiny) or 8 (paper)"""

    jobs: int | None = None
    """processes that score candidates, each with one thread; by default one a CPU"""

    cluster: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """score on a Ray cluster instead: its address, auto, or local; its machines must see --out at the same path"""

    def run(self) -> int:
        """Search, write the results, print the best net."""
        config = self._config()
        import torch

        from facesmith.search.bfbox.pictures import find_photographs
        from facesmith.search.bfbox.run import BEST, PICTURE, Machine, search
        from facesmith.training.memory import keep_freed_memory

        keep_freed_memory()
        torch.set_num_threads(self.threads or available_cpus())
        machine = Machine(
            out=self.out,
            supernets=self.supernets or self.out,
            cache=self.cache,
            device=self.device,
            jobs=self.jobs or available_cpus(),
            cluster=self.cluster,
        )
        found = search(config, find_photographs(self.data), machine)
        print(_summary(found))
        print(f"written to {self.out}: {BEST}, {PICTURE}, {found.name}/candidates.tsv")
        recipe = "bfbox-tiny" if self.preset == "tiny" else "bfbox"
        print(f"train it: facesmith train {recipe} --model {self.out / BEST} --data DIR")
        return 0

    def _config(self) -> "SearchConfig":
        """Everything that decides the result.

        Raises:
            MissingExtraError: torch is not installed.
        """
        for name in ("threads", "jobs", "steps", "side"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"--{name} must be 1 or more, not {value}")
        try:
            from facesmith.search.bfbox.pictures import PicturesConfig
            from facesmith.search.bfbox.run import Limits, SearchConfig
            from facesmith.training.recipes.bfbox_supernet import SUPERNETS
        except ImportError as error:
            raise MissingExtraError(f"this search needs {error.name}: pip install 'facesmith[train]'") from error
        train = SUPERNETS[self.preset]
        side = self.side or (192 if self.preset == "tiny" else 640)
        infinite = float("inf")
        return SearchConfig(
            preset=self.preset,
            method=self.method,
            algorithm=self.algorithm,
            train=replace(
                train,
                steps=self.steps or train.steps,
                seed=self.seed,
                workers=train.workers if self.workers is None else self.workers,
            ),
            pictures=PicturesConfig(self.recalibration, self.validation, side, self.seed),
            limits=Limits(
                infinite if self.flops is None else amount(self.flops),
                infinite if self.backbone_flops is None else amount(self.backbone_flops),
                parse_size(self.size),
            ),
            candidates=self.candidates,
        )


def _summary(found: "Found") -> str:
    macs, backbone, parameters = found.costs
    return "\n".join(
        (
            f"best net    {found.config.net}",
            f"AP of the supernet {100 * found.score:.2f}, {found.scored:,} candidates, {found.refused:,} draws "
            "over the budget",
            f"{macs / 1e9:.3f} GFLOPs, backbone {backbone / 1e9:.3f} GFLOPs at 224x224, {parameters / 1e3:,.0f} "
            "thousand parameters",
        )
    )
