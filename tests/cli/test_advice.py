"""What `charrnn train` and `charrnn corpora show` say about the shape of a text."""

import json
from pathlib import Path

from tests.conftest import Command
from tests.text.texts import names

TINY = ["--hidden-size", "8", "--embedding-size", "4", "--steps", "3", "--eval-every", "0"]
TINY += ["--batch-size", "4", "--seq-length", "16", "--threads", "1"]


def test_train_and_show_suggest_the_same_flags(command: Command, tmp_path: Path) -> None:
    """As notices on stderr, which --quiet suppresses; a resumed run does not repeat them."""
    (tmp_path / "names.txt").write_text("\n".join(sorted(names())) + "\n")
    shown = command("corpora", "show", "names.txt", "--json")
    assert json.loads(shown.stdout)["documents"] == 1
    lines, order = (line for line in shown.stderr.splitlines() if line.startswith("notice: "))
    assert lines.startswith("notice: 300 lines of ")
    assert lines.endswith(" on average: --lines treats each as a text of its own")
    assert "hold out random ones with --lines and --split-documents;" in order
    assert command("corpora", "show", "names.txt", "--quiet").stderr == ""
    trained = command("train", "names.txt", *TINY, COLUMNS="500")
    assert trained.returncode == 0, trained.stderr
    assert {lines, order} <= set(trained.stderr.splitlines())
    assert command("train", "names.txt", "--run", "quiet", *TINY, "--quiet").stderr == ""
    resumed = command("resume", "names", "--steps", "4", COLUMNS="500")
    assert resumed.returncode == 0, resumed.stderr
    assert "notice" not in resumed.stderr


def test_a_run_that_follows_the_advice_gets_none(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(sorted(names())) + "\n")
    done = command("train", "names.txt", "--lines", "--split-documents", *TINY)
    assert done.returncode == 0, done.stderr
    assert "in 300 documents" in done.stderr
    assert "notice" not in done.stderr
