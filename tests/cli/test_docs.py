"""docs/cli.md is what the help pages say."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT, Command

PATH = ROOT / "docs" / "cli.md"
COMMANDS = (
    "train", "resume", "sample", "eval", "info", "runs", "compare",
    "corpora", "corpora show", "corpora fetch", "corpora cache",
)  # fmt: skip


def generated(command: Command) -> str:
    pages = [((), "charrnn"), *((name.split(), f"charrnn {name}") for name in COMMANDS)]
    parts = ["# The command line\n\nGenerated from the help pages by `make docs`.\n"]
    for arguments, title in pages:
        done = command(*arguments, "--help")
        assert done.returncode == 0, done.stderr
        parts.append(f"## {title}\n\n```\n{done.stdout.rstrip()}\n```\n")
    return "\n".join(parts)


def test_the_command_line_page_is_up_to_date(
    command: Command, request: pytest.FixtureRequest
) -> None:
    text = generated(command)
    if request.config.getoption("--rebuild-docs"):
        PATH.write_text(text, encoding="utf-8")
    assert PATH.read_text(encoding="utf-8") == text, "run `make docs`"


def test_every_make_target_is_in_the_help() -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "slow", "lint", "format", "bench", "docs", "clean", "help"):
        assert f"make {target}" in shown
