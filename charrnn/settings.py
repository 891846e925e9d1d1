"""Settings, each declared once: the type, default, bounds and help of a dataclass field.

The command line, configuration files and checkpoints all derive from these fields. They are plain
dataclasses because help pages and usage errors have to appear at once, and importing pydantic
alone takes longer than importing typer.
"""

import dataclasses
import operator
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from charrnn.errors import SettingsError, shortened

T = TypeVar("T")

# The default that help pages show for settings that charrnn.runs.choice chooses.
CHOSEN = "chosen to fit the corpus (see `preset`)"

LARGEST = 2**62  # of any number in a checkpoint, and of whole numbers without a bound of their own
MAX_THREADS = 1024

_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("at most", operator.le),
    "lt": ("below", operator.lt),
}
_MAX_LENGTH = "max_length"
_LARGEST_FLOAT = sys.float_info.max  # Python's whole numbers may be larger, and then are no floats
_KIND_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    tuple[str, ...]: "a list of strings",
    tuple[float, ...]: "a list of numbers",
}


def setting(
    default: Any,
    *,
    help: str,  # noqa: A002 - the name that argument parsers use
    short: str | None = None,
    shown: str | None = None,
    panel: str | None = None,
    **bounds: float,
) -> Any:
    """Declare a field: its default, its help, a one-letter flag, and bounds ge, gt, le, lt.

    A string has the bound max_length, in characters, unless it is a text of any length: a setting
    may come from a file that somebody else made.
    shown: how help pages describe the default, if its value alone is not clear.
    panel: the section of a help page that begins with this field; it lasts until the next one.
    """
    assert bounds.keys() <= {*_BOUNDS, _MAX_LENGTH}
    words = {"help": help, "short": short, "shown": shown, "panel": panel}
    return dataclasses.field(default=default, metadata=words | bounds)


def panels(kind: Any) -> dict[str, str | None]:
    """Return the section of a help page that each field belongs to, by the field's name."""
    found: dict[str, str | None] = {}
    panel = None
    for field in dataclasses.fields(kind):
        panel = field.metadata.get("panel") or panel
        found[field.name] = panel
    return found


def check(settings: Any) -> None:
    """Raise SettingsError for the first field that has the wrong type or is out of bounds.

    Whole numbers in fields of type float become floats, so that 0 and 0.0 give the same run.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if (requirement := _violated(value, field)) is not None:
            raise SettingsError(f"`{field.name}={shortened(value)}`: must be {requirement}")
        if type(value) is int and value_type(field)[0] is float:
            object.__setattr__(settings, field.name, float(value))  # the dataclass may be frozen


def make(kind: type[T], values: Mapping[str, Any]) -> T:
    """Create settings from names and values. Raises SettingsError, also for unknown names."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise SettingsError(f"`{shortened(name)}` is not a setting")
    return kind(**values)


def check_threads(threads: int | None) -> None:
    """Raise SettingsError for a number of CPU threads out of bounds; None leaves it to others."""
    if threads is not None and not (_is_of(threads, int) and 1 <= threads <= MAX_THREADS):
        raise SettingsError(f"`threads={shortened(threads)}`: must be from 1 to {MAX_THREADS:,}")


def value_type(field: "dataclasses.Field[Any]") -> tuple[Any, bool]:
    """Return the type of a field without None, and whether the field may be None."""
    if not isinstance(field.type, types.UnionType):
        return field.type, False
    (kind,) = (part for part in typing.get_args(field.type) if part is not types.NoneType)
    return kind, True


def number_pair(name: str, text: str) -> tuple[float, float]:
    """Parse START:END, two numbers of at least 0. Raises SettingsError."""
    try:
        start, end = map(float, text.split(":"))
    except ValueError:
        start = end = -1.0
    if not (0 <= start <= _LARGEST_FLOAT and 0 <= end <= _LARGEST_FLOAT):
        raise SettingsError(
            f"`{name}={shortened(text)}`: must be START:END, two numbers such as 0.5:1.2"
        )
    return start, end


def _violated(value: Any, field: "dataclasses.Field[Any]") -> str | None:
    """Return the requirement that a value does not meet, or None if it meets all."""
    kind, optional = value_type(field)
    if value is None and optional:
        return None
    origin = typing.get_origin(kind) or kind
    if origin is Literal:
        choices = typing.get_args(kind)
        valid = isinstance(value, str) and value in choices
        return None if valid else f"one of {', '.join(choices)}"
    if not _is_of(value, origin):
        return _KIND_NAMES.get(kind) or f"of type {origin.__name__}"
    if kind == tuple[str, ...]:
        return None if all(isinstance(part, str) for part in value) else _KIND_NAMES[kind]
    longest = field.metadata.get(_MAX_LENGTH)
    if longest is not None and len(value) > longest:
        return f"at most {longest:,} characters long"
    return _exceeded(value, kind, field) if kind in (int, float) else None


def _is_of(value: Any, kind: type) -> bool:
    """Return whether a value is of a type; a whole number also is a number, but no bool is."""
    if isinstance(value, bool):
        return kind is bool
    also: dict[type, type] = {float: int, frozenset: set}
    return isinstance(value, (kind, also.get(kind, kind)))


def _exceeded(value: float, kind: type, field: "dataclasses.Field[Any]") -> str | None:
    """Return the bound that a number exceeds, or None."""
    if kind is float and not -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:  # also catches NaN
        return "a finite number"
    bounds = dict(field.metadata)
    if kind is int and not {"le", "lt"} & bounds.keys():
        bounds["le"] = LARGEST
    for name, (words, holds) in _BOUNDS.items():
        bound = bounds.get(name)
        if bound is not None and not holds(value, bound):
            return f"{words} {bound:,}"
    return None
