"""The typer app: registers the commands and turns errors into messages and exit codes."""

import functools
import io
import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated

import typer

import charrnn
from charrnn.cli import compare, corpora, eval, info, resume, runs, sample, train  # noqa: A004
from charrnn.cli.flags import flag, with_flags
from charrnn.cli.help import Command, Group
from charrnn.render.terminal import harmless, silence

EXAMPLES = """\
Train a model on the built-in text for one minute, then write with it:
  charrnn train --minutes 1
  charrnn sample --temperature 0.7
"""

app = typer.Typer(
    name="charrnn",
    cls=Group,
    help="Train character-level recurrent language models on any text, and generate text with "
    "them.",
    epilog=EXAMPLES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"charrnn {charrnn.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Declare the options that come before the command."""


def with_exit_codes(command: Callable[..., None]) -> Callable[..., None]:
    """Report an error in a line or two, and end with its exit code."""

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
            typer.echo("error: out of memory; close other programs, or use smaller sizes", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError as error:
            silence(sys.stdout)  # the reader of a pipe has closed it
            raise typer.Exit(0) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            typer.echo(f"error: {harmless(place)}{error.strerror or error}", err=True)
            raise typer.Exit(1) from error

    return run


Commands = tuple[tuple[str, Callable[..., None], str], ...]


def _register(group: typer.Typer, commands: Commands) -> None:
    for name, function, examples in commands:
        group.command(name, cls=Command, epilog=examples)(with_exit_codes(function))


_register(
    app,
    (
        ("train", train.train, train.EXAMPLES),
        ("resume", resume.resume, resume.EXAMPLES),
        ("sample", sample.sample, sample.EXAMPLES),
        ("eval", eval.evaluate, eval.EXAMPLES),
        ("info", info.info, info.EXAMPLES),
        ("runs", runs.runs, runs.EXAMPLES),
        ("compare", compare.compare, compare.EXAMPLES),
    ),
)
_corpora = typer.Typer(cls=Group, rich_markup_mode=None, epilog=corpora.EXAMPLES)
_corpora.callback(invoke_without_command=True)(with_exit_codes(corpora.corpora))
_register(
    _corpora,
    (
        ("show", corpora.show, corpora.SHOW_EXAMPLES),
        ("fetch", corpora.fetch, corpora.FETCH_EXAMPLES),
        ("cache", corpora.cache, corpora.CACHE_EXAMPLES),
    ),
)
app.add_typer(_corpora, name="corpora")


def main() -> None:
    """Run the command line."""
    _open_standard_streams()
    # A terminal states its encoding; a pipe or a file gets UTF-8 on every system. What cannot be
    # encoded, such as a file name that is not text, is escaped.
    encoding = None if sys.stdout.isatty() else "utf-8"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace", newline="\n")
    try:
        app(prog_name="charrnn")
    except OSError as error:  # from a help page or the version; commands handle their own
        silence(sys.stdout)
        typer.echo(f"error: {error.strerror or error}", err=True)
        raise SystemExit(1) from error


def _command_with(settings: dict[str, str]) -> str:
    """Return the command line with these settings added, before a -- that ends the flags."""
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
    """Open standard streams that were closed, so that no other file gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
