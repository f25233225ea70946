import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import facesmith
from facesmith import cli
from facesmith.errors import DeviceError, FacesmithError


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"facesmith {facesmith.__version__}\n"


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_help_lists_every_verb(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == code
    lines = capsys.readouterr().out.splitlines()
    for name, verb in cli.VERBS.items():
        assert any(line.split()[:1] == [name] and line.endswith(verb.help) for line in lines)


def test_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detekt", "a.jpg"]) == 2
    assert capsys.readouterr().err == "facesmith: no such verb: 'detekt'; did you mean `facesmith detect`?\n"
    assert cli.main(["qqq"]) == 2
    assert "--help" in capsys.readouterr().err


def test_unknown_flags_get_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["detect", "a.jpg", "--treshold", "0.3"])
    assert caught.value.code == 2
    assert "--threshold" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["detect", "models", "doctor"])
def test_help_of_a_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([verb, "--help"])
    assert caught.value.code == 0
    assert f"facesmith {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["detect", "models", "doctor"])
def test_verbs_are_frozen_dataclasses(verb: str) -> None:
    module, _, name = cli.VERBS[verb].home.partition(":")
    command = getattr(importlib.import_module(module), name)
    assert dataclasses.is_dataclass(command)
    assert command.__dataclass_params__.frozen
    assert callable(command.run)


class Failing:
    """A verb that raises."""

    error: BaseException

    def run(self) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DeviceError("no such device"), 2, "facesmith: no such device\n"),
        (FacesmithError("wrong"), 2, "facesmith: wrong\n"),
        (PermissionError(13, "Permission denied", "out"), 2, "facesmith: out: Permission denied\n"),
        (OSError("disk full"), 2, "facesmith: disk full\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Failing, "error", error, raising=False)
    monkeypatch.setattr(cli, "_parse", lambda name, arguments: Failing())
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main(["detect"]) == code
    assert capsys.readouterr().err == message


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Failing, "error", ZeroDivisionError(), raising=False)
    monkeypatch.setattr(cli, "_parse", lambda name, arguments: Failing())
    with pytest.raises(ZeroDivisionError):
        cli.main(["detect"])


def test_the_overview_and_typos_load_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from facesmith.cli import main; main(['--help']); main(['detekt']);"
        "print([m for m in ('numpy', 'cv2', 'onnxruntime', 'tyro', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "facesmith", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"facesmith {facesmith.__version__}\n"
