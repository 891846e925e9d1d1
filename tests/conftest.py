"""What the tests share: a small text, a small trained run, and the way to run a command."""

import atexit
import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Models this small gain nothing from a second thread, and on a busy machine two threads that wait
# for each other can be a hundred times slower than one. Set before torch and numpy are imported.
os.environ["OMP_NUM_THREADS"] = "1"

# A cache of their own for the tests, here and in the commands they run.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="charrnn-tests-")

import charrnn
from charrnn.checkpoint.format import Manifest, SavedModel, write_checkpoint
from charrnn.checkpoint.store import Run

# On a busy machine an example may take any time.
settings.register_profile("charrnn", deadline=None)
settings.load_profile("charrnn")

atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

ROOT = Path(__file__).parents[1]
SHAKESPEARE = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"

# Written for these tests.
TEXT = (
    "The river does not know its name.\nIt asks the stones, who say the same\n"
    "small word they said the day before:\na hush, a hush, and nothing more.\n"
) * 12

# Ctrl-C reaches a process whose terminal it is, which one that is handed down is not.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rebuild-docs", action="store_true", help="write docs/cli.md anew")


def sealed(content: dict[str, Any]) -> bytes:
    """A manifest with the hash that it should have."""
    body = json.dumps({**content, "sha256": ""}, indent=1).removesuffix('"\n}')
    return f'{body}{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'.encode()


def saved_at(run: Run, step: int, model: SavedModel, arrays: Any, manifest: Manifest) -> Path:
    """Save a checkpoint of a step; returns its folder."""
    folder = run.checkpoint_folder(step)
    values = manifest.trainer | {"step": step}
    write_checkpoint(
        folder, replace(model, step=step), arrays, replace(manifest, step=step, trainer=values)
    )
    return folder


def start(*arguments: object, cwd: Path) -> "subprocess.Popen[bytes]":
    """Start `charrnn ...` as a process of its own, which the test ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def in_terminal(
    arguments: Sequence[object],
    cwd: Path,
    columns: int,
    *,
    typed: Sequence[tuple[str, bytes]] = (),
    **environment: str,
) -> str:
    """Run charrnn in a terminal of that width; returns what it showed.

    typed: each time that the first has been shown, what to type then.
    """
    import fcntl
    import struct
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
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


def _read(terminal: int, process: "subprocess.Popen[bytes]") -> bytes:
    if not select.select([terminal], [], [], 60)[0]:  # it waits for what is not typed
        process.kill()
        return b""
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A file with a small text."""
    path = tmp_path / "river.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> charrnn.TrainingResult:
    """A run of 60 steps on the small text, in a checkpoint folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "river.txt"
    text.write_text(TEXT, encoding="utf-8")
    return charrnn.train(
        text,
        model=charrnn.ModelConfig(hidden_size=24, embedding_size=8, dropout=0.0, input_dropout=0.0),
        training=charrnn.TrainingConfig(
            steps=60, eval_every=20, batch_size=4, seq_length=16, learning_rate=0.01
        ),
        checkpoint_dir=folder / "checkpoints",
    )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `charrnn ...` as a process of its own, in an empty folder, without a terminal."""

    def run(
        *arguments: object, stdin: str | bytes = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        process = subprocess.run(
            [sys.executable, "-m", "charrnn", *map(str, arguments)],
            input=data,
            capture_output=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | environment,
            timeout=300,
            check=False,
        )
        return subprocess.CompletedProcess(
            process.args, process.returncode, process.stdout.decode(), process.stderr.decode()
        )

    return run


@pytest.fixture(scope="session")
def shakespeare() -> Path:
    """Tiny Shakespeare, where it is there."""
    if not SHAKESPEARE.is_file():
        pytest.skip(f"tiny Shakespeare is not at {SHAKESPEARE}")
    return SHAKESPEARE
