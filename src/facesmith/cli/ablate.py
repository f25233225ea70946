"""``facesmith ablate``: a paper's ablation table on whatever data is there. A subcommand a study."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facesmith.errors import ConfigError, MissingExtraError
from facesmith.evaluation.development import Development
from facesmith.runtime.cpus import available_cpus

try:
    from facesmith.training.loop import TrainConfig
    from facesmith.training.start import Start
    from facesmith.training.studies import STUDIES
    from facesmith.training.studies.judges import Machine
    from facesmith.training.studies.run import Place, run_study
    from facesmith.training.studies.study import Study
    from facesmith.training.studies.table import write_table
except ImportError as error:
    raise MissingExtraError(f"training needs {error.name}: pip install 'facesmith[train]'") from error


@dataclass(frozen=True)
class Run:
    """Train every variant of an ablation by the same recipe, judge them alike, print the paper's table with our
    figures. Nothing that is finished is repeated: run the same command again to go on after an interruption, or
    another study that shares networks. Writes STUDY.md, STUDY.json and a folder a network."""

    study: tyro.conf.Suppress[Study]
    dev: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """what judges: ground-truth/ (wider_*_val.mat, FDDB-folds/) and landmarks68.txt, whichever the study needs"""
    train: TrainConfig
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """training photographs, as for `facesmith train`; not needed where all weights are given"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the pictures of --dev, anywhere below it; without it --dev itself"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/ablate")
    """output folder, the same for all studies"""
    rows: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ROW")] = ()
    """rows to do now; without it all of them"""
    weights: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NETWORK=FILE")] = ()
    """trained weights (.safetensors) to judge in place of training that network"""
    pretrained: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """weights of the backbone that all networks start from, as for `facesmith train`; without it random ones"""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder in which decoded pixels are kept: faster epochs for about 3 bytes a pixel of disk"""
    jobs: int = 1
    """networks trained side by side"""
    threads: int | None = None
    """CPU threads of each network; by default all that may be used, shared out among the jobs"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""

    def run(self) -> int:
        """Do what is not done yet; print the table."""
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be 1 or more, not {self.threads}")
        place = Place(
            dev=Development(self.dev, self.images or self.dev),
            out=self.out,
            train=self.train,
            data=self.data,
            sources=self.study.sources,
            given=dict(map(_named, self.weights)),
            start=Start(self.pretrained),
            cache=self.cache,
            machine=Machine(self.device, self.threads or max(available_cpus() // max(self.jobs, 1), 1)),
        )
        run_study(self.study, place, rows=self.rows, jobs=self.jobs)
        print(f"\n{write_table(self.study, place)}")
        return 0


def _named(given: str) -> tuple[str, Path]:
    name, _, path = given.partition("=")
    if not name or not path:
        raise ConfigError(f"--weights takes NETWORK=FILE, not {given!r}")
    return name, Path(path)


Ablate = tyro.extras.subcommand_type_from_defaults(
    {study.name: Run(study=study, dev=tyro.MISSING, train=study.train) for study in STUDIES},
    prefix_names=False,
)
