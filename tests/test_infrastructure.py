"""The helpers of the tests, and what is asked of every test."""

import ast
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.conftest import ROOT, Command

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and groups of POSIX")

# How a child handles SIGINT if its parent was started with SIGINT ignored, as under nohup.
PARENT = """
import subprocess, sys
from tests.processes import let_children_be_signalled
let_children_be_signalled()
child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


@POSIX
def test_a_child_handles_signals_that_the_tests_ignore(tmp_path: Path) -> None:
    ignoring = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    parent = processes.start(code=PARENT, cwd=tmp_path, ignoring=ignoring)
    assert parent.communicate(timeout=60) == (b"True\n", b"")
    deaf = processes.start(code="import time; time.sleep(60)", cwd=tmp_path, ignoring=ignoring)
    deaf.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert deaf.poll() is None


@POSIX
def test_a_process_and_its_children_end_with_the_test(tmp_path: Path) -> None:
    """The end of a pipe that all of them hold open shows that none is left."""
    child = "print('started', flush=True); import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = processes.start(code=code, cwd=tmp_path, ignoring=[signal.SIGINT])
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    pipe = os.dup(process.stdout.fileno())
    processes.end_all()
    assert process.returncode == -signal.SIGKILL
    assert select.select([pipe], [], [], 20)[0], "something still runs"
    os.close(pipe)


def test_a_command_in_process_leaves_everything_as_it_was(command: Command, tmp_path: Path) -> None:
    def state() -> list[Any]:
        handlers = [signal.getsignal(getattr(signal, name)) for name in processes.SIGNALS]
        streams = [sys.stdin, sys.stdout, sys.stderr]
        files = [(at.st_dev, at.st_ino) for at in map(os.fstat, range(3))]
        return [Path.cwd(), dict(os.environ), list(sys.argv), handlers, streams, files]

    (tmp_path / "here.txt").write_text("It runs in a folder of its own. " * 9)
    command("train", "nowhere.txt")  # libraries may set variables when they are imported
    before = state()
    done = command("corpora", "show", "here.txt", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "here" in done.stdout
    assert command("train", "nowhere.txt").returncode == 1
    assert state() == before


@pytest.mark.parametrize("length", [0, 1, 1_000_000])
def test_a_command_in_process_reads_its_stdin(command: Command, length: int) -> None:
    done = command("corpora", "show", "-", "--json", stdin="a" * length)
    assert (done.returncode, f'"characters": {length},' in done.stdout) == (0, True)


def test_a_command_runs_the_same_here_and_as_a_process(command: Command, spawn: Command) -> None:
    for arguments in (("--version",), ("train", "--help"), ("train", "--steps", "x"), ("paint",)):
        here, process = command(*arguments), spawn(*arguments)
        assert (here.returncode, here.stdout, here.stderr) == (
            process.returncode, process.stdout, process.stderr,
        )  # fmt: skip


def test_every_test_has_a_name_of_less_than_60_characters() -> None:
    names = [
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 500
    assert [name for name in names if len(name) >= 60] == []
