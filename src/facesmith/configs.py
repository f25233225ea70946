"""Frozen dataclasses to JSON and back: how a model's configuration travels inside its file."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from facesmith.errors import ConfigError

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass instance as JSON-ready values; tuples become lists."""
    values: dict[str, Any] = dataclasses.asdict(config)
    return values


def from_json(kind: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """The dataclass ``kind`` from the values :func:`to_json` gave; missing fields take their defaults.

    Raises:
        ConfigError: an unknown field, or a value of the wrong type; names the field.
    """
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError(
            f"{where or kind.__name__}: unknown field {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    return kind(**{name: _value(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, not {value!r}")
        return from_json(hint, value, where=where)
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in inner:
            return None
        return _value(next(kind for kind in inner if kind is not types.NoneType), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, not {value!r}")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise ConfigError(f"{where}: expected {len(kinds)} values, not {len(value)}")
        return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, not {value!r}")
