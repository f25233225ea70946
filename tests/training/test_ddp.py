"""Two gloo processes against one. They are started once; each does all the jobs below and writes what it got."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from training_runs import SHORT, FrozenNorm, fit, new_model, rows

from drawn_faces import TINY_BATCH, write_faces
from facesmith.data.sources import find_sources
from facesmith.detectors.parts.losses import hard_negatives, total_over_processes
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.errors import TrainingError
from facesmith.training.checkpoint import load_checkpoint
from facesmith.training.ddp import Process
from facesmith.training.optimisers import SGD
from facesmith.training.schedule import Cosine

CONFIG = replace(
    SHORT,
    steps=5,
    batch=replace(TINY_BATCH, images=5),  # shared out as 2 and 3
    optimiser=SGD(rate=0.02),
    schedule=Cosine(warmup=1),
)
CASES = 40


class NaNInRankOne(RetinaFace):
    def loss(self, maps: object, targets: object) -> dict[str, Tensor]:
        losses = super().loss(maps, targets)
        if torch.distributed.get_rank() == 1:
            losses["class"] = losses["class"] * torch.nan
        return losses


def mining_case(seed: int) -> tuple[Tensor, Tensor, int, list[int]]:
    """Losses with ties, candidates, how many are wanted, and where the second process's part begins."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    loss = torch.from_numpy(rng.integers(0, 12, n).astype(np.float32))
    return loss, torch.from_numpy(rng.random(n) < 0.7), int(rng.integers(0, 20)), [int(rng.integers(0, n + 1)), n]


def work(data: Path, out: Path) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    process = Process.start("cpu")
    rank = process.rank
    sources = find_sources(data)
    facts: dict[str, object] = {"world": process.world, "device": str(process.device)}
    facts["total"] = total_over_processes(torch.tensor([rank + 1, 10])).tolist()
    facts["mined"] = []
    for seed in range(CASES):
        loss, candidates, count, (cut, end) = mining_case(seed)
        part = slice(0, cut) if rank == 0 else slice(cut, end)
        facts["mined"].append(hard_negatives(loss[part], candidates[part], count).tolist())
    # different first weights: rank 0's count
    fit(new_model(rank, FrozenNorm), sources, out / "frozen", CONFIG, process=process)
    normal = new_model(rank)
    average = fit(normal, sources, out / "normal", CONFIG, process=process)
    torch.save({"parameters": list(normal.parameters()), "average": average.state_dict()}, out / f"{rank}.pt")
    try:
        fit(new_model(0, NaNInRankOne), sources, out / "nan", CONFIG, process=process)
    except TrainingError as error:
        facts["error"] = str(error)
    process.end()
    facts["ended"] = not torch.distributed.is_initialized()
    (out / f"{rank}.json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"), 3)


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the two processes have written."""
    out = tmp_path_factory.mktemp("out")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = Path(__file__).parent
    common = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    script = "import sys, test_ddp\nfrom pathlib import Path\ntest_ddp.work(*map(Path, sys.argv[1:]))"
    command = [sys.executable, "-W", "error::UserWarning:torch", "-c", script, str(data), str(out)]
    ranks = [
        subprocess.Popen(command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        messages = [process.communicate(timeout=600)[1].decode() for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(m[-3000:] for m in messages)
    return out


def facts(out: Path) -> list[dict[str, object]]:
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_the_processes_know_each_other(out: Path) -> None:
    for found in facts(out):
        assert (found["world"], found["device"], found["total"], found["ended"]) == (2, "cpu", [3, 20], True)


def test_hard_negatives_are_mined_over_both(out: Path) -> None:
    zero, one = (found["mined"] for found in facts(out))
    for seed in range(CASES):
        loss, candidates, count, _ = mining_case(seed)
        chosen = torch.tensor([*zero[seed], *one[seed]], dtype=torch.bool)
        assert not (chosen & ~candidates).any()
        expected = loss[hard_negatives(loss, candidates, count)]
        assert sorted(loss[chosen].tolist()) == sorted(expected.tolist())


def test_without_batch_statistics_two_processes_do_what_one_does(data: Path, out: Path, tmp_path: Path) -> None:
    """The same weights to rounding after five steps, and the whole batch's losses in the log."""
    fit(new_model(0, FrozenNorm), find_sources(data), tmp_path, CONFIG)
    alone, both = (load_checkpoint(folder / "checkpoint.pt") for folder in (tmp_path, out / "frozen"))
    first = new_model(0, FrozenNorm).state_dict()
    moved = 0
    for key, value in alone["model"].items():
        assert torch.allclose(both["model"][key], value, rtol=1e-4, atol=1e-6), key
        assert torch.allclose(both["ema"][key], alone["ema"][key], rtol=1e-4, atol=1e-6), key
        moved += not torch.allclose(value, first[key], rtol=1e-2, atol=1e-4)
    assert moved > 20  # weights that did change by more than a hundred times the tolerance
    for one, two in zip(rows(tmp_path), rows(out / "frozen"), strict=True):
        for name in ("class", "box", "landmark", "norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-4)


def test_with_batch_statistics_processes_stay_alike(out: Path) -> None:
    """Each normalises by its own pictures, but all have the same parameters; rank 0's statistics are kept."""
    zero, one = (torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(zero["parameters"], one["parameters"], strict=True))
    kept = load_checkpoint(out / "normal/checkpoint.pt")["ema"]
    assert all(torch.equal(kept[key], value) for key, value in zero["average"].items())


def test_a_loss_that_is_not_finite_stops_both(out: Path) -> None:
    for found in facts(out):
        assert "step 0: not finite: class nan" in str(found["error"])
    assert not (out / "nan/checkpoint.pt").exists()


def test_alone_there_is_nobody_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    process = Process.start("cpu")
    assert (process.rank, process.world, process.device.type) == (0, 1, "cpu")
    process.end()
