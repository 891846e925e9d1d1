"""The table of settings in docs/reference/configuration.md is made from the settings."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn import settings
from tests.conftest import Command
from tests.docs import pages

PAGE = pages.DOCS / "reference" / "configuration.md"
MARKS = ("<!-- settings: made by `make docs` -->\n", "<!-- end of settings -->\n")
_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def table() -> str:
    lines = ["| name | value | default |", "|---|---|---|"]
    for kind in (charrnn.ModelConfig, charrnn.TrainingConfig, charrnn.CorpusConfig):
        for field in dataclasses.fields(kind):
            name = field.name.replace("_", "-")
            lines.append(f"| `{name}` | {_values(field)} | {_default(field)} |")
    return "\n".join(lines) + "\n"


def _values(field: "dataclasses.Field[Any]") -> str:
    kind, _ = settings.value_type(field)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f'`"{choice}"`' for choice in typing.get_args(kind))
    return _NAMES[kind]


def _default(field: "dataclasses.Field[Any]") -> str:
    if (words := field.metadata["shown"]) is not None:
        return str(words).partition(" (")[0]
    if field.default in (None, ""):
        return "-"
    text = str(field.default)
    return f"`{text.lower()}`" if isinstance(field.default, bool) else f"`{text}`"


def test_the_table_of_settings_is_up_to_date(request: pytest.FixtureRequest) -> None:
    before, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    text = before + mark + table() + end + after
    if request.config.getoption("--rebuild-docs"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_example_of_a_settings_file_is_read(command: Command, tmp_path: Path) -> None:
    pages.write_sources(tmp_path, PAGE)
    done = command("train", "names.txt", "--config", "settings.toml", *pages.SMALL)
    assert done.returncode == 0, done.stderr
    assert "1 x 8 gru" in done.stderr
