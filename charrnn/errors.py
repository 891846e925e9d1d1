"""Every mistake a user can make, each with the exit code that the command line ends with.

A message is one or two lines: what is wrong, where, and what to do next. It names settings in
backticks, `min_length`, or with a value, `unknown=skip`. Python and HTTP users see these names;
the command line shows them as --min-length and --unknown skip.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

DISTRIBUTION = "charrnn-lm"  # what pip installs; the command and the import are charrnn


class CharrnnError(ValueError):
    """Something the user can put right."""

    exit_code = 1


class SettingsError(CharrnnError):
    """A setting out of its bounds, unknown, or at odds with another."""

    exit_code = 2


class MissingExtraError(SettingsError):
    """A setting that needs a package of an extra, which is not installed."""

    def __init__(self, setting: str, package: str, extra: str) -> None:
        """Say how to install it. extra: a name under optional-dependencies in pyproject.toml."""
        super().__init__(
            f"`{setting}` needs {package}, which is not installed: {install_command(extra)}"
        )


class CorpusError(CharrnnError):
    """A text that cannot be found, read, decoded or learned from."""


class UndecodableError(CorpusError):
    """A text that is not in the encoding it should be in.

    remedy: settings that would read the text, name to value; empty if nothing is likely.
    """

    def __init__(self, message: str, remedy: Mapping[str, str] | None = None) -> None:
        self.remedy = dict(remedy or {})
        super().__init__(message)


class UnknownCharacterError(CharrnnError):
    """A text holds a character outside the vocabulary of the model."""

    def __init__(self, character: str, position: int, *, replaceable: bool = True) -> None:
        """Name the first character that is unknown; position counts characters from 0.

        replaceable: whether the model knows anything that could be read in its place.
        """
        self.character = character
        self.position = position
        way_out = "`unknown=skip` or `unknown=replace`" if replaceable else "`unknown=skip`"
        super().__init__(
            f"the model does not know {describe(character)}, character {position + 1:,} of the "
            f"text; leave it out, or pass {way_out}"
        )


class RunError(CharrnnError):
    """A run or checkpoint that is not there, is there already, or cannot go on."""


class CheckpointError(CharrnnError):
    """A checkpoint that is damaged or that this version cannot read."""


class GenerationError(CharrnnError):
    """A model that cannot write: its numbers overflowed."""


class DeviceError(CharrnnError):
    """A device that this machine or this build of torch does not have."""


class TrainingError(CharrnnError):
    """Training that cannot go on: the loss is no longer a number."""


class MemoryShortageError(CharrnnError):
    """A model, or a chunk of it, that does not fit into memory."""


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
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    python = shlex.quote(_from_here(Path(sys.executable)))
    return f"{python} -m pip install -e {shlex.quote(f'{_from_here(checkout)}[{extra}]')}"


def _from_here(path: Path) -> str:
    """Return a path relative to the current folder if it is inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):  # OSError: the current folder was deleted
        return str(path)


def counted(number: int, noun: str) -> str:
    """Show a number of things: 1 lane, 1,200 lanes."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def describe(character: str) -> str:
    """Show a character so that it can be read in a terminal whatever it is: 'é' (U+00E9)."""
    shown = character if character.isprintable() else ascii(character)[1:-1]
    return f"'{shown}' (U+{ord(character):04X})"


def shown_character(character: str) -> str:
    """Show a character alone: itself where it is seen, else its code point."""
    if character.isprintable() and not character.isspace():
        return character
    return f"U+{ord(character):04X}"
