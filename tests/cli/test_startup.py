"""What answers without torch, and what is offered while typing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import charrnn
from tests.conftest import Command

# Runs the command line in a process and reports on stderr which heavy modules it imported.
PROBE = """
import sys
from charrnn.cli.app import app
try:
    app(sys.argv[1:], prog_name="charrnn")
finally:
    heavy = {"torch", "numpy", "rich", "tqdm"} & sys.modules.keys()
    print("imported:", *sorted(heavy), file=sys.stderr)
"""

# Reports the modules that are imported until the first signal is handled, and ends.
BEFORE_SIGNALS = """
import sys
before = set(sys.modules)
import signal
def handled(*_):
    print(*sorted(sys.modules.keys() - before))
    sys.exit()
signal.signal = handled
from charrnn.__main__ import main
main()
"""


def imported(*arguments: str, cwd: Path, **environment: str) -> tuple[int, set[str]]:
    """The exit code of a command, and the heavy modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        check=False,
    )
    assert "imported:" in done.stderr, done.stderr
    return done.returncode, set(done.stderr.rpartition("imported:")[2].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("sample", "--help"),
        ("train", "--hidden-size", "0"),
        ("train", "--hidden-size", "x"),
        ("train", "--preset", "huge"),
        ("train", "--no-such-option"),
        ("train", "--config", "nowhere.toml"),
        ("sample", "--temperature", "-1"),
        ("eval", "--context", "0"),
        ("eval", "--dynamic", "--dynamic-length", "0"),
        ("resume", "--epochs", "-1"),
        ("info", "--verify", "--checkpoint", "3"),
        ("compare", "--plot", "curve.jpg"),
        ("runs", "remove", "novel"),
        ("no-such-command",),
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    code, modules = imported(*arguments, cwd=tmp_path)
    assert code == (0 if {"--help", "--version"} & set(arguments) else 2)
    assert modules == set()


@pytest.mark.parametrize("words", ["charrnn sample ", "charrnn train ", "charrnn tr"])
def test_completion_imports_nothing_heavy(words: str, trained: charrnn.TrainingResult) -> None:
    code, modules = imported(
        cwd=trained.folder.parent.parent,
        _CHARRNN_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    assert (code, modules) == (0, set())


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "-n", "5"),
        ("sample", "-n", "5", "--json"),
        ("info",),
        ("info", "--verify"),
        ("runs",),
        ("compare",),
        ("compare", "--eval"),
        ("corpora",),
    ],
)
def test_commands_that_need_no_torch_do_not_import_it(
    arguments: tuple[str, ...], trained: charrnn.TrainingResult
) -> None:
    code, modules = imported(*arguments, cwd=trained.folder.parent.parent)
    assert code == 0
    assert "torch" not in modules


def test_import_charrnn_imports_nothing_heavy() -> None:
    code = (
        "import sys, charrnn; charrnn.ModelConfig; charrnn.CORPORA; charrnn.run_names;"
        "print({'torch', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_public_name_can_be_imported() -> None:
    for name in charrnn.__all__:
        assert getattr(charrnn, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        charrnn.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_almost_nothing_is_imported_before_signals_are_handled() -> None:
    """Until then, Ctrl-C ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_SIGNALS], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    own = {name for name in modules if name.startswith("charrnn")}
    assert own == {"charrnn", "charrnn.__main__", "charrnn.cli", "charrnn.cli.signals"}
    assert not {"ast", "lazy_loader", "re", "typer"} & modules


@pytest.mark.parametrize("module", ["signal", "charrnn.cli.signals"])
def test_ctrl_c_before_signals_are_handled_is_quiet(module: str, tmp_path: Path) -> None:
    """As soon as any code of charrnn runs, but for the few lines of its __init__.py."""
    code = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        f"sys.modules.pop({module!r}, None)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from charrnn.__main__ import main"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_public_names_are_listed_before_one_is_used() -> None:
    code = (
        "import charrnn; names = dir(charrnn); print(*names); charrnn.train; "
        "assert names == dir(charrnn) == sorted(charrnn.__all__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"train", "load", "__version__"} <= set(done.stdout.split())


def completions(command: Command, words: str) -> list[str]:
    done = command(
        _CHARRNN_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    return done.stdout.split()


def test_completion_suggests_runs_corpora_and_files(
    command: Command, trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    (tmp_path / "pytext.txt").write_text("a")
    (tmp_path / "rivulet").mkdir()
    assert completions(command, "charrnn train py") == ["python", "pytext.txt"]
    folder = trained.folder.parent
    assert completions(command, f"charrnn sample --checkpoint-dir {folder} ri") == [
        "river",
        "rivulet/",
    ]
    assert "resume" in completions(command, "charrnn re")
