"""The command line's names for settings: hidden_size is --hidden-size."""

import re

_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


def flag(name: str) -> str:
    """Return the flag of a setting: hidden_size is --hidden-size."""
    return "--" + name.replace("_", "-")


def with_flags(message: str) -> str:
    """Show the settings that a message names in backticks as flags, see charrnn.errors."""

    def as_flag(found: re.Match[str]) -> str:
        name, value = found.groups()
        return flag(name) if value is None else f"{flag(name)} {value}"

    return _SETTING.sub(as_flag, message)
