"""Options that take one value, or several separated by commas: --cell rnn,gru,lstm."""

import re
import typing
from collections.abc import Callable
from typing import Any, Literal

import typer

# 1,024 is one number to some, and 0,01 to others; as a list, no number in it would look like this.
_PART_OF_A_NUMBER = re.compile(r"0\d+")
_NAMES = {int: "a whole number", float: "a number"}


def parser(kind: Any) -> Callable[[str], Any] | None:
    """Return a function that reads an option's text; None for options that take one value only.

    It returns a value of this kind, or a tuple of several. Words are checked with the settings.
    """
    if kind not in _NAMES and typing.get_origin(kind) is not Literal:
        return None
    read = kind if kind in _NAMES else str

    def parse(text: str) -> Any:
        values = tuple(_value(part, text, read) for part in text.split(","))
        return values[0] if len(values) == 1 else values

    return parse


def completion(kind: Any) -> Callable[[str], list[str]] | None:
    """Return a function that completes the last word of a list; None if there are no words."""
    if typing.get_origin(kind) is not Literal:
        return None
    words: tuple[str, ...] = typing.get_args(kind)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [
            before + comma + word
            for word in words
            if word.startswith(last) and word not in before.split(",")
        ]

    return complete


def _value(part: str, text: str, read: Callable[[str], Any]) -> Any:
    several = "," in text
    part = part.strip() if several else part
    if several and not part:
        raise typer.BadParameter(f"{text!r}: a value is missing beside a comma.")
    if several and read is not str and _PART_OF_A_NUMBER.fullmatch(part):
        raise typer.BadParameter(
            f"{text!r}: commas separate several values; write a single number as 1024 or 0.01."
        )
    try:
        return read(part)
    except ValueError as error:
        raise typer.BadParameter(f"{part!r} is not {_NAMES[read]}.") from error  # type: ignore[index]
