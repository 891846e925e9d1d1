"""The commands of the README run."""

import gzip
import re
import shlex
import string
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, TEXT, Command

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Settings that make a real command end in a moment.
QUICK = ["--batch-size", "4", "--seq-length", "16", "--eval-every", "0"]
SMALL = ["--hidden-size", "8", "--embedding-size", "4"]


def shell_commands() -> list[list[str]]:
    """The charrnn commands in shell blocks and sessions of the README, in order."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", README, re.M | re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("charrnn ")]


def test_the_readme_s_commands_run_in_their_order(command: Command, tmp_path: Path) -> None:
    """From top to bottom, on a text of the same names, with smaller sizes and fewer steps."""
    commands = shell_commands()
    assert [words[0] for words in commands].count("train") == 6
    assert {"train", "resume", "sample", "eval", "corpora"} == {words[0] for words in commands}
    _write_sources(tmp_path)
    for name in set(re.findall(r"\b[\w-]+\.txt", README)):
        (tmp_path / name).write_text(TEXT + string.printable, encoding="utf-8")
    (toml,) = re.findall(r"^```toml\n(.*?)^```", README, re.M | re.S)
    (tmp_path / "small.toml").write_text(toml, encoding="utf-8")
    limits = {"train": ["--steps", "3"], "resume": ["--steps", "6"]}
    for words in commands:
        if words[:2] == ["corpora", "fetch"]:
            continue  # downloads; tests/text/test_download.py does so from a server of its own
        extra = [*SMALL, *QUICK] if words[0] == "train" else []
        given = [*words, *extra, *([] if "--steps" in words else limits.get(words[0], []))]
        if words[0] == "resume" and "--steps" in words:
            given[given.index("--steps") + 1] = "9"
        done = command(*given)
        assert done.returncode == 0, (given, done.stderr)


def _write_sources(folder: Path) -> None:
    (folder / "poems").mkdir()
    (folder / "poems" / "river.txt").write_text(TEXT)
    with zipfile.ZipFile(folder / "essays.zip", "w") as archive:
        archive.writestr("stones.txt", TEXT)
    (folder / "notes.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (folder / "corpora").mkdir()
    (folder / "corpora" / "tiny-shakespeare.txt").write_text(TEXT)


def test_every_flag_that_the_readme_names_exists(command: Command) -> None:
    known = set(re.findall(r"--[a-z][a-z0-9-]*", (ROOT / "docs" / "cli.md").read_text()))
    assert set(re.findall(r"--[a-z][a-z0-9-]*", README)) <= known


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).is_file() for link in links)


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but for the minutes."""
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text(TEXT + string.printable, encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    quick = example.replace("minutes=5", "steps=3")
    assert quick != example
    exec(compile(quick, "README.md", "exec"), {})  # noqa: S102 - our own text
