import os
from pathlib import Path, PurePath

import pytest

from facesmith.cli.inputs import check_outputs, expand, unique_names
from facesmith.errors import ConfigError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of empty files; the current folder is the one above it."""
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        "x/c.jpeg",
        "x/y/d.webp",
        ".hidden.jpg",
        ".git/e.jpg",
        "._b.jpg",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def paths(*arguments: str, outputs: tuple[Path, ...] = ()) -> list[str]:
    return [found.path for found in expand(arguments, outputs)]


def test_folder(photos: Path) -> None:
    found = list(expand(["photos"]))
    names = ["a.PNG", "b.jpg", "x/c.jpeg", "x/y/d.webp"]
    assert [f.name.as_posix() for f in found] == names
    assert [f.path for f in found] == [os.path.join("photos", *name.split("/")) for name in names]
    assert not any(f.problem for f in found)


def test_files_are_taken_whatever_they_are_called(photos: Path) -> None:
    arguments = [
        "photos/notes.txt",
        "./photos/x/c.jpeg",
        str(photos / "b.jpg"),
        "photos/../photos/.hidden.jpg",
    ]
    found = list(expand(arguments))
    assert [f.path for f in found] == arguments
    names = ["photos/notes.txt", "photos/x/c.jpeg", "b.jpg", "photos/.hidden.jpg"]
    assert [f.name.as_posix() for f in found] == names
    assert [f.name for f in expand(["../here/a.jpg"])] == [PurePath()]


def test_names_never_leave_the_output_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "x")
    assert [f.name for f in expand(["../b.jpg", "y/../../b.jpg"])] == [PurePath("b.jpg")] * 2
    assert [f.name.as_posix() for f in expand([".."])][:2] == ["a.PNG", "b.jpg"]


def test_patterns(photos: Path) -> None:
    assert paths("photos/*.jpg") == ["photos/b.jpg"]
    assert paths("photos/**/*.*p*g") == ["photos/a.PNG", "photos/b.jpg", "photos/x/c.jpeg"][1:]
    assert paths("phot?s") == paths("photos")
    (photos / "b[1].jpg").touch()
    assert paths("photos/b[1].jpg") == ["photos/b[1].jpg"]  # a file of that name wins over the pattern


def test_what_is_not_there(photos: Path) -> None:
    (photos / "empty").mkdir()
    found = list(expand(["nothing.jpg", "photos/b.jpg", "*.tiff", "photos/empty"]))
    assert [f.problem for f in found] == [
        "no such file or folder",
        None,
        "no file matches this pattern",
        "no pictures in this folder",
    ]


def test_what_was_written_is_not_read_again(photos: Path) -> None:
    (photos / "out").mkdir()
    (photos / "out" / "b.jpg").touch()
    assert paths("photos", outputs=(Path("photos/out"),)) == paths("photos", outputs=(photos / "out",))
    assert not any("out" in path for path in paths("photos", outputs=(Path("photos/out"),)))
    assert any("out" in path for path in paths("photos"))


@pytest.mark.parametrize("argument", ["photos", "photos/b.jpg", "photos/x"])
def test_inputs_are_never_overwritten(photos: Path, argument: str) -> None:
    for outputs in ([Path("photos")], [photos], [Path("other"), Path(".")]):
        with pytest.raises(ConfigError, match="holds the input"):
            check_outputs([argument], outputs)
        with pytest.raises(ConfigError, match="holds the input"):
            list(expand([argument], outputs))
    check_outputs([argument, "-"], [Path("other"), photos / "out"])


def test_inputs_are_never_overwritten_through_links(photos: Path) -> None:
    os.symlink(photos, "link")
    with pytest.raises(ConfigError, match="holds the input"):
        check_outputs(["photos/b.jpg"], [Path("link")])


def test_names_stay_apart() -> None:
    named = unique_names(lambda name: name)
    wanted = ["a.jpg", "x/a.jpg", "a.jpg", "A.JPG", "a-2.jpg", "a.jpg", "b"]
    given = [named(PurePath(name)).as_posix() for name in wanted]
    assert given == ["a.jpg", "x/a.jpg", "a-2.jpg", "A-3.JPG", "a-2-2.jpg", "a-4.jpg", "b"]
    assert len({name.casefold() for name in given}) == len(given)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs folders that cannot be read")
def test_unreadable_folder(photos: Path) -> None:
    (photos / "x").chmod(0)
    problems = [found.problem for found in expand(["photos"])]
    (photos / "x").chmod(0o755)
    assert "Permission denied" in problems
