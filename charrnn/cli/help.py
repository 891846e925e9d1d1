"""Commands whose help pages have panels and examples, and which suggest what was meant.

Written with typer's plain formatter: importing rich would double the time a help page takes.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand, TyperGroup

from charrnn.cli import suggest

GENERAL = "General"  # the panel of options that name no other; always the last

_NAMES = 24  # columns of names; longer ones have a line of their own

Rows = list[tuple[str, str]]


class Command(TyperCommand):
    """A command. Its epilog holds examples: a line of words ending in a colon, then commands."""

    def collect_usage_pieces(self, _ctx: Any) -> list[str]:
        """Return the words behind the name of the command in its first line of help."""
        return ["[OPTIONS]", *map(_argument, _arguments(self))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, and a section for each panel of options."""
        _write_sections(sections(self, ctx), formatter)

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; for an unknown flag, suggest what was meant."""
        with _suggestions(ctx):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands, with help pages and suggestions like those of `Command`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a line for each command, uncut, and the options."""
        rows = list(self.summaries(ctx).items())
        _write_sections([("Commands", rows), *sections(self, ctx)], formatter)

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; for an unknown flag, suggest what was meant."""
        with _suggestions(ctx):
            return super().parse_args(ctx, args)

    def summaries(self, _ctx: Any) -> dict[str, str]:
        """Return what each command does: the first line of its help."""
        return {name: summary(command) for name, command in self.commands.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; for an unknown one, suggest what was meant."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}; {_command_hint(name, known, ctx)}")
        return super().resolve_command(ctx, args)


def sections(command: TyperCommand | TyperGroup, ctx: Any) -> list[tuple[str, Rows]]:
    """Return the sections of a help page: titles, and the name and help of each parameter."""
    arguments: Rows = []
    panels: dict[str, Rows] = {}
    for parameter in command.get_params(ctx):
        if (row := parameter.get_help_record(ctx)) is None:
            continue
        if parameter.param_type_name == "argument":
            arguments.append((_argument(parameter), _tidied(row[1])))
        else:
            panel = getattr(parameter, "rich_help_panel", None) or GENERAL
            panels.setdefault(panel, []).append((row[0], _tidied(row[1])))
    if GENERAL in panels:
        general = panels.pop(GENERAL)
        panels[GENERAL if panels else "Options"] = general
    return [("Arguments", arguments), *panels.items()] if arguments else [*panels.items()]


def _tidied(text: str) -> str:
    """Return a help text without typer's bounds and its wide gaps."""
    bounds = r"(; |\[)(?:x>=1|1<=x<=\d+)\]"
    text = re.sub(bounds, lambda found: "]" if found[1] == "; " else "", text)
    return " ".join(text.split())


def below(ctx: Any) -> list[tuple[str, Any]]:
    """Return the names and commands of a group, given its context; none for a single command."""
    if ctx is None or not isinstance(ctx.command, TyperGroup):
        return []
    return [(name, ctx.command.get_command(ctx, name)) for name in ctx.command.list_commands(ctx)]


def summary(command: Any) -> str:
    """Return the first line of a command's help, without its full stop."""
    return (command.help or "").strip().partition("\n")[0].removesuffix(".")


def _write_sections(shown: Iterable[tuple[str, Rows]], formatter: Any) -> None:
    for title, rows in shown:
        with formatter.section(title):
            formatter.write_dl(rows, col_max=_NAMES)


def _write_examples(examples: str | None, formatter: Any) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples.strip().splitlines():
                formatter.write(f"  {line}".rstrip() + "\n")


@contextmanager
def _suggestions(ctx: Any) -> Iterator[None]:
    """Add to the error about an unknown flag what was probably meant."""
    try:
        yield
    except Exception as error:
        # typer exports neither the error nor its base; only this one has possibilities.
        if hasattr(error, "possibilities") and hasattr(error, "option_name"):
            hint = _flag_hint(error.option_name, ctx)
            error.possibilities = None  # typer's, which are near in spelling only
            error.message = f"No such option: {error.option_name}; {hint}"  # type: ignore[attr-defined]
        raise


def _command_hint(name: str, known: Collection[str], ctx: Any) -> str:
    if found := suggest.near_commands(name, known):
        return f"did you mean {_listed(found)}?"
    if "train" in known and os.path.lexists(name):
        return f"to train on it: charrnn train {name}"
    return "see " + _help_of(ctx)


def _flag_hint(flag: str, ctx: Any) -> str:
    own = _flags(ctx.command, ctx)
    arguments = list(map(_bare, _arguments(ctx.command)))
    if argument := suggest.meant_argument(flag, arguments):
        return f"{argument} is given without a flag: {ctx.command_path} {argument}"
    if found := suggest.near_flags(flag, own):
        return f"did you mean {_listed(found)}?"
    others = [name for name, other in below(ctx.parent) if flag in _flags(other, ctx)]
    if others:
        return f"it belongs to charrnn {_listed(others)}"
    return "see " + _help_of(ctx)


def _arguments(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "argument"]


def _argument(parameter: Any) -> str:
    """Return the name of an argument as help pages show it; versions of typer differ in this."""
    name = _bare(parameter)
    shown = name if parameter.required else f"[{name}]"
    return shown if parameter.nargs == 1 else f"{shown}..."


def _bare(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _flags(command: Any, ctx: Any) -> list[str]:
    return [
        option
        for parameter in command.get_params(ctx)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    ]


def _help_of(ctx: Any) -> str:
    return f"{ctx.command_path} --help"


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
