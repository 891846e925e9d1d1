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
from typing import TYPE_CHECKING, Annotated, Any

import typer

import charrnn
from charrnn.cli.groups import Verbosity
from charrnn.cli.signals import exit_code, heeded
from charrnn.cli.watch import watched
from charrnn.errors import SettingsError

if TYPE_CHECKING:
    from charrnn.training.group import Group

MOST = 256
# Seconds that the other processes have to end by themselves once one has failed.
FAREWELL = 30.0
POLL = 0.05


@dataclass(frozen=True)
class Together:
    """How many processes train the run."""

    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST,
            help="Train in so many processes on this machine, a power of 2; for several machines, "
            "see torchrun in the documentation. [default: 1]",
            show_default=False,
            rich_help_panel="Run",
        ),
    ] = None


@dataclass(frozen=True)
class Place:
    """A process's place among those of a command, as torchrun describes it.

    local: its number on its own machine. restarts: how often torchrun has started it again.
    """

    rank: int
    size: int
    local: int
    address: str
    port: int
    restarts: int


def place() -> Place | None:
    """Return this process's place, None if it is on its own. Raises SettingsError."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    try:
        found = Place(
            rank=int(os.environ["RANK"]),
            size=int(os.environ["WORLD_SIZE"]),
            local=int(os.environ.get("LOCAL_RANK", "0")),
            address=os.environ["MASTER_ADDR"],
            port=int(os.environ["MASTER_PORT"]),
            restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        )
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"RANK and WORLD_SIZE are set, as torchrun does, but not all of the rest ({error}); "
            "unset them, or start the command with torchrun"
        ) from error
    return found if found.size > 1 or found.restarts else None


@contextmanager
def shared(
    together: Together, talk: Verbosity, checkpoint_dir: Path, computing: Any
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of charrnn.train or charrnn.resume that depend on the processes.

    With --processes, the command is started in each of them, and this one ends when they have.
    """
    own = place()
    if own is None and (together.processes or 1) > 1:
        check_number(together.processes or 1)
        raise typer.Exit(start(together.processes or 1))
    values = dict(vars(computing))
    if own is None:
        with watched(talk, checkpoint_dir) as watching:
            yield {**values, **watching}
        return
    if own.size > 1 and values["device"] in ("auto", "cuda"):
        values["device"] = _device(values["device"], own.local)
    code = 0
    try:
        with watched(talk, checkpoint_dir, silent=own.rank > 0) as watching, _group(own) as group:
            stop = _or_orphaned(watching.pop("stop"))
            yield {**values, **watching, "stop": stop, "group": group}
    except typer.Exit as ended:
        code = ended.exit_code
    # Not in the usual way: once in a while, torch's communication aborts a process that ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def check_number(number: int) -> None:
    """Raise SettingsError if so many processes cannot share a run."""
    if number.bit_count() != 1:
        raise SettingsError(f"`processes={number}`: must be a power of 2: 1, 2, 4, 8, ...")


@contextmanager
def _group(own: Place) -> "Iterator[Group]":
    if own.size == 1:
        from charrnn.training.group import ALONE

        yield ALONE
        return
    from charrnn.training.processes import connected

    with connected(own.rank, own.size, own.address, own.port) as group:
        yield group


def _device(wanted: str, local: int) -> str:
    """Return the GPU of a process, if there are GPUs."""
    import torch

    if not torch.cuda.is_available():
        return wanted
    return f"cuda:{local % torch.cuda.device_count()}"


def begun_before(checkpoint_dir: Path) -> str | None:
    """Return the run that torchrun's earlier start of this command began, None if there is none.

    torchrun starts all processes again if one has failed. The run is then continued.
    """
    own = place()
    if own is None or not own.restarts:
        return None
    since = Path(f"/proc/{os.getppid()}")
    names = charrnn.run_names(checkpoint_dir)
    begun = since.stat().st_ctime if since.exists() else 0.0
    newest = [
        name for name in names if (checkpoint_dir / name / "log.jsonl").stat().st_mtime >= begun
    ]
    return newest[0] if newest else None


def start(number: int) -> int:
    """Start this command in so many processes on this machine; returns the exit code of all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    children = [_child(rank, number, port) for rank in range(number)]

    def forward(received: int, _frame: FrameType | None) -> None:
        if children[0].poll() is None:  # all stop together
            children[0].send_signal(received)

    for heard in heeded():
        signal.signal(heard, forward)
    while True:
        codes = [child.poll() for child in children]
        if all(code is not None for code in codes):
            return max((_exit_code(code) for code in codes if code is not None), default=0)
        if any(codes):
            return _after_failure(children)
        time.sleep(POLL)


def _child(rank: int, number: int, port: int) -> "subprocess.Popen[bytes]":
    """Start this command as one of several processes.

    They have a session of their own, so that Ctrl-C reaches them once, through this process.
    """
    own = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": number,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", *sys.argv[1:]],
        env=os.environ | {name: str(value) for name, value in own.items()},
        stdin=None if rank == 0 else subprocess.DEVNULL,
        start_new_session=True,
    )


def _after_failure(children: "list[subprocess.Popen[bytes]]") -> int:
    """Wait until the others have ended, too, and end those that do not; returns the exit code."""
    until = time.monotonic() + FAREWELL
    while time.monotonic() < until and any(child.poll() is None for child in children):
        time.sleep(POLL)
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
    return max(_exit_code(child.returncode) for child in children)  # one of them has said why


def _exit_code(code: int) -> int:
    return code if code >= 0 else exit_code(-code) if -code in heeded() else 1


def _or_orphaned(stop: Callable[[], bool]) -> Callable[[], bool]:
    """Return a stop that also heeds the end of the process that started this one."""
    parent = os.getppid()
    return lambda: stop() or os.getppid() != parent
