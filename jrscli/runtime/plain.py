"""Plain values (what YAML holds) to frozen dataclasses and back; a key that the class does not have is an error."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union

T = TypeVar("T")


class PlainError(ValueError):
    """What is wrong and where: ``grid.spacing_mm: 3 values are needed, found 2``."""


def need(condition: bool, message: str) -> None:
    """Raise PlainError unless the condition holds; for the checks a dataclass makes of itself."""
    if not condition:
        raise PlainError(message)


def build(kind: type[T], value: Any, where: str = "") -> T:
    """An instance of the dataclass ``kind`` from nested dicts and lists.

    Raises PlainError for a key that is unknown or missing, or a value of the wrong type.
    """
    return _built(kind, value, where)


def plain(value: Any) -> Any:
    """The dicts, lists and scalars that `build` makes ``value`` from; what has its default value is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = {}
        for field in fields(value):
            item = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            if default is MISSING or item != default:
                kept[field.name] = plain(item)
        return kept
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _built(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _built(next(option for option in arguments if option is not type(None)), value, where)
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise PlainError(f"{where}: names with values are needed, found {_shown(value)}")
        return {_built(str, key, where): _built(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _scalar(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise PlainError(f"{where or 'the file'}: keys with values are needed, found {_shown(value)}")
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    dot = f"{where}." if where else ""
    for key in value:
        if key not in known:
            raise PlainError(f"unknown key {dot}{key} (known: {', '.join(known)})")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise PlainError(f"the key {dot}{name} is missing")
    found = {name: _built(hints[name], item, f"{dot}{name}") for name, item in value.items()}
    try:
        return kind(**found)
    except PlainError as error:
        raise PlainError(f"{dot.removesuffix('.') or 'the file'}: {error}") from None


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise PlainError(f"{where}: a list is needed, found {_shown(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_built(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if len(value) != len(arguments):
        raise PlainError(f"{where}: {len(arguments)} values are needed, found {len(value)}")
    return tuple(_built(kind, item, f"{where}[{n}]") for n, (kind, item) in enumerate(zip(arguments, value, strict=True)))


def _scalar(kind: Any, value: Any, where: str) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and (whole or isinstance(value, float)):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 takes 1e-4 for text
        try:
            return float(value)
        except ValueError:
            pass
    if (kind is int and whole) or (kind in (str, bool) and isinstance(value, kind)):
        return value
    wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind]
    raise PlainError(f"{where}: {wanted} is needed, found {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
