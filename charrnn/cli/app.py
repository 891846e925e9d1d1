"""The program: its commands, each in the module of its name, and its standard streams."""

import io
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main

import charrnn
from charrnn.cli.help import Group
from charrnn.render.terminal import silence

# What the main help page says of each command; the module charrnn.cli.NAME holds it as `app`. A
# module is imported when its command is needed, so that the others do not slow it down.
COMMANDS = {
    "train": "Train a new model",
    "resume": "Continue a run exactly where it stopped",
    "sample": "Write text with a trained model",
    "eval": "Score texts: nats, bits and perplexity per character",
    "info": "Describe a checkpoint: its model, its corpus, its losses",
    "runs": "List the runs in the checkpoint folder, the newest first",
    "compare": "Compare runs: what each cost and what loss it reached",
    "corpora": "List the corpora that charrnn knows by name",
}
EXAMPLES = """\
Train a model on the built-in text for one minute, then write with it:
  charrnn train --minutes 1
  charrnn sample --temperature 0.7
"""


class Root(Group):
    """The commands of charrnn, imported one at a time."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, name: str) -> Any:
        """Import a command; None if there is no such command."""
        if name in COMMANDS and name not in self.commands:
            module = import_module(f"charrnn.cli.{name}")
            self.commands[name] = typer.main.get_command(module.app)
        return self.commands.get(name)

    def summaries(self, _ctx: Any) -> dict[str, str]:
        """Return what each command does."""
        return COMMANDS


app = typer.Typer(
    name="charrnn",
    cls=Root,
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


def _open_standard_streams() -> None:
    """Open standard streams that were closed, so that no other file gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
