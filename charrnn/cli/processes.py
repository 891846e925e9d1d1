"""One run in several processes: this command started several times, here or by torchrun."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli.commands import report
from charrnn.cli.groups import Verbosity
from charrnn.cli.signals import exit_code, heeded
from charrnn.cli.watch import watched
from charrnn.errors import DeviceError, GroupError, MemoryShortageError, SettingsError

MAX_PROCESSES = 256
# Seconds that the other processes have to end by themselves once one has failed.
EXIT_SECONDS = 5.0
POLL = 0.05
# Errors that one process may have alone.
_OF_ONE_PROCESS = (GroupError, DeviceError, MemoryShortageError)
# What `--processes` tells the processes that it starts, besides what torchrun would.
LAUNCHER, LISTENER = "CHARRNN_LAUNCHER", "CHARRNN_LISTENER"


@dataclass(frozen=True)
class ProcessOptions:
    """How many processes train the run."""

    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_PROCESSES,
            help="Number of processes on this machine that train the run, a power of 2; for "
            "several machines, see torchrun in the documentation. [default: 1]",
            show_default=False,
            rich_help_panel="Run",
        ),
    ] = None


@dataclass(frozen=True)
class Place:
    """A process's place among those of a command, as torchrun describes it.

    local: its number on its own machine. launcher: the process that started it with `--processes`,
    None for torchrun. listener: where the first one listens. restarts: how often torchrun has
    started it again.
    """

    rank: int
    size: int
    local: int
    address: str
    port: int
    launcher: int | None
    listener: int | None
    restarts: int


def place() -> Place | None:
    """Return this process's place, None if it is on its own. Raises SettingsError."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    optional = {name: os.environ.get(name) for name in (LAUNCHER, LISTENER)}
    try:
        numbers = {name: value and int(value) for name, value in optional.items()}
        return Place(
            rank=int(os.environ["RANK"]),
            size=int(os.environ["WORLD_SIZE"]),
            local=int(os.environ.get("LOCAL_RANK", "0")),
            address=os.environ["MASTER_ADDR"],
            port=int(os.environ["MASTER_PORT"]),
            launcher=numbers[LAUNCHER] or None,
            listener=numbers[LISTENER] or None,
            restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        )
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"RANK and WORLD_SIZE are set, as torchrun does, but not all of the rest ({error}); "
            "unset them, or start the command with torchrun"
        ) from error


@contextmanager
def shared(
    asked: ProcessOptions, talk: Verbosity, checkpoint_dir: Path, computing: Any
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of charrnn.train or charrnn.resume that depend on the processes.

    With --processes, the command is started in each of them, and this one ends when they have.
    """
    own, number = place(), asked.processes or 1
    if own is None and number > 1:
        check_number(number)
        raise typer.Exit(start(number))
    if own is None:
        with watched(talk, checkpoint_dir) as watching:
            yield {**vars(computing), **watching}
        return
    if own.launcher is None and number > 1:
        raise SettingsError("`processes` is for a command that torchrun does not start")
    code = 0
    try:
        with watched(talk, checkpoint_dir, silent=own.rank > 0) as watching, _group(own) as group:
            stop = _or_orphaned(watching.pop("stop"), own.launcher)
            values = {**vars(computing), "device": _device(computing.device, own)}
            yield {**values, **watching, "stop": stop, "group": group}
    except typer.Exit as ended:
        code = ended.exit_code
    except charrnn.CharrnnError as error:
        # All processes have it, but for what only one of them can know.
        if own.rank == 0 or isinstance(error, _OF_ONE_PROCESS):
            report(error)
        code = error.exit_code
    # Not in the usual way: once in a while, torch's communication aborts a process that ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def check_number(number: int) -> None:
    """Raise SettingsError if so many processes cannot share a run."""
    if number.bit_count() != 1:
        raise SettingsError(f"`processes={number}`: must be a power of 2: 1, 2, 4, 8, ...")


@contextmanager
def _group(own: Place) -> Iterator[Any]:
    with charrnn.joined(
        own.rank,
        own.size,
        own.address,
        own.port,
        listener=own.listener,
        torchrun=own.launcher is None,
    ) as group:
        commands = group.collect((charrnn.__version__, sys.argv[1:]))
        for rank, command in enumerate(commands):
            if command != commands[0]:
                raise GroupError(
                    f"process {rank} has another version of charrnn or another command than "
                    "process 0; start all processes with the same"
                )
        yield group


def _device(wanted: str, own: Place) -> str:
    """Return the GPU of a process, if there are GPUs and it may take one."""
    if own.size == 1 or wanted not in ("auto", "cuda"):
        return wanted
    import torch

    if not torch.cuda.is_available():
        return wanted
    if own.local >= torch.cuda.device_count():
        raise SettingsError(
            f"{torch.cuda.device_count()} GPUs are not enough for process {own.local} of this "
            "machine; start fewer, or use `device=cpu`"
        )
    return f"cuda:{own.local}"


def begun_before(checkpoint_dir: Path, run: str | None, group: Any) -> str | None:
    """Return the run that torchrun's earlier start of this command began, None if there is none.

    torchrun starts all processes again if one has failed. The run is then continued. Without a
    name, it is the one whose log was written last since torchrun began.
    """
    own = place()
    if own is None or not own.restarts:
        return None

    def find() -> str | None:
        names = charrnn.run_names(checkpoint_dir)
        if run is not None:
            return run if run in names else None
        logs = {name: checkpoint_dir / name / "log.jsonl" for name in names}
        written = {name: log.stat().st_mtime for name, log in logs.items() if log.exists()}
        newest = max(written, key=written.__getitem__, default=None)
        since = _started(os.getppid())
        return newest if newest is not None and written[newest] >= since else None

    found: str | None = group.from_first(find)
    return found


def _started(number: int) -> float:
    """Return when a process was started, in seconds since 1970; 0 if the system does not say."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:  # noqa: PTH123
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123
            (boot,) = (int(line.split()[1]) for line in file if line.startswith("btime"))
        return boot + ticks / os.sysconf("SC_CLK_TCK") - 1
    except (OSError, ValueError):
        return 0.0


def start(number: int) -> int:
    """Start this command in so many processes on this machine; returns the exit code of all."""
    if sys.platform == "win32":
        raise SettingsError("`processes` is not available on Windows")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        children = [_child(rank, number, listener) for rank in range(number)]

    def forward(received: int, _frame: FrameType | None) -> None:
        if children[0].poll() is None:  # all stop together
            children[0].send_signal(received)

    for heard in heeded():
        signal.signal(heard, forward)
    while True:
        codes = [child.poll() for child in children]
        if all(code is not None for code in codes):
            return max(_exit_code(code) for code in codes if code is not None)
        if any(codes):
            return _after_failure(children)
        time.sleep(POLL)


def _child(rank: int, number: int, listener: socket.socket) -> "subprocess.Popen[bytes]":
    """Start this command as one of several processes.

    They have a session of their own, so that Ctrl-C reaches them once, through this process.
    """
    own: dict[str, object] = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": number,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": listener.getsockname()[1],
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # torch's own account of a lost process is pages long
        LAUNCHER: os.getpid(),
    }
    if rank == 0:
        own[LISTENER] = listener.fileno()
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", *sys.argv[1:]],
        env=os.environ | {name: str(value) for name, value in own.items()},
        stdin=None if rank == 0 else subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[listener.fileno()] if rank == 0 else [],
    )


def _after_failure(children: "list[subprocess.Popen[bytes]]") -> int:
    """Wait until the others have ended, too, and end those that do not; returns the exit code."""
    until = time.monotonic() + EXIT_SECONDS
    while time.monotonic() < until and any(child.poll() is None for child in children):
        time.sleep(POLL)
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
    return max(_exit_code(child.returncode) for child in children)  # one of them has said why


def _exit_code(code: int) -> int:
    return code if code >= 0 else exit_code(-code) if -code in heeded() else 1


def _or_orphaned(stop: Callable[[], bool], launcher: int | None) -> Callable[[], bool]:
    """Return a stop that also heeds the end of the process that started this one."""
    if launcher is None:  # torchrun ends its processes itself
        return stop
    return lambda: stop() or os.getppid() != launcher
