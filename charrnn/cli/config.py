"""Files of settings, for `charrnn train --config`."""

import dataclasses
from pathlib import Path
from typing import Any

import charrnn
from charrnn.cli import flags, suggest
from charrnn.errors import shortened

MOST = 2**20  # characters of a file of settings


def read_config(path: Path | None, *models: type) -> dict[str, Any]:
    """Read a TOML file of settings; its keys are the names of flags without the leading dashes.

    Raises SettingsError if the file cannot be read or a key is not a setting.
    """
    if path is None:
        return {}
    import tomllib  # few commands read one

    text = _text(path)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise charrnn.SettingsError(f"--config {path}: not valid TOML: {error}") from error
    except ValueError as error:  # Python refuses to read it
        raise charrnn.SettingsError(f"--config {path}: a number has too many digits") from error
    except RecursionError as error:
        raise charrnn.SettingsError(f"--config {path}: a value is nested too deeply") from error
    known = {field.name for model in models for field in dataclasses.fields(model)}
    values = {key.replace("-", "_"): value for key, value in content.items()}
    for key in values.keys() - known:
        raise charrnn.SettingsError(f"--config {path}: {_no_setting(key, known)}")
    return values


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST + 1)  # it may be a device that never ends
    except OSError as error:
        raise charrnn.SettingsError(f"--config {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise charrnn.SettingsError(f"--config {path}: not valid TOML: {error}") from error
    if len(text) > MOST:
        raise charrnn.SettingsError(
            f"--config {path}: more than {MOST:,} characters are too many for a file of settings"
        )
    return text


def _no_setting(key: str, known: set[str]) -> str:
    shown = flags.flag(key)[2:]
    meant = suggest.near_setting(shown, {flags.flag(name)[2:] for name in known})
    hint = f"did you mean {meant}?" if meant else "see charrnn train --help"
    return f"{shortened(shown)} is not a setting; {hint}"
