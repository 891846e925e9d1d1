"""Dataclasses from JSON that may be damaged or hostile: names, types and bounds are checked."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from charrnn.settings import LARGEST

T = TypeVar("T")


def read_record(kind: type[T], values: Any) -> T:
    """Make a dataclass of JSON values, nested ones and tuples included.

    Every field must be there, and nothing else; an int is accepted for a float. Values that are
    dataclasses already are taken as they are. Raises TypeError or ValueError.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} is not a JSON object")
    expected = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if values.keys() != expected.keys():
        odd = sorted(map(str, values.keys() ^ expected.keys()))[0]
        verb = "lacks" if odd in expected else "does not have"
        raise ValueError(f"{kind.__name__} {verb} {odd[:40]!r}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _read(hints[name], values[name], name) for name in expected})


def _read(kind: Any, value: Any, name: str) -> Any:
    if isinstance(kind, types.UnionType):
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
        return None if value is None else _read(kind, value, name)
    origin = typing.get_origin(kind) or kind
    if is_dataclass(origin):
        assert isinstance(origin, type)
        return value if isinstance(value, origin) else read_record(origin, value)
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        if not isinstance(value, list | tuple):
            raise TypeError(f"{name} is not a list")
        return tuple(_read(inner, part, name) for part in value)
    if origin is dict:
        inner = typing.get_args(kind)[1]
        if not isinstance(value, dict):
            raise TypeError(f"{name} is not a JSON object")
        if inner is Any:
            return value
        return {key: _read(inner, part, name) for key, part in value.items()}
    number = kind in (int, float) and type(value) in (int, kind)
    if not number and type(value) is not kind:
        raise TypeError(f"{name} is not of type {kind.__name__}")
    if number and not -LARGEST <= value <= LARGEST:  # NaN and infinity are not
        raise ValueError(f"{name} is out of bounds")
    return float(value) if kind is float and abs(value) <= 2**53 else value
