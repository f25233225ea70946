"""A search on disk: every candidate seen, checkpoints, and going on after a crash."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facesmith import files
from facesmith.errors import ConfigError
from facesmith.search.evolution import Candidate, Evaluation, Evolution

CANDIDATES = "candidates.tsv"
STATE = "state.json"

CHECKPOINT_ITERATIONS = 8192
CHECKPOINT_SECONDS = 10.0
"""A checkpoint is written when either has passed since the last one."""

_CHUNK = 64  # iterations between two looks at the clock


class Record:
    """The folder of one search.

    ``candidates.tsv`` has a line for every distinct candidate that kept to the budgets: score, a cost for
    each budget, and the net in its one-line form. It is only ever appended to; ``state.json`` is written
    whole and says up to which byte the lines belong to it. So a search that is killed goes on from its last
    checkpoint, and ends in the very files that it would have written without the interruption.

    Args:
        folder: made if missing.
        costs: names of the cost columns.
        settings: JSON-ready; all that decides what the search does, but for its length.
        resume: go on from a checkpoint in ``folder``, if there is one.

    Raises:
        ConfigError: ``folder`` holds a search and ``resume`` is not set, or that search had other settings.
    """

    def __init__(self, folder: Path, costs: tuple[str, ...], settings: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._settings = dict(settings)
        self.state = self._load(resume)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CANDIDATES
        self._file = path.open("r+b" if self.state else "wb")
        if self.state:
            self._file.truncate(self.state["bytes"])
            self._seen = {line.rpartition(b"\t")[2] for line in self._file.read().splitlines()[1:]}
        else:
            self._seen = set()
            self._file.write("\t".join(["score", *costs, "net\n"]).encode())

    def add(self, text: str, evaluation: Evaluation) -> None:
        """Append a candidate, unless it is there already."""
        net = text.encode()
        if net not in self._seen:
            self._seen.add(net)
            costs = "".join(f"{cost:.12g}\t" for cost in evaluation.costs)
            self._file.write(f"{evaluation.score:.9f}\t{costs}{text}\n".encode())

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Make everything so far survive a crash."""
        self._file.flush()
        contents = {"settings": self._settings, "bytes": self._file.tell(), "evolution": state}
        files.write_text(self.folder / STATE, json.dumps(contents))

    def __len__(self) -> int:
        """Distinct candidates seen."""
        return len(self._seen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _load(self, resume: bool) -> dict[str, Any]:
        path = self.folder / STATE
        if not path.exists():
            return {}
        if not resume:
            raise ConfigError(f"{self.folder} holds a search already; add --resume, or choose another --out")
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            stored = state["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not a checkpoint of a search") from error
        differing = [
            f"{name}: {stored.get(name)!r} there, {self._settings.get(name)!r} here"
            for name in sorted({*stored, *self._settings})
            if stored.get(name) != self._settings.get(name)
        ]
        if differing:
            raise ConfigError(f"{self.folder} holds a search with other settings ({'; '.join(differing)})")
        return state


def run(evolution: Evolution[Candidate], record: Record, iterations: int, *, progress: bool = True) -> None:
    """Take ``evolution`` from where ``record`` left it to ``iterations``, recording as it goes."""
    if record.state:
        evolution.restore(record.state["evolution"])
    saved, saved_at = evolution.iteration, time.monotonic()
    with tqdm(
        total=iterations, initial=saved, unit="net", disable=not progress, smoothing=0.05, mininterval=0.2
    ) as bar:
        while evolution.iteration < iterations:
            chunk = min(_CHUNK, iterations - evolution.iteration)
            for _ in range(chunk):
                found = evolution.step()
                if found is not None:
                    record.add(evolution.problem.text(found[0]), found[1])
            bar.update(chunk)
            passed = evolution.iteration - saved, time.monotonic() - saved_at
            if passed[0] >= CHECKPOINT_ITERATIONS or passed[1] >= CHECKPOINT_SECONDS:
                if evolution.best is not None:
                    bar.set_postfix_str(f"best {evolution.best.evaluation.score:.4f}", refresh=False)
                record.checkpoint(evolution.state())
                saved, saved_at = evolution.iteration, time.monotonic()
    record.checkpoint(evolution.state())


def read_candidates(
    path: Path,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[str]]:
    """Scores (n,), costs (n, budgets) and nets of a ``candidates.tsv``.

    Raises:
        ConfigError: a line is malformed.
    """
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    columns = len(head.split("\t"))
    rows = [line.split("\t") for line in lines]
    try:
        values = np.array([row[:-1] for row in rows], np.float64).reshape(len(rows), columns - 1)
    except ValueError as error:
        raise ConfigError(f"{path}: expected {columns} columns of numbers and a net") from error
    return values[:, 0], values[:, 1:], [row[-1] for row in rows]
