import json
from pathlib import Path

import pytest

from drawn_faces import write_faces, write_folds
from facesmith import cli

ROWS = ("--rows", "drnet-sp", "drnet-sp+ss")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_faces(tmp_path_factory.mktemp("ablate"), 2)
    write_folds(folder)
    return folder


def ablate(data: Path, out: Path, *more: object, study: str = "kpnet-table3") -> int:
    flags = ["--data", data, "--dev", data, "--out", out, "--threads", 1, "--train.workers", 0]
    flags += ["--train.steps", 1, "--train.batch.images", 1, "--train.batch.sides", 64, *more]
    return cli.main(["ablate", study, *map(str, flags)])


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two rows of Table 3, which share a network."""
    out = tmp_path_factory.mktemp("out")
    assert ablate(data, out, *ROWS) == 0
    return out


def test_the_table(done: Path) -> None:
    document = json.loads((done / "kpnet-table3.json").read_text())
    figures = {row["name"]: row["figures"] for row in document["rows"]}
    assert [name for name, found in figures.items() if found] == ["drnet-sp", "drnet-sp+ss"]
    assert figures["drnet-sp"].keys() == {"FDDB @50", "FDDB @1"}
    assert "| hourglass-ss+gt |" in (done / "kpnet-table3.md").read_text()
    assert len(list(done.glob("kpnet-drnet-*/kpnet-drnet.safetensors"))) == 1


def test_the_same_command_again_only_prints(data: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.glob("*/**/*")}
    assert ablate(data, done, *ROWS) == 0
    assert {path: path.stat().st_mtime_ns for path in done.glob("*/**/*")} == before
    assert (done / "kpnet-table3.md").read_text() in capsys.readouterr().out


def test_another_table_takes_the_same_network(data: Path, done: Path) -> None:
    trainings = sorted(done.glob("*/checkpoint.pt"))
    assert ablate(data, done, "--rows", "drnet", study="kpnet-table1") == 0
    assert sorted(done.glob("*/checkpoint.pt")) == trainings


def test_given_weights_need_no_training_data(data: Path, done: Path, tmp_path: Path) -> None:
    (weights,) = done.glob("kpnet-drnet-*/kpnet-drnet.safetensors")
    flags = ["--dev", data, "--out", tmp_path, "--threads", 1, *ROWS, "--weights", f"kpnet-drnet={weights}"]
    assert cli.main(["ablate", "kpnet-table3", *map(str, flags)]) == 0
    ours, theirs = (json.loads((out / "kpnet-table3.json").read_text())["rows"] for out in (tmp_path, done))
    assert [row["figures"] for row in ours] == [row["figures"] for row in theirs]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rows", "drnet"), "kpnet-table3 has no row 'drnet'; there are drnet-sp, drnet-sp+ss, drnet-ss+gt"),
        (("--weights", "drnet"), "--weights takes NETWORK=FILE, not 'drnet'"),
        (("--weights", "kpnet-drnet=absent"), "absent: is not a readable safetensors file"),
        (("--jobs", 0), "jobs must be 1 or more, not 0"),
        (("--train.evaluate-every", 1), "leave evaluate_every at 0"),
    ],
)
def test_wrong_flags(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[object, ...], message: str
) -> None:
    assert ablate(data, tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
