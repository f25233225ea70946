"""Every command of README.md and docs/ is run on small files, or, where it cannot be, its flags are checked."""

import argparse
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from doc_commands import ELSEWHERE, LINKS, NOT_RUN, PAGES, ROOT, SHORTER, Command, commands, inline_scripts, words

import drawn_faces
from facesmith import cli, images
from facesmith.runtime.portrait import paint_portrait

EVERY = [command for page in PAGES for command in commands(page)]
RUN = [page for page in PAGES if page.name not in ELSEWHERE and any(one.not_run is None for one in commands(page))]
TYPED = [one for one in EVERY if one.language != "python"]


class Parsed(Exception):
    """The command line was accepted."""


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name."""
    folder = tmp_path_factory.mktemp("docs")
    portrait = paint_portrait(320, 240, (160, 115), 45)
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        images.write(folder / name, portrait)
    panorama = np.zeros((700, 1700, 3), np.uint8)
    panorama[400:640, 1300:1620] = portrait
    images.write(folder / "panorama.jpg", panorama)
    drawn_faces.write_folds(drawn_faces.write_faces(folder / "DIR", 8))
    script = folder / "bin/facesmith"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m facesmith "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def place(small_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them as the working directory, and the names that stand for paths."""
    shutil.copytree(small_files, tmp_path, dirs_exist_ok=True)
    for name, target in LINKS.items():
        (tmp_path / name).symlink_to(target)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_a_page_from_top_to_bottom(page: Path, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Commands in their order, each with what those before it left behind."""
    names: dict[str, Any] = {}
    for command in commands(page):
        if command.not_run is not None:
            continue
        if command.language == "python":
            exec(compile(command.text, f"{page.name}, Python", "exec"), names)
        elif command.needs_shell:
            subprocess.run(["bash", "-euo", "pipefail", "-c", command.shortened()], check=True, cwd=place)
        else:
            verb, *rest = words(command.shortened())
            assert verb == "facesmith", f"{page.name}: `{command.text}` is neither run nor listed in NOT_RUN"
            code = cli.main(rest)
            assert code == 0, f"{page.name}: `{command.text}`: {capfd.readouterr().err}"


@pytest.mark.parametrize("command", TYPED, ids=lambda one: f"{one.page}: {one.text[:60]}")
def test_flags(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of what is not run: verbs, scripts and flags are there, and extras are those of pyproject.toml."""
    check_flags(command, monkeypatch)


@pytest.mark.parametrize("command", list(inline_scripts()), ids=lambda one: f"{one.page}: {one.text[:60]}")
def test_flags_of_scripts_in_running_text(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those without flags stand for all that a script can do, so they only have to be there."""
    assert (ROOT / words(command.text)[1]).is_file()
    if "--" in command.text:
        check_flags(command, monkeypatch)


def check_flags(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in re.split(r" (?:\|\|?|&&) ", command.plain):
        first, *rest = words(part.replace(" &", "")) or [""]
        if first == "facesmith":
            assert rest[0] in cli.VERBS, f"no such verb: {rest[0]}"
            parsed(lambda rest=rest: cli._parse(rest[0], [w for w in rest[1:] if w != "…"]))
        elif first in ("python", "python3") and rest[0] == "-m" and rest[1].startswith("facesmith"):
            found = importlib.util.find_spec(rest[1])
            assert found is not None, f"no such module: {rest[1]}"
            script(str(found.origin), rest[1:], monkeypatch)
        elif first == "python" and rest[0].endswith(".py"):
            monkeypatch.syspath_prepend(str((ROOT / rest[0]).parent))
            script(str(ROOT / rest[0]), rest, monkeypatch)
        elif "pip install" in part and (extras := re.findall(r"\[([\w,]+)\]", part)):
            known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert set(",".join(extras).split(",")) <= known.keys()


def parsed(parse: Callable[[], object]) -> None:
    try:
        parse()
    except SystemExit as error:
        pytest.fail(f"its command line is refused ({error.code}); see the output above")


def script(path: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script as far as its command line goes."""

    def stopping(parse: Callable[..., Any]) -> Callable[..., Any]:
        def stopped(*args: Any, **kwargs: Any) -> Any:
            parse(*args, **kwargs)
            raise Parsed

        return stopped

    monkeypatch.setattr(sys, "argv", arguments)
    for home, name in (
        (tyro, "cli"),
        (tyro.extras, "subcommand_cli_from_dict"),
        (argparse.ArgumentParser, "parse_args"),
    ):
        monkeypatch.setattr(home, name, stopping(getattr(home, name)))
    with pytest.raises(Parsed):
        parsed(lambda: runpy.run_path(path, run_name="__main__"))


def test_links_lead_somewhere() -> None:
    """To files of the repository, and to their headings."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"\w+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            assert file.exists(), f"{page.name}: no such file: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
                assert anchor in {_anchor(heading) for heading in headings}, f"{page.name}: no such heading: {target}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_tables_have_no_dead_rows() -> None:
    texts = [one.text for one in EVERY]
    for name, home in ELSEWHERE.items():
        assert name in (ROOT / home).read_text()
    for pattern in SHORTER:
        assert any(re.match(pattern, one.plain) for one in EVERY), pattern
    for name in LINKS:
        assert any(re.search(rf"\b{name}\b", text) for text in texts), name
    for pattern in NOT_RUN:
        assert any(re.match(pattern, text) for text in texts), pattern
