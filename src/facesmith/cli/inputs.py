"""From what stands on the command line to pictures: files, folders, globs, a list on stdin."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from facesmith.errors import ConfigError
from facesmith.images import is_image_path
from facesmith.media.video_paths import can_write, is_video_path

STDIN = "-"


class Kind(NamedTuple):
    """Which files of a folder are meant.

    Attributes:
        name: what they are called, in the plural.
        fits: whether a path is one.
    """

    name: str
    fits: Callable[[str], bool]


PICTURES = Kind("pictures", is_image_path)
PICTURES_AND_VIDEOS = Kind("pictures or videos", lambda path: is_image_path(path) or is_video_path(path))


class Input(NamedTuple):
    """One picture to read.

    Attributes:
        path: the file, as the user would write it.
        name: what is written about it keeps this name. For a picture of a folder it is its path within the
            folder; for a file its path as given, or, where that is absolute or has ``..``, its last part.
        problem: why there is nothing to read at ``path``, else ``None``.
    """

    path: str
    name: PurePath
    problem: str | None = None


def expand(arguments: Iterable[str], outputs: Iterable[Path] = (), kind: Kind = PICTURES) -> Iterator[Input]:
    """The files that ``arguments`` mean, in order, found while they are taken.

    A file is taken whatever it is called. A folder means all files of ``kind`` in it and below, in name order; hidden
    files, hidden folders and ``outputs`` are passed over. What does not exist but has ``*``, ``?`` or ``[``
    is a pattern (``**`` for any depth), which means the files that it matches, or if there are none, the
    folders. ``-`` reads paths of files, folders or patterns from stdin, one a line.

    Raises:
        ConfigError: a folder of ``outputs`` holds an input, which could thus be overwritten.
    """
    written = [Path(os.path.realpath(output)) for output in outputs]
    for argument in arguments:
        for path in _stdin_lines() if argument == STDIN else [argument]:
            yield from _expand_one(path, written, kind)


def check_outputs(arguments: Iterable[str], outputs: Iterable[Path]) -> None:
    """Raise :class:`ConfigError` if a folder of ``outputs`` holds one of ``arguments``."""
    written = [Path(os.path.realpath(output)) for output in outputs]
    for argument in arguments:
        if argument != STDIN:
            _check_apart(argument, written)


def unique_names(change: Callable[[PurePath], PurePath]) -> Callable[[PurePath], PurePath]:
    """A function from input names to output names that never gives the same twice.

    ``change`` makes the output name; where that is taken (also if only upper and lower case differ), ``-2``,
    ``-3``, ... goes behind its stem.
    """
    taken: set[str] = set()

    def named(name: PurePath) -> PurePath:
        wanted = change(name)
        free, number = wanted, 1
        while (key := free.as_posix().casefold()) in taken:
            number += 1
            free = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        taken.add(key)
        return free

    return named


def writable(name: PurePath) -> PurePath:
    """The ``name`` of a picture or video in a format that can be written."""
    if is_video_path(name):
        return name if can_write(name) else name.with_name(f"{name.name}.mkv")
    return name if name.suffix.lower() in (".jpg", ".jpeg", ".png") else name.with_name(f"{name.name}.jpg")


def _expand_one(argument: str, written: list[Path], kind: Kind) -> Iterator[Input]:
    _check_apart(argument, written)
    if os.path.isdir(argument):
        yield from _folder(argument, written, kind)
    elif os.path.lexists(argument):
        path = PurePath(os.path.normpath(argument))
        yield Input(argument, PurePath(path.name) if path.anchor or ".." in path.parts else path)
    elif glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))
        if not matches:
            yield Input(argument, PurePath(), "no file matches this pattern")
        files = [match for match in matches if not os.path.isdir(match)]
        for match in files or matches:
            yield from _expand_one(match, written, kind)
    else:
        yield Input(argument, PurePath(), "no such file or folder")


def _folder(folder: str, written: list[Path], kind: Kind) -> Iterator[Input]:
    empty = True
    closed: list[OSError] = []
    for inner, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and Path(os.path.realpath(os.path.join(inner, f))) not in written
        )
        for file in sorted(files):
            if not file.startswith(".") and kind.fits(file):
                empty = False
                path = os.path.join(inner, file)
                yield Input(path, PurePath(os.path.relpath(path, folder)))
    for error in closed:
        yield Input(str(error.filename), PurePath(), str(error.strerror))
    if empty and not closed:
        yield Input(folder, PurePath(), f"no {kind.name} in this folder")


def _check_apart(argument: str, written: list[Path]) -> None:
    path = Path(os.path.realpath(argument))
    for output in written:
        if path.is_relative_to(output):
            raise ConfigError(f"the output folder {output} holds the input {argument}; name another output folder")


def _stdin_lines() -> Iterator[str]:
    """Lines of stdin as paths, each as soon as it is there.

    Reads the file descriptor itself: this may run in a thread that is still waiting when the program ends,
    and Python cannot end while a thread holds the lock of ``sys.stdin``.
    """
    rest = b""
    while block := os.read(0, 1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        yield from (os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip())
    if rest.strip():
        yield os.fsdecode(rest)
