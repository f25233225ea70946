"""Checked access to parsed JSON: every mistake is one clear error."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facesmith.errors import LabelError


def load(path: Path) -> Any:
    """The parsed JSON of ``path``.

    Raises:
        LabelError: it cannot be read or is no JSON; names line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise LabelError(f"{path}:{error.lineno}: no JSON: {error.msg} in column {error.colno}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as JSON: {error}") from error


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """``value``, if it is a JSON object; else :class:`LabelError`."""
    if not isinstance(value, dict):
        raise LabelError(f"{where}: expected a JSON object, found {_shown(value)}")
    return value


def rows(parent: Mapping[str, Any], key: str, where: str) -> Sequence[Mapping[str, Any]]:
    """The list of JSON objects at ``key``; else :class:`LabelError`."""
    value = parent.get(key)
    if not isinstance(value, list):
        raise LabelError(f"{where}: expected a list {key!r}, found {_shown(value)}")
    for index, row in enumerate(value):
        mapping(row, f"{where}: {key}[{index}]")
    return value


def numbers(value: Any, where: str, count: int | None = None) -> list[float]:
    """The list of finite numbers ``value``, ``count`` of them if given; else :class:`LabelError`."""
    good = isinstance(value, list) and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )
    if not good or (count is not None and len(value) != count):
        raise LabelError(f"{where}: expected {count or 'a list of'} finite numbers, found {_shown(value)}")
    return [float(number) for number in value]


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:80]
