"""Which files are videos, told by their names; needs no PyAV."""

import os
from pathlib import Path

# fmt: off
SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".flv", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv",
))
# fmt: on
"""Suffixes, in lower case, of the files taken for videos."""

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes of the videos that are written -> FFmpeg's name of the container."""


def is_video_path(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` has the suffix of a video; upper and lower case alike."""
    return Path(path).suffix.lower() in SUFFIXES


def can_write(path: str | os.PathLike[str]) -> bool:
    """Whether :func:`facesmith.media.video.create` writes files with this suffix."""
    return Path(path).suffix.lower() in CONTAINERS
