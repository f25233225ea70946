import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facesmith.detectors.damofd.space import REGIMES, Genome
from facesmith.errors import ConfigError
from facesmith.search import record
from facesmith.search.budgets import BackboneMacs
from facesmith.search.damofd import BackboneSearch, Budget
from facesmith.search.ddsar import DDSAR
from facesmith.search.evolution import Evolution
from facesmith.search.record import CANDIDATES, STATE, Record, read_candidates, run


def _evolution() -> Evolution[Genome]:
    regime = REGIMES["0.5G"]
    budget = Budget("MACs", BackboneMacs(), regime.backbone_macs)
    return Evolution(BackboneSearch(regime.space, DDSAR(), [budget]), population=64)


def _search(folder: Path, iterations: int, *, resume: bool = False) -> Evolution[Genome]:
    evolution = _evolution()
    with Record(folder, ("MACs",), {"seed": 0}, resume=resume) as kept:
        run(evolution, kept, iterations, progress=False)
    return evolution


def _contents(folder: Path) -> tuple[bytes, object]:
    return (folder / CANDIDATES).read_bytes(), json.loads((folder / STATE).read_text())


def test_every_candidate_is_written_once(tmp_path: Path) -> None:
    evolution = _search(tmp_path, 4000)
    scores, costs, nets = read_candidates(tmp_path / CANDIDATES)
    assert len(set(nets)) == len(nets) > 150
    assert costs.shape == (len(nets), 1)
    assert costs.max() <= 65e6
    assert evolution.best is not None
    assert scores.max() == evolution.best.evaluation.score
    twin = _evolution()
    entered = {twin.problem.text(found[0]): found[1] for _ in range(4000) if (found := twin.step())}
    assert list(entered) == nets
    np.testing.assert_array_equal(scores, [e.score for e in entered.values()])
    np.testing.assert_array_equal(costs[:, 0], [e.costs[0] for e in entered.values()])


def test_longer_search_continues_a_shorter_one(tmp_path: Path) -> None:
    _search(tmp_path / "whole", 3000)
    _search(tmp_path / "parts", 1000)
    _search(tmp_path / "parts", 3000, resume=True)
    assert _contents(tmp_path / "parts") == _contents(tmp_path / "whole")
    _search(tmp_path / "parts", 3000, resume=True)
    assert _contents(tmp_path / "parts") == _contents(tmp_path / "whole")


def test_what_was_written_after_the_checkpoint_is_written_again(tmp_path: Path) -> None:
    _search(tmp_path / "whole", 3000)
    _search(tmp_path / "cut", 1000)
    with (tmp_path / "cut" / CANDIDATES).open("a") as file:
        file.write("12.5\t60000000\tK3(3,32,2,1)IDW")  # a line that a crash cut off
    _search(tmp_path / "cut", 3000, resume=True)
    assert _contents(tmp_path / "cut") == _contents(tmp_path / "whole")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from facesmith.search import record
record.CHECKPOINT_ITERATIONS = 256
from test_record import _search
_search(Path({folder!r}), {iterations}, resume=True)
"""


def test_kill_and_resume_ends_in_the_same_files(tmp_path: Path) -> None:
    """SIGKILL in the middle, as often as it takes; every rerun goes on."""
    iterations = 12_000
    _search(tmp_path / "whole", iterations)
    folder = tmp_path / "killed"
    script = KILLED.format(here=str(Path(__file__).parent), folder=str(folder), iterations=iterations)
    reached = []
    for _ in range(2):
        before = reached[-1] if reached else 0
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (folder / STATE).exists() and _iteration(folder) > before:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        process.wait()
        reached.append(_iteration(folder))
    assert 0 < reached[0] < iterations
    assert reached == sorted(reached)
    subprocess.run([sys.executable, "-c", script], check=True)
    assert _contents(folder) == _contents(tmp_path / "whole")


def _iteration(folder: Path) -> int:
    return int(json.loads((folder / STATE).read_text())["evolution"]["iteration"])


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    _search(tmp_path, 200)
    before = _contents(tmp_path)
    with pytest.raises(ConfigError, match="--resume"):
        _search(tmp_path, 200)
    with pytest.raises(ConfigError, match="seed: 0 there, 1 here"):
        Record(tmp_path, ("MACs",), {"seed": 1}, resume=True)
    assert _contents(tmp_path) == before
    (tmp_path / STATE).write_text("[]")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        Record(tmp_path, ("MACs",), {"seed": 0}, resume=True)


def test_resume_of_nothing_begins(tmp_path: Path) -> None:
    _search(tmp_path / "a", 500, resume=True)
    _search(tmp_path / "b", 500)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")


def test_checkpoints_come_by_iterations_and_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    original = Record.checkpoint

    def note(self: Record, state: dict[str, object]) -> None:
        saved.append(int(str(state["iteration"])))
        original(self, state)

    monkeypatch.setattr(Record, "checkpoint", note)
    monkeypatch.setattr(record, "CHECKPOINT_ITERATIONS", 300)
    _search(tmp_path / "a", 1000)
    assert saved == [320, 640, 960, 1000]
    saved.clear()
    monkeypatch.setattr(record, "CHECKPOINT_SECONDS", 0.0)
    _search(tmp_path / "b", 256)
    assert saved == [64, 128, 192, 256, 256]


def test_malformed_candidates_are_named(tmp_path: Path) -> None:
    path = tmp_path / CANDIDATES
    path.write_text("score\tMACs\tnet\n1.0\tx\tK3\n")
    with pytest.raises(ConfigError, match="expected 3 columns"):
        read_candidates(path)
