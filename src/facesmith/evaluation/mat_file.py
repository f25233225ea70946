"""MATLAB files, in which several benchmarks hand out their labels."""

import zlib
from pathlib import Path
from typing import Any

import scipy.io
from scipy.io.matlab import MatReadError

from facesmith.errors import LabelError

_FAILURES = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    NotImplementedError,
    MatReadError,
    zlib.error,
)


def read_mat(path: Path, *variables: str) -> dict[str, Any]:
    """The named variables of a ``.mat`` file (up to version 7), as :func:`scipy.io.loadmat` gives them.

    Raises:
        LabelError: the file cannot be read, or lacks a variable.
    """
    try:
        content: dict[str, Any] = scipy.io.loadmat(path, variable_names=variables)
    except _FAILURES as error:
        raise LabelError(f"{path}: not a readable .mat file: {error}") from error
    missing = [name for name in variables if name not in content]
    if missing:
        raise LabelError(f"{path}: has no variable {missing[0]!r}; expected {', '.join(variables)}")
    return content
