"""docs/reference/cli.md is what the help pages say."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from charrnn.cli.app import app
from charrnn.cli.help import below, sections, summary
from tests.conftest import ROOT

PATH = ROOT / "docs" / "reference" / "cli.md"


def commands(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """The path, the command and the context of a command and of all below it."""
    context = typer.Context(command, parent=parent, info_name=path.rpartition(" ")[2])
    context.help_option_names = ["--help", "-h"]
    yield path, command, context
    for name, one in below(context):
        yield from commands(one, f"{path} {name}", context)


def section(path: str, command: Any, context: Any) -> str:
    """The help page of a command as Markdown, with a heading for each panel."""
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## {path}", paragraphs(command.help), f"```sh\n{usage}\n```"]
    if listed := below(context):
        links = [
            f"- [`{path} {name}`](#{f'{path} {name}'.replace(' ', '-')}): {summary(one)}"
            for name, one in listed
        ]
        parts += ["### Commands", "\n".join(links)]
    for title, rows in sections(command, context):
        lines = [f"- `{name}`: {escaped(text)}" for name, text in rows]
        parts += [f"### {title}", "\n".join(lines)]
    parts += ["### Examples", *examples(command.epilog)]
    return "\n\n".join(parts) + "\n"


def paragraphs(text: str) -> str:
    """A help text with each paragraph on one line."""
    return "\n\n".join(" ".join(escaped(part).split()) for part in text.split("\n\n"))


def escaped(text: str) -> str:
    """Text as Markdown that shows it unchanged, but with flags set as code."""
    shown = re.sub(r"([\\*_<`])", r"\\\1", text)
    return re.sub(r"(--[a-z][a-z0-9-]*)", r"`\1`", shown)


def examples(epilog: str) -> Iterator[str]:
    """Words, and the commands they describe as code."""
    for part in epilog.strip().split("\n\n"):
        words, *lines = part.splitlines()
        yield words
        yield "```sh\n{}\n```".format("\n".join(line.strip() for line in lines))


def generated() -> str:
    root = typer.main.get_command(app)
    pages = [section(*found) for found in commands(root, "charrnn")]
    introduction = (
        "# The command line\n\nGenerated from the help pages by `make docs`; `charrnn COMMAND "
        "--help` prints them in the terminal.\n"
    )
    return "\n".join([introduction, *pages])


def test_the_command_line_page_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = generated()
    if request.config.getoption("--rebuild-docs"):
        PATH.write_text(text, encoding="utf-8")
    assert PATH.read_text(encoding="utf-8") == text, "run `make docs`"


def test_every_make_target_is_in_the_help() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.M)[0].split():
        assert f"make {target}" in shown
