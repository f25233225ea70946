"""From what stands on the command line to pictures and videos."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from facesmith.cli.inputs import Input, check_outputs, expand
from facesmith.images import is_image_path
from facesmith.media.video_paths import is_video_path


def expand_with_videos(arguments: Iterable[str], outputs: Iterable[Path]) -> Iterator[Input]:
    """As :func:`facesmith.cli.inputs.expand`, but a folder means its videos, too.

    Raises:
        ConfigError: a folder of ``outputs`` holds an input, which could thus be overwritten.
    """
    written = list(outputs)
    for argument in arguments:
        check_outputs([argument], written)
        if os.path.isdir(argument):
            yield from _folder(argument, [Path(os.path.realpath(output)) for output in written])
        else:
            yield from expand([argument], written)


def _folder(folder: str, written: list[Path]) -> Iterator[Input]:
    empty = True
    for inner, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(os.path.realpath(os.path.join(inner, name))) not in written
        )
        for name in sorted(names):
            if not name.startswith(".") and (is_image_path(name) or is_video_path(name)):
                empty = False
                path = os.path.join(inner, name)
                yield Input(path, PurePath(os.path.relpath(path, folder)))
    if empty:
        yield Input(folder, PurePath(), "no pictures or videos in this folder")
