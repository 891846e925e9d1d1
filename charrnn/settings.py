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

from charrnn.errors import SettingsError

T = TypeVar("T")

# The default that help pages show for settings that charrnn.runs.choice chooses.
CHOSEN = "chosen to fit the corpus (see `preset`)"

_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("at most", operator.le),
    "lt": ("below", operator.lt),
}
_LARGEST = sys.float_info.max  # Python's whole numbers may be larger, and then are no floats
_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


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

    shown: how help pages describe the default, if its value alone is not clear.
    panel: the section of a help page that begins with this field; it lasts until the next one.
    """
    assert bounds.keys() <= _BOUNDS.keys()
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
    """Raise SettingsError for the first field that has the wrong type or is out of bounds."""
    for field in dataclasses.fields(settings):
        if "help" not in field.metadata:  # holds other settings, or is no setting
            continue
        value = getattr(settings, field.name)
        if (requirement := _violated(value, field)) is not None:
            raise SettingsError(f"`{field.name}={value}`: must be {requirement}")


def make(kind: type[T], values: Mapping[str, Any]) -> T:
    """Create settings from names and values. Raises SettingsError, also for unknown names."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise SettingsError(f"`{name}` is not a setting")
    return kind(**values)


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
    if not (0 <= start <= _LARGEST and 0 <= end <= _LARGEST):
        raise SettingsError(f"`{name}={text}`: must be START:END, two numbers such as 0.5:1.2")
    return start, end


def _violated(value: Any, field: "dataclasses.Field[Any]") -> str | None:
    """Return the requirement that a value does not meet, or None if it meets all."""
    kind, optional = value_type(field)
    if value is None and optional:
        return None
    if typing.get_origin(kind) is tuple:
        valid = isinstance(value, tuple) and all(isinstance(part, str) for part in value)
        return None if valid else "a list of strings"
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return None if value in choices else f"one of {', '.join(map(str, choices))}"
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        return _KIND_NAMES[kind]
    if kind is float and not -_LARGEST <= value <= _LARGEST:  # also catches NaN
        return "a finite number"
    for name, (words, holds) in _BOUNDS.items():
        bound = field.metadata.get(name)
        if bound is not None and not holds(value, bound):
            return f"{words} {bound:,}"
    return None
