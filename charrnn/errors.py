"""Errors that users can correct, each with the exit code of the command line.

A message is one or two lines: what is wrong, where, and what to do next. It names settings in
backticks, `min_length`, or with a value, `unknown=skip`. Python and HTTP users see these names;
the command line shows them as --min-length and --unknown skip.
"""

import math
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DISTRIBUTION = "charrnn-lm"  # what pip installs; the command and the import are charrnn

LONGEST = 60  # characters of a value in a message


class CharrnnError(ValueError):
    """Base class of every error that the user can correct.

    reported: whether another process of the same command reports it.
    """

    exit_code = 1
    reported = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process have the error, whatever the arguments it was made with."""
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[CharrnnError], args: tuple[Any, ...], values: dict[str, Any]) -> Any:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(values)
    return error


class SettingsError(CharrnnError):
    """A setting is unknown, out of bounds, or contradicts another setting."""

    exit_code = 2


class MissingExtraError(SettingsError):
    """A setting that needs a package of an extra, which is not installed."""

    def __init__(self, setting: str, package: str, extra: str) -> None:
        """Say how to install it. extra: a name under optional-dependencies in pyproject.toml."""
        super().__init__(
            f"`{setting}` needs {package}, which is not installed: {install_command(extra)}"
        )


class CorpusError(CharrnnError):
    """A text cannot be found, read or decoded, or is too short to train on."""


class UndecodableError(CorpusError):
    """A text is not in the expected encoding.

    remedy: settings that would let charrnn read the text, name to value; empty if unknown.
    """

    def __init__(self, message: str, remedy: Mapping[str, str] | None = None) -> None:
        self.remedy = dict(remedy or {})
        super().__init__(message)


class UnknownCharacterError(CharrnnError):
    """A text contains a character that is not in the model's vocabulary."""

    def __init__(self, character: str, position: int, *, replaceable: bool = True) -> None:
        """Report the first unknown character.

        position: its index in the text, counted from 0.
        replaceable: whether the vocabulary contains a symbol that can replace it.
        """
        self.character = character
        self.position = position
        way_out = "`unknown=skip` or `unknown=replace`" if replaceable else "`unknown=skip`"
        super().__init__(
            f"the model does not know {describe(character)}, character {position + 1:,} of the "
            f"text; leave it out, or pass {way_out}"
        )


class RunError(CharrnnError):
    """A run or checkpoint is missing, already exists, or cannot be continued."""


class CheckpointError(CharrnnError):
    """A checkpoint is damaged, or this version cannot read it."""


class GenerationError(CharrnnError):
    """A model cannot generate text, for instance because its numbers overflow."""


class NoTextError(GenerationError):
    """A model generates nothing but empty texts."""


class DeviceError(CharrnnError):
    """This machine, or this build of torch, does not have the requested device."""


class TrainingError(CharrnnError):
    """Training cannot continue because the loss is NaN or infinite."""


class GroupError(CharrnnError):
    """The processes of a run cannot work together, or one of them is gone."""


class MemoryShortageError(CharrnnError):
    """A model, or one training step of it, does not fit into memory."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, as it works in the current folder.

    If charrnn runs from a checkout, the command installs the extra of that checkout.
    """
    checkout = Path(__file__).resolve().parents[1]
    project = checkout / "pyproject.toml"
    try:
        is_checkout = f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        is_checkout = False
    if not is_checkout:
        return f'pip install "{DISTRIBUTION}[{extra}]"'
    python = _quoted(_from_here(Path(sys.executable)))
    return f"{python} -m pip install -e {_quoted(f'{_from_here(checkout)}[{extra}]')}"


def _quoted(argument: str) -> str:
    """Quote for a shell: in double quotes if possible, since those also work on Windows."""
    quoted = shlex.quote(argument)
    if quoted == argument or re.search(r'["$`!]', argument):
        return quoted
    return f'"{argument}"'


def _from_here(path: Path) -> str:
    """Return a path relative to the current folder if it is inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):  # OSError: the current folder was deleted
        return str(path)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 lane, 1,200 lanes."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortened(value: object) -> str:
    """Return a value as a message shows it: on one line and not much longer than LONGEST.

    Works for any value: Python itself refuses to print long whole numbers and deeply nested lists.
    """
    if isinstance(value, int) and value.bit_length() > 256:
        sign = "-" if value < 0 else ""
        return f"about {sign}10^{math.floor(value.bit_length() * math.log10(2)):,}"
    try:
        text = str(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    shown = text[:LONGEST] + "…" if len(text) > LONGEST else text
    return shown if shown.isprintable() else repr(shown)


def describe(character: str) -> str:
    """Return a character and its code point, safe to print in any terminal: 'é' (U+00E9)."""
    shown = character if character.isprintable() else ascii(character)[1:-1]
    return f"'{shown}' (U+{ord(character):04X})"


def shown_character(character: str) -> str:
    """Return a character itself if it is visible, otherwise its code point: U+000A."""
    if character.isprintable() and not character.isspace():
        return character
    return f"U+{ord(character):04X}"
