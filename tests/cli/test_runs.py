"""`charrnn runs`, and its commands remove and rename, as a user runs them."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

import charrnn
from charrnn.checkpoint.lifecycle import claimed
from tests.conftest import Command
from tests.processes import in_terminal, start, wait_until

TINY = ["--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--seq-length", "16"]

needs_terminal = pytest.mark.skipif(
    sys.platform == "win32", reason="no pseudo-terminals on Windows"
)


@pytest.fixture
def folder(trained: charrnn.TrainingResult, tmp_path: Path) -> Path:
    """The folder of runs in the working folder, with two runs."""
    for name in ("river", "brook"):
        shutil.copytree(trained.folder, tmp_path / "checkpoints" / name)
    return tmp_path / "checkpoints"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def states(command: Command) -> dict[str, tuple[str, bool, bool | None]]:
    """What the table and the JSON say of each run: its state, training, finished."""
    heads, *rows = (line.split() for line in command("runs").stdout.splitlines())
    shown = {row[0]: row[-1] for row in rows}
    assert heads[-1] == "state"
    listed = json.loads(command("runs", "--json").stdout)
    return {run["run"]: (shown[run["run"]], run["training"], run["finished"]) for run in listed}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_runs_shows_the_state_of_each_run(command: Command, corpus: Path, tmp_path: Path) -> None:
    """And what it asks does not disturb the trainer, which goes on and can be stopped."""
    assert command("train", corpus, *TINY, "--steps", 2, "--run", "short", "-q").returncode == 0
    words = ("--steps", "1000000", "--save-every", "10", "--eval-every", "0", "--run", "long")
    process = start("train", corpus, *TINY, *words, "-q", cwd=tmp_path)
    step = tmp_path / "checkpoints" / "long" / "step-00000010"
    wait_until(step.exists, process)
    for _ in range(3):
        assert states(command) == {
            "long": ("training", True, False),
            "short": ("finished", False, True),
        }
    for done in (
        command("runs", "remove", "short", "long", "--yes"),
        command("runs", "rename", "long", "longer"),
    ):
        said = "error: run long is being trained by another process; stop that one first\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (143, b"")
    assert states(command) == {
        "long": ("stopped", False, False),
        "short": ("finished", False, True),
    }


def test_the_flags_of_the_list_are_what_they_were(command: Command, folder: Path) -> None:
    where = ("--checkpoint-dir", folder)
    assert command("runs", "-q", *where).stdout.split() == ["river", "brook"]
    assert "20, 40, 60" in command("runs", "-v", *where).stdout
    assert {run["step"] for run in json.loads(command("runs", "--json", *where).stdout)} == {60}


def test_remove_says_what_goes_and_deletes_it(command: Command, folder: Path) -> None:
    """All of it on stderr."""
    (folder / "river" / "notes.txt").write_text("mine")
    done = command("runs", "remove", "river", "checkpoints/brook", "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    first, second, last = done.stderr.splitlines()
    assert first.startswith("checkpoints/river: 3 checkpoints, ")
    assert first.endswith("kB; also notes.txt, not written by charrnn")
    assert second.startswith("checkpoints/brook: 3 checkpoints, ")
    assert last == "deleted river, brook"
    assert names(folder) == []


def test_quiet_commands_on_runs_say_nothing(command: Command, folder: Path) -> None:
    for words in (("rename", "river", "sea"), ("remove", "sea", "brook", "--yes")):
        done = command("runs", *words, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(folder) == []


def test_remove_needs_yes_without_a_terminal(command: Command, folder: Path) -> None:
    """Whatever is piped into it."""
    done = command("runs", "remove", "river", stdin="y\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no terminal to ask on; to delete runs, add --yes\n"
    assert names(folder) == ["brook", "river"]


@needs_terminal
@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (b"y\n", ["brook"]), (b"YES\n", ["brook"]), (b"n\n", ["brook", "river"]),
        (b"\n", ["brook", "river"]), (b"yellow\n", ["brook", "river"]),
        (b"\x04", ["brook", "river"]),
    ],
)  # fmt: skip
def test_remove_asks_on_a_terminal(folder: Path, typed: bytes, left: list[str]) -> None:
    """Only a clear yes is one; Ctrl-D is not."""
    question = "delete this run for good? [y/N]"
    shown = in_terminal(
        ("runs", "remove", "river", "-q"), folder.parent, 80, typed=[(question, typed)]
    )
    assert "checkpoints/river: 3 checkpoints, " in shown.partition(question)[0]
    assert names(folder) == left
    asked_again = in_terminal(("runs", "remove", "brook", "--yes"), folder.parent, 80)
    assert "[y/N]" not in asked_again


WRONG = [
    (("remove",), 2, "Missing argument 'RUN"),
    (("remove", "river", "nobody", "--yes"), 1, "no run, checkpoint or model file 'nobody'"),
    (("remove", "checkpoints", "--yes"), 1, "no run, checkpoint or model file 'checkpoints'"),
    (("remove", "other/sea", "--yes"), 1, "other/sea is not in checkpoints; to name it, add --ch"),
    (("rename", "river"), 2, "Missing argument 'NEW'"),
    (("rename", "river", "brook"), 1, "checkpoints/brook exists already; choose another name"),
    (("rename", "river", "a/b"), 1, "'a/b': not a name for a folder; use printable characters"),
    (("rename", "nobody", "sea"), 1, "no run, checkpoint or model file 'nobody'"),
]


@pytest.mark.parametrize(("words", "code", "message"), WRONG)
def test_a_mistake_deletes_and_renames_nothing(
    command: Command, folder: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    shutil.copytree(folder / "river", folder.parent / "other" / "sea")
    done = command("runs", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert names(folder) == ["brook", "river"]
    assert names(folder.parent / "other") == ["sea"]


def test_rename_says_where_the_run_is_now(command: Command, folder: Path) -> None:
    done = command("runs", "rename", "river", "sea")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "the run is now called sea, in checkpoints/sea\n"
    assert names(folder) == ["brook", "sea"]
    assert command("resume", "sea", "--steps", 62, "-q").returncode == 0


def test_the_folder_may_be_given_before_the_command(command: Command, folder: Path) -> None:
    """It wins over the environment, and the flag of the command itself wins over it."""
    shutil.copytree(folder, folder.parent / "other")
    where = {"CHARRNN_CHECKPOINT_DIR": "checkpoints"}
    before = ("runs", "--checkpoint-dir", "other")
    assert command(*before, "remove", "river", "--yes", **where).returncode == 0
    assert (names(folder), names(folder.parent / "other")) == (["brook", "river"], ["brook"])
    after = ("rename", "river", "sea", "--checkpoint-dir", "checkpoints")
    assert command(*before, *after).returncode == 0
    assert command("runs", "remove", "brook", "--yes", **where).returncode == 0
    assert (names(folder), names(folder.parent / "other")) == (["sea"], ["brook"])


def test_the_names_of_runs_are_completed(command: Command, folder: Path) -> None:
    """Not those that an interrupted removal left behind."""
    shutil.copytree(folder / "river", folder / ".river.gone.tmp")
    for words in ("charrnn runs remove ", "charrnn runs remove river ", "charrnn runs rename "):
        done = command(
            _CHARRNN_COMPLETE="complete_bash",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
            _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
        )
        assert done.stdout.split() == ["brook", "river", "checkpoints/"]


def test_a_list_in_a_locked_folder_creates_nothing(command: Command, folder: Path) -> None:
    """The lock of a run that is read only is not made."""
    for lock in folder.glob("*/.lock"):
        lock.unlink()
    with claimed(charrnn.Run(folder / "brook")):
        assert states(command)["brook"][0] == "training"
    assert not (folder / "river" / ".lock").exists()
