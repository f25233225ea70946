"""Frozen dataclasses to JSON and back: how a model's configuration travels inside its file."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from facesmith.errors import ConfigError

T = TypeVar("T")

_UNIONS = (types.UnionType, typing.Union)


KIND = "kind"
"""Names the class of a value whose field may hold several dataclasses."""


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass instance as values that ``json`` can write.

    Where a field may hold one of several dataclasses its values begin with ``"kind"``, the name of its class.
    """
    hints = typing.get_type_hints(type(config))
    return {field.name: _plain(hints[field.name], getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(hint: Any, value: Any) -> Any:
    options = _options(hint)
    if dataclasses.is_dataclass(value):
        several = len(_dataclasses(options)) > 1
        return ({KIND: type(value).__name__} if several else {}) | to_json(value)
    if isinstance(value, tuple):
        inner = next(typing.get_args(option) for option in options if typing.get_origin(option) is tuple)
        return tuple(_plain(kind, v) for kind, v in zip(_elements(inner, len(value)), value, strict=True))
    return value


def from_json(kind: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """The dataclass ``kind`` from the values :func:`to_json` gave; missing fields take their defaults.

    Lists become tuples where the field is one. A field of several dataclasses takes the one that ``"kind"`` names;
    without that (files before facesmith wrote it), and where the kinds are no dataclasses, the first that fits.

    Raises:
        ConfigError: an unknown field, one that is missing without a default, or a value of the wrong type;
            names the field.
    """
    assert dataclasses.is_dataclass(kind)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or kind.__name__}: expected a table, not {values!r}")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(values.keys() - fields.keys())
    missing = sorted(name for name, field in fields.items() if _required(field) and name not in values)
    for names, problem in ((unknown, "unknown"), (missing, "missing")):
        if names:
            listed, known = ", ".join(names), ", ".join(sorted(fields))
            raise ConfigError(f"{where or kind.__name__}: {problem} field {listed}; there are {known}")
    inside = f"{where}." if where else ""
    return kind(**{name: _value(hints[name], value, inside + name) for name, value in values.items()})


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value, where=where)
    if origin in _UNIONS:
        several = isinstance(value, Mapping) and KIND in value and len(_dataclasses(inner)) > 1
        return _named(inner, value, where) if several else _first_that_fits(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, not {value!r}")
        kinds = _elements(inner, len(value))
        if len(kinds) != len(value):
            raise ConfigError(f"{where}: expected {len(kinds)} values, not {len(value)}")
        return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, not {value!r}")


def _options(hint: Any) -> tuple[Any, ...]:
    """The kinds of a union, or the one kind."""
    return typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)


def _dataclasses(kinds: tuple[Any, ...]) -> dict[str, type[Any]]:
    return {kind.__name__: kind for kind in kinds if dataclasses.is_dataclass(kind) and isinstance(kind, type)}


def _elements(inner: tuple[Any, ...], count: int) -> list[Any]:
    """The kinds of a tuple's elements, of the arguments of its annotation."""
    return [inner[0]] * count if inner[-1] is Ellipsis else list(inner)


def _named(kinds: tuple[Any, ...], value: Mapping[str, Any], where: str) -> Any:
    known = _dataclasses(kinds)
    if value[KIND] not in known:
        raise ConfigError(f"{where}: unknown {KIND} {value[KIND]!r}; there are {', '.join(known)}")
    return from_json(known[value[KIND]], {k: v for k, v in value.items() if k != KIND}, where=where)


def _first_that_fits(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    problems = []
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except ConfigError as error:
            problems.append(str(error))
    raise ConfigError("; or ".join(problems))
