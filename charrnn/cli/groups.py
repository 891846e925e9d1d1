"""Options in groups: a command receives one object for each group of its options."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from charrnn.cli import options


@dataclass(frozen=True)
class Folders:
    """Where runs, encoded corpora and fetched corpora are kept."""

    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR
    cache_dir: options.CacheDirOption = None
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR


@dataclass(frozen=True)
class Computing:
    """What to compute on."""

    device: options.DeviceOption = "auto"
    threads: options.ThreadsOption = None


@dataclass(frozen=True)
class Verbosity:
    """How much to print on stderr."""

    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


def with_groups(**groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the fields of dataclasses to a command as options.

    groups: parameters of the command, and the dataclass of which each receives an object. A field's
    type is annotated with its typer.Option, as the parameter of a command would be.
    """
    fields = {name: dataclasses.fields(kind) for name, kind in groups.items()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            made = {
                name: kind(**{field.name: given.pop(field.name) for field in fields[name]})
                for name, kind in groups.items()
            }
            command(**given, **made)

        added = [_parameter(field) for group in fields.values() for field in group]
        options.declare(wrapper, command, groups, added)
        return wrapper

    return decorate


def _parameter(field: "dataclasses.Field[Any]") -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=field.default, annotation=field.type)
