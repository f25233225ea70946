"""Image names: how predictions and ground truth find each other."""

import difflib
from collections.abc import Iterable

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def image_name(path: str) -> str:
    r"""``path`` with forward slashes, without leading ``./`` and image suffix: ``a\b.c.JPG`` -> ``a/b.c``."""
    name = path.strip().replace("\\", "/").removeprefix("./")
    stem, dot, suffix = name.rpartition(".")
    return stem if (dot + suffix).lower() in _SUFFIXES else name


def closest(name: str, names: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the most similar of ``names``, or nothing where none is similar."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
