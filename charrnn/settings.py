"""Settings said once: a field's type, default, bounds and help, together in a frozen dataclass.

The command line, the TOML file and the checkpoint all derive from these fields. Plain dataclasses,
because a help page or a usage error has to answer at once, and importing pydantic alone takes
longer than typer.
"""

import dataclasses
import operator
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from charrnn.errors import SettingsError

T = TypeVar("T")

# What help pages say of settings that charrnn.runs.choice chooses where they are not given.
CHOSEN = "chosen, see `preset`"

_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("at most", operator.le),
    "lt": ("below", operator.lt),
}
_LARGEST = sys.float_info.max  # a whole number may be larger, and none of Python's floats
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def setting(
    default: Any,
    *,
    help: str,  # noqa: A002 - what everyone calls it
    short: str | None = None,
    shown: str | None = None,
    **bounds: float,
) -> Any:
    """Declare a field: its default, its help, a one-letter flag, and bounds ge, gt, le, lt.

    shown: words for the default where its value does not say it.
    """
    assert bounds.keys() <= _BOUNDS.keys()
    return dataclasses.field(
        default=default, metadata={"help": help, "short": short, "shown": shown, **bounds}
    )


def check(settings: Any) -> None:
    """Raise SettingsError for the first field that is not of its type or out of its bounds."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if (problem := _problem(value, field)) is not None:
            raise SettingsError(f"`{field.name}={value}`: must be {problem}")


def make(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make settings from names and values. Raises SettingsError, so for a name that is no field."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise SettingsError(f"`{name}` is not a setting")
    return kind(**values)


def value_type(field: "dataclasses.Field[Any]") -> tuple[Any, bool]:
    """Return the type of a field's values, None aside, and whether None is one of them."""
    if not isinstance(field.type, types.UnionType):
        return field.type, False
    (kind,) = (part for part in typing.get_args(field.type) if part is not types.NoneType)
    return kind, True


def number_pair(name: str, text: str) -> tuple[float, float]:
    """Read START:END, two numbers of at least 0. Raises SettingsError."""
    try:
        start, end = map(float, text.split(":"))
    except ValueError:
        start = end = -1.0
    if not (0 <= start <= _LARGEST and 0 <= end <= _LARGEST):
        raise SettingsError(f"`{name}={text}`: must be START:END, two numbers such as 0.5:1.2")
    return start, end


def _problem(value: Any, field: "dataclasses.Field[Any]") -> str | None:
    kind, optional = value_type(field)
    if value is None and optional:
        return None
    if typing.get_origin(kind) is tuple:
        several = isinstance(value, tuple) and all(isinstance(part, str) for part in value)
        return None if several else "texts"
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return None if value in choices else f"one of {', '.join(map(str, choices))}"
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        return _WORDS[kind]
    if kind is float and not -_LARGEST <= value <= _LARGEST:  # NaN is neither
        return "a finite number"
    for name, (words, holds) in _BOUNDS.items():
        bound = field.metadata.get(name)
        if bound is not None and not holds(value, bound):
            return f"{words} {bound:,}"
    return None
