"""Run a command of charrnn inside the test's own process, which saves a start of Python and torch.

The command sees streams, working folder, arguments and environment of its own. It sees the same
imported modules as the test, so what happens at start-up, at exit, on a signal or in a terminal
needs tests.processes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from tests.processes import SIGNALS


def run_here(
    *arguments: object, cwd: Path, stdin: str | bytes = "", environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `charrnn ...` to its end; an exception that would be a traceback is raised.

    environment: variables to add.
    """
    assert not any(name.startswith("PYTHON") for name in environment), "only a process reads those"
    from charrnn.cli import app

    argv = ["charrnn", *map(str, arguments)]
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _descriptors(data, out, err), _state_restored(), pytest.MonkeyPatch.context() as patch:
            patch.chdir(cwd)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", argv)
            with _streams(patch):
                code = _exit_code(app.main)
        shown = []
        for file in (out, err):
            file.seek(0)
            shown.append(file.read().decode())
    return subprocess.CompletedProcess(argv, code, *shown)


def _exit_code(app: Callable[[], None]) -> int:
    try:
        app()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    return 0


@contextmanager
def _descriptors(stdin: bytes, out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    """Let descriptors 0, 1 and 2 be a pipe that holds `stdin`, and two files."""
    reader, writer = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writer, stdin))
    kept = [os.dup(number) for number in range(3)]
    try:
        for number, descriptor in enumerate((reader, out.fileno(), err.fileno())):
            os.dup2(descriptor, number)
        os.close(reader)
        feeder.start()
        yield
    finally:
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)
        feeder.join()  # the last reader of its pipe is gone


def _feed(writer: int, data: bytes) -> None:
    with suppress(OSError), os.fdopen(writer, "wb", buffering=0) as pipe:
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) :]


@contextmanager
def _streams(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let sys.stdin, stdout and stderr be as Python makes them for pipes."""
    with ExitStack() as stack:
        for number, (name, mode, errors) in enumerate(
            (
                ("stdin", "r", "strict"),
                ("stdout", "w", "strict"),
                ("stderr", "w", "backslashreplace"),
            )
        ):
            stream = os.fdopen(number, mode, encoding="utf-8", errors=errors, closefd=False)
            patch.setattr(sys, name, stack.enter_context(stream))
        yield


@contextmanager
def _state_restored() -> Iterator[None]:
    """Restore what a command may change for the whole process: signals and torch's threads."""
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    handlers = [(number, signal.getsignal(number)) for number in numbers]
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        if torch and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
