"""How a function becomes a command: its help page, and what happens if it fails."""

import functools
import shlex
import sys
from collections.abc import Callable, Mapping

import typer

import charrnn
from charrnn.cli.flags import flag, with_flags
from charrnn.cli.help import Command, Group
from charrnn.cli.messages import library_notices
from charrnn.render.terminal import harmless, silence

Function = Callable[..., None]


def single(function: Function, examples: str) -> typer.Typer:
    """Return an app of one command. For the format of the examples see charrnn.cli.help."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(cls=Command, epilog=examples)(with_exit_codes(function))
    return app


def group(
    function: Function, examples: str, commands: Mapping[str, tuple[Function, str]]
) -> typer.Typer:
    """Return an app whose function runs without a command, or before one of `commands`."""
    app = typer.Typer(cls=Group, rich_markup_mode=None, epilog=examples, add_completion=False)
    app.callback(invoke_without_command=True)(with_exit_codes(function))
    for name, (command, of_command) in commands.items():
        app.command(name, cls=Command, epilog=of_command)(with_exit_codes(command))
    return app


def with_exit_codes(command: Function) -> Function:
    """Report an error in a line or two, and end with its exit code."""

    @functools.wraps(command)
    def run(**arguments: object) -> None:
        try:
            with library_notices(quiet=bool(arguments.get("quiet"))):
                command(**arguments)
            sys.stdout.flush()
        except charrnn.CharrnnError as error:
            report(error)
            raise typer.Exit(error.exit_code) from error
        except MemoryError as error:
            typer.echo("error: out of memory; close other programs, or use smaller sizes", err=True)
            raise typer.Exit(1) from error
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
            typer.echo("error: no thread can be started; raise the limit (ulimit -u, -v)", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError as error:
            silence(sys.stdout)  # the reader of a pipe has closed it
            raise typer.Exit(0) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            typer.echo(f"error: {harmless(place)}{error.strerror or error}", err=True)
            raise typer.Exit(1) from error

    return run


def report(error: charrnn.CharrnnError) -> None:
    """Say what went wrong, unless another process of the command does."""
    if error.reported:
        return
    typer.echo(f"error: {harmless(with_flags(str(error)))}", err=True)
    if isinstance(error, charrnn.UndecodableError) and error.remedy:
        typer.echo(f"  {harmless(command_with(error.remedy))}", err=True)


def command_with(settings: Mapping[str, str]) -> str:
    """Return the command line with these settings, added before a -- that ends the flags."""
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    added = {flag(name): value for name, value in settings.items()}
    kept: list[str] = []
    given = iter(words[:at])
    for word in given:
        if word in added:
            next(given, None)  # its other value
        elif word.partition("=")[0] not in added:
            kept.append(word)
    flags = [word for pair in added.items() for word in pair]
    return shlex.join(["charrnn", *kept, *flags, *words[at:]])
