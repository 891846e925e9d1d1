"""Options that several commands share, and options made from dataclasses of settings."""

import dataclasses
import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

import charrnn
from charrnn import settings
from charrnn.cli import flags, lists
from charrnn.cli.messages import notices

Settings = TypeVar("Settings")


def complete_model(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of runs, then files and folders."""
    folder = ctx.params.get("checkpoint_dir") or charrnn.CHECKPOINT_DIR
    names = [name for name in charrnn.run_names(folder) if name.startswith(incomplete)]
    return names + complete_path(incomplete)


def complete_corpus(incomplete: str) -> list[str]:
    """Complete the names of corpora, then files and folders."""
    known = (*charrnn.CORPORA, *charrnn.PUBLIC_CORPORA)
    names = [name for name in known if name.startswith(incomplete)]
    return names + complete_path(incomplete)


def complete_public_corpus(incomplete: str) -> list[str]:
    """Complete the names of corpora that can be fetched."""
    return [name for name in charrnn.PUBLIC_CORPORA if name.startswith(incomplete)]


def complete_path(incomplete: str) -> list[str]:
    """Complete files and folders; hidden ones only after a dot."""
    folder, start = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        os.path.join(folder, entry.name) + (os.sep if entry.is_dir() else "")  # noqa: PTH118
        for entry in entries
        if entry.name.startswith(start) and not (entry.name.startswith(".") and not start)
    ]


ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="The name or folder of a run, the folder of a checkpoint, or a model.safetensors. "
        "[default: the newest run]",
        autocompletion=complete_model,
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="latest|best|STEP",
        help="Which checkpoint of the run to use. [default: best]",
        show_default=False,
    ),
]
CheckpointDirOption = Annotated[
    Path,
    typer.Option(
        "--checkpoint-dir", metavar="FOLDER", envvar="CHARRNN_CHECKPOINT_DIR", is_eager=True,
        help="Folder of the runs.",
    ),
]  # fmt: skip
CorpusArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CORPUS",
        help="Text files, folders, patterns such as '*.txt', - for stdin, or the name of a corpus "
        "(see charrnn corpora). Also .gz, .bz2, .xz, .zst, .zip and .tar. [default: Python source "
        "code, built in]",
        autocompletion=complete_corpus,
        show_default=False,
    ),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", envvar="CHARRNN_CACHE_DIR", show_default=False, show_envvar=True,
        help="Folder of encoded corpora. [default: in the user's cache folder]",
    ),
]  # fmt: skip
CorporaDirOption = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER", envvar="CHARRNN_CORPORA_DIR",
        help="Folder of fetched corpora.",
    ),
]  # fmt: skip
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|mps",
        help="Device to compute on. auto: for training and --dynamic the first accelerator if "
        "there is one, otherwise the CPU.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        max=settings.MAX_THREADS,
        show_default=False,
        help="Number of CPU threads. [default: the fastest in a short measurement; resume: as many "
        "as the run had]",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print more details.")]
NamesOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only the names, one per line.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UNKNOWN = ("error", "skip", "replace")
WEIGHTS = ("float32", "int8")
UnknownOption = Annotated[
    str,
    typer.Option(
        "--unknown",
        metavar="|".join(UNKNOWN),
        help="What to do with characters that the model does not know: report an error, skip them, "
        "or replace them with a symbol it knows.",
        rich_help_panel="Text",
    ),
]

CHECKPOINT_DIR = Path(charrnn.CHECKPOINT_DIR)
CORPORA_DIR = Path(charrnn.CORPORA_DIR)

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}


def with_settings(
    *models: type,
    only: Collection[str] | None = None,
    default: str | None = None,
    several: Collection[type] = (),
    hidden: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option to a command for each field of some dataclasses, or for the fields in `only`.

    The command receives the options that were given as the dictionary `given`, from field names to
    values.
    default: the default that help pages show instead of each field's own. several: the dataclasses
    whose options take several values, separated by commas; the command receives these as a tuple.
    hidden: leave the options out of help pages. May be used more than once on a command, if the
    settings differ in these.
    """
    fields = [
        (field, panel, model in several)
        for model in models
        for field, panel in zip(
            dataclasses.fields(model), settings.panels(model).values(), strict=True
        )
        if only is None or field.name in only
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**options: Any) -> None:
            values = {field.name: options.pop(field.name) for field, *_ in fields}
            given = {
                name: as_typed(name, value)
                for name, value in values.items()
                if value not in (None, [])
            }
            command(given=options.pop("given", {}) | given, **options)

        added = [
            _parameter(field, panel, default, several=listed, hidden=hidden)
            for field, panel, listed in fields
        ]
        declare(wrapper, command, {"given"}, added)
        return wrapper

    return decorate


def declare(
    wrapper: Callable[..., None],
    command: Callable[..., None],
    hidden: Collection[str],
    added: Iterable[inspect.Parameter],
) -> None:
    """Give a wrapper the parameters of its command, without the hidden ones and with others added.

    typer makes the options from them.
    """
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name not in hidden]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *added)]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}


def resolve(
    model: type[Settings],
    given: dict[str, Any],
    config: dict[str, Any],
    base: Settings | None = None,
) -> Settings:
    """Create settings: defaults (or base) < configuration file < flags. Raises SettingsError."""
    base_values = {} if base is None else vars(base)
    return model(**base_values | named(model, given, config))


def named(model: type, given: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a model that are given: configuration file < flags."""
    names = {field.name for field in dataclasses.fields(model)}
    return {name: value for name, value in (config | given).items() if name in names}


def as_typed(name: str, value: Any) -> Any:
    """Return a setting's value with its escapes read, if it may contain a line end.

    Shells have no easy way to write one. A class of characters in brackets has its own escapes.
    """
    if isinstance(value, list):
        return tuple(as_typed(name, text) for text in value)
    literal = name in ("ban", "only") and not value.startswith("[")
    return unescaped(value) if literal or name in ("separator", "stop") else value


def unescaped(text: str) -> str:
    r"""Read \n, \t and \\ as in Python."""
    return re.sub(r"\\[nt\\]", lambda found: _ESCAPES[found[0]], text)


def check_choice(flag: str, value: str, choices: Iterable[str]) -> None:
    """Raise SettingsError unless value is one of the choices."""
    if value not in choices:
        raise charrnn.SettingsError(f"{flag} {value}: choose one of {', '.join(choices)}")


def _parameter(
    field: "dataclasses.Field[Any]",
    panel: str | None,
    default: str | None,
    *,
    several: bool,
    hidden: bool,
) -> inspect.Parameter:
    kind, _ = settings.value_type(field)
    metavar = _metavar(kind)
    if typing.get_origin(kind) is tuple:
        kind = list[str]
    flag = flags.flag(field.name)
    names = [f"{flag}/--no-{flag[2:]}" if kind is bool else flag]
    if field.metadata["short"]:
        names.append(field.metadata["short"])
    text = flags.with_flags(field.metadata["help"])
    own = field.metadata["shown"] or (
        None if kind is bool or field.default in ("", ()) else field.default
    )
    if (shown := default or own) is not None:
        text += f" [default: {flags.with_flags(str(shown))}]"
    option = typer.Option(
        *names,
        help=text,
        metavar=metavar,
        show_default=False,
        rich_help_panel=panel,
        hidden=hidden,
        parser=lists.parser(kind) if several else None,
        autocompletion=lists.completion(kind) if several else None,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _metavar(kind: Any) -> str | None:
    """Return the placeholder for the value of an option on help pages; None for a switch."""
    if typing.get_origin(kind) is Literal:
        return "|".join(map(str, typing.get_args(kind)))
    return {int: "N", float: "X", bool: None}.get(kind, "TEXT")


def load(
    model: str | None, checkpoint: str | None, checkpoint_dir: Path, quiet: bool
) -> "charrnn.Model":
    """Read a model; show notices about it unless the command is quiet."""
    notice = notices(quiet)
    return charrnn.load(model, checkpoint=checkpoint, checkpoint_dir=checkpoint_dir, notice=notice)
