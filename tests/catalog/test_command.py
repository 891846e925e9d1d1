"""`charrnn corpora fetch`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charrnn.cli.app import app
from tests.catalog.site import CONTENT, NAME, Answer, Publish, cut, left, send, status

# pooch leaves the connections of failed downloads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def listed(folder: Path) -> dict[str, Any]:
    """Return what `charrnn corpora --json` prints about the corpus."""
    result = CliRunner().invoke(app, ["corpora", "--json", "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = next(c for c in json.loads(result.stdout) if c["name"] == NAME)
    return found


def test_the_command_downloads_a_corpus(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    assert listed(folder)["where"] == "to fetch"
    result = CliRunner().invoke(app, ["corpora", "fetch", NAME, "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "(hash verified)" in result.stderr
    assert f"charrnn train {NAME}" in result.stderr
    assert listed(folder)["where"] == "fetched"
    assert Path(listed(folder)["file"]).read_bytes() == CONTENT


def test_the_command_reports_an_unchecked_hash(publish: Publish, folder: Path) -> None:
    publish(send(b"a newer edition"))
    arguments = ["corpora", "fetch", NAME, "--unverified", "--corpora-dir", str(folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "not checked" in result.stderr


@pytest.mark.parametrize("answer", [cut(CONTENT), status(404), send(b"wrong")])
def test_a_failing_command_prints_one_error(answer: Answer, publish: Publish, folder: Path) -> None:
    publish(answer)
    result = CliRunner().invoke(app, ["corpora", "fetch", NAME, "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]+\n", result.stderr)
    assert left(folder) == []
    assert listed(folder)["where"] == "to fetch"


def test_the_command_refuses_unknown_names(folder: Path) -> None:
    result = CliRunner().invoke(app, ["corpora", "fetch", "atlantis", "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]*'atlantis'[^\n]+\n", result.stderr)
