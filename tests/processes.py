"""Run charrnn in processes of its own, and make sure that none of them outlives its test.

A process starts with the default handling of Ctrl-C, SIGTERM and SIGHUP, even if the tests
themselves were started with these ignored, as in the background of a script or under nohup.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

Process = subprocess.Popen[bytes]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
PATIENCE = 120  # seconds to wait for something that takes moments, on however busy a machine
# A terminal sends Ctrl-C to the processes it controls, not to those that merely inherit it.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

_running: list[Process] = []


def let_children_be_signalled() -> None:
    """Catch, and drop, the signals that this process was started with ignored.

    A child inherits an ignored signal as ignored, but one that has a handler as the default.
    """
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


def start(
    *arguments: object,
    cwd: Path,
    code: str | None = None,
    ignoring: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start `charrnn ...` in a process group of its own, which `end_all` ends at the latest.

    code: Python code to run instead of the module. ignoring: signals that the process ignores
    from its start, as under nohup. stdin: subprocess.PIPE to write to the process. environment:
    variables to add.
    """
    begin = ["-m", "charrnn"] if code is None else ["-c", code]
    with _ignored(ignoring):
        return _popen(
            [sys.executable, *begin, *map(str, arguments)],
            cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | dict(environment or {}),
            **({} if sys.platform == "win32" else {"process_group": 0}),
        )  # fmt: skip


def run(
    *arguments: object,
    cwd: Path,
    code: str | None = None,
    stdin: str | bytes = "",
    timeout: float = 300,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run `charrnn ...` in a process of its own, without a terminal, to its end."""
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    process = start(*arguments, cwd=cwd, code=code, stdin=subprocess.PIPE, environment=environment)
    out, err = process.communicate(data, timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out.decode(), err.decode())


def wait_until(happened: Callable[[], object], process: Process) -> None:
    """Wait for something that a process does. Fails if the process ends first, or never does it."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.005)


def end_all() -> None:
    """Kill the processes that still run, with all that they started, and close their pipes."""
    while _running:
        process = _running.pop()
        if process.poll() is None:
            _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):  # what was not written yet has no reader
                    pipe.close()


def in_terminal(
    arguments: Sequence[object],
    cwd: Path,
    columns: int,
    *,
    typed: Sequence[tuple[str, bytes]] = (),
    **environment: str,
) -> str:
    """Run charrnn in a terminal of that width; returns what it showed.

    typed: pairs of a text to wait for and what to type once it has been shown.
    """
    import fcntl
    import struct
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = _popen(
        [sys.executable, "-c", _TAKE_TERMINAL, "-m", "charrnn", *map(str, arguments)],
        stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True,
        env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
        | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "dumb"}
        | environment,
    )  # fmt: skip
    os.close(slave)
    shown, answered = b"", 0
    waiting = list(typed)
    while data := _read(master, process):
        shown += data
        if waiting and (at := shown.find(waiting[0][0].encode(), answered)) >= 0:
            answered = at + len(waiting[0][0].encode())
            os.write(master, waiting.pop(0)[1])
    os.close(master)
    assert process.wait(60) == 0, shown.decode()
    assert not waiting, shown.decode()
    return shown.decode()


def _read(terminal: int, process: Process) -> bytes:
    if not select.select([terminal], [], [], 60)[0]:  # it waits for input that is not coming
        process.kill()
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def _popen(arguments: Sequence[str], **options: Any) -> Process:
    process = subprocess.Popen(arguments, **options)
    _running.append(process)
    return process


def _kill(process: Process) -> None:
    if sys.platform == "win32":
        process.kill()
    else:  # it leads its group, and was not waited for: the group's number is still its own
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _ignored(numbers: Sequence[int]) -> Iterator[None]:
    """Ignore signals for a moment, so that a child inherits it."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
