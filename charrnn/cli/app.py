"""The typer app: registers the commands, maps errors to exit codes, once."""

import functools
import io
import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated

import typer

import charrnn
from charrnn.cli import corpora
from charrnn.cli.compare import compare
from charrnn.cli.eval import evaluate
from charrnn.cli.flags import flag, with_flags
from charrnn.cli.info import info
from charrnn.cli.resume import resume
from charrnn.cli.runs import runs
from charrnn.cli.sample import sample
from charrnn.cli.train import train
from charrnn.render.terminal import harmless, silence

app = typer.Typer(
    name="charrnn",
    help="Train character-level recurrent language models on any text, and write new text with "
    "them.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"charrnn {charrnn.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Hold what stands before the command."""


def with_exit_codes(command: Callable[..., None]) -> Callable[..., None]:
    """End with the exit code of an error, and one line that says what, where and what to do."""

    @functools.wraps(command)
    def run(**arguments: object) -> None:
        try:
            command(**arguments)
            sys.stdout.flush()
        except charrnn.CharrnnError as error:
            typer.echo(f"error: {harmless(with_flags(str(error)))}", err=True)
            if isinstance(error, charrnn.UndecodableError) and error.remedy:
                typer.echo(f"  {harmless(_command_with(error.remedy))}", err=True)
            raise typer.Exit(error.exit_code) from error
        except MemoryError as error:
            typer.echo("error: out of memory; end other programs, or give it less to do", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError as error:
            silence(sys.stdout)  # whoever read has enough
            raise typer.Exit(0) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            typer.echo(f"error: {harmless(place)}{error.strerror or error}", err=True)
            raise typer.Exit(1) from error

    return run


_COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "resume": resume,
    "sample": sample,
    "eval": evaluate,
    "info": info,
    "runs": runs,
    "compare": compare,
}
for name, function in _COMMANDS.items():
    app.command(name)(with_exit_codes(function))

_named = typer.Typer(rich_markup_mode=None)
_named.callback(invoke_without_command=True)(with_exit_codes(corpora.corpora))
for name, function in (("show", corpora.show), ("fetch", corpora.fetch), ("cache", corpora.cache)):
    _named.command(name)(with_exit_codes(function))
app.add_typer(_named, name="corpora")


def main() -> None:
    """Run the command line."""
    _open_standard_streams()
    # A terminal knows its encoding; a pipe or a file gets UTF-8 everywhere. What has no encoding,
    # such as part of a file name that is not text, is shown escaped.
    encoding = None if sys.stdout.isatty() else "utf-8"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace", newline="\n")
    try:
        app(prog_name="charrnn")
    except OSError as error:  # from a help page or the version; commands tell their own
        silence(sys.stdout)
        typer.echo(f"error: {error.strerror or error}", err=True)
        raise SystemExit(1) from error


def _command_with(settings: dict[str, str]) -> str:
    """Return the command that was given with these settings, before a -- that ends the flags."""
    words = sys.argv[1:]
    added: list[str] = []
    for name, value in settings.items():
        if flag(name) in words:  # with another value
            at = words.index(flag(name))
            del words[at : at + 2]
        added += [flag(name), value]
    at = words.index("--") if "--" in words else len(words)
    return shlex.join(["charrnn", *words[:at], *added, *words[at:]])


def _open_standard_streams() -> None:
    """Open what was closed before the start: no other file must take its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
