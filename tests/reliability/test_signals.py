"""Signals at every stage of a command, and readers that close the pipe."""

import json
import signal
import sys
import time
from pathlib import Path

import pytest

from charrnn.checkpoint.store import Run
from tests.conftest import TEXT, Command
from tests.processes import Process, run, start, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

HANGUP = getattr(signal, "SIGHUP", 1)  # which Windows lacks; these tests are skipped there
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (HANGUP, 143)]
TINY = ["--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--seq-length", "16"]
TINY += ["--threads", "1"]
LONG = ["--minutes", "2"]  # longer than any test waits, and yet over soon if nobody ends it


def wait_for(text: bytes, path: Path, process: Process) -> None:
    """Wait until a file that the process writes contains a text."""
    wait_until(lambda: path.exists() and text in path.read_bytes(), process)


def wait_for_handlers(process: Process) -> None:
    """Wait until charrnn handles signals; until then they end Python itself."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.is_file():
        time.sleep(1.0)
        return

    def handles_hangup() -> bool:  # the last of the three that it sets
        (line,) = [text for text in status.read_text().splitlines() if text.startswith("SigCgt:")]
        return bool(int(line.split()[1], 16) & 1 << signal.SIGHUP - 1)

    wait_until(handles_hangup, process)


@pytest.mark.parametrize(
    ("number", "code", "after"),
    [(*CODES[0], 0.0), (*CODES[0], 0.5), (*CODES[0], 1.1), (*CODES[1], 0.0), (*CODES[2], 0.5)],
)
def test_a_signal_at_the_start_leaves_nothing_or_a_sound_run(
    corpus: Path, number: int, code: int, after: float
) -> None:
    process = start("train", corpus, *TINY, *LONG, cwd=corpus.parent)
    wait_for_handlers(process)
    time.sleep(after)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr.decode()
    assert b"Traceback" not in stderr
    run = Run(corpus.parent / "checkpoints" / "river")
    if b"charrnn resume river" in stderr:
        assert run.read_latest()[1] == []
    else:  # it may have come too early for a message
        assert stderr in (b"", b"stopped before training began\n")
        assert not run.path.exists()


def test_a_signal_during_an_import_lets_the_import_finish(corpus: Path) -> None:
    """SystemExit in the middle of one may be swallowed, or end torch with a core dump."""
    (corpus.parent / "large.py").write_text(
        "import os, signal, sys\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "for _ in range(100_000): pass\n"
        "print('imported', file=sys.stderr)\n"
    )
    code = (
        "import charrnn.runs.begin\n"
        "real = charrnn.runs.begin.encode_corpus\n"
        "def importing(*arguments, **options):\n"
        "    import large\n"
        "    return real(*arguments, **options)\n"
        "charrnn.runs.begin.encode_corpus = importing\n"
        "from charrnn.__main__ import main; main()"
    )
    done = run("train", corpus, *TINY, *LONG, code=code, cwd=corpus.parent)
    assert (done.returncode, done.stderr) == (143, "imported\nstopped before training began\n")
    assert not Run(corpus.parent / "checkpoints" / "river").path.exists()


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_in_training_saves_and_tells_how_to_continue(
    command: Command, corpus: Path, number: int, code: int
) -> None:
    """The step that was taken last is the one that is saved, and the run can be continued."""
    process = start("train", corpus, *TINY, *LONG, "--save-every", 0, cwd=corpus.parent)
    run = Run(corpus.parent / "checkpoints" / "river")
    wait_for(b'"step": 30,', run.log, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr.decode()
    assert b"charrnn resume river" in stderr
    assert b"Traceback" not in stderr
    logged = [json.loads(line)["step"] for line in run.log.read_text().splitlines()]
    assert run.latest.step == logged[-1] >= 30
    assert command("resume", "--steps", logged[-1] + 2).returncode == 0


def test_a_signal_does_not_wait_for_a_long_evaluation(corpus: Path) -> None:
    """The evaluation is repeated when the run is resumed."""
    folder = corpus.parent
    (folder / "long.txt").write_text(TEXT * 500)
    options = [*TINY, "--val-text", "long.txt", "--steps", 20, "--eval-every", 10]
    process = start("train", corpus, *options, cwd=folder)
    run = Run(folder / "checkpoints" / "river")
    wait_for(b'"step": 10,', run.log, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr.decode()
    assert b'"event": "evaluation"' not in run.log.read_bytes()
    assert Run(run.path).latest.step == 10
    process = start("resume", cwd=folder)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()
    lines = run.log.read_bytes().splitlines()
    evaluated = [b'"step": 10,' in line for line in lines if b'"event": "evaluation"' in line]
    assert evaluated == [True, False]


def test_a_second_signal_ends_the_command_at_once(corpus: Path) -> None:
    """Earlier checkpoints stay sound, and no half-written one is left."""
    code = (
        "import os, time\n"
        "real, slow = os.fsync, [0]\n"
        "def fsync(descriptor):\n"
        "    slow[0] += 1\n"
        "    if slow[0] > 60:\n"
        "        print('saving', flush=True)\n"
        "        for _ in range(500): time.sleep(0.1)\n"
        "    real(descriptor)\n"
        "os.fsync = fsync\n"
        "from charrnn.__main__ import main; main()"
    )
    folder = corpus.parent
    process = start("train", corpus, *TINY, *LONG, "--save-every", 1, code=code, cwd=folder)
    assert process.stdout is not None
    assert process.stdout.readline() == b"saving\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first signal lets the save finish"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr.decode()
    assert b"Traceback" not in stderr
    run = Run(folder / "checkpoints" / "river")
    saved, findings = run.read_latest()
    assert findings == []
    assert saved.manifest.step >= 5
    assert not list(run.path.glob(".step*"))


def test_an_ignored_signal_stays_ignored(corpus: Path) -> None:
    """As under nohup."""
    options = [*TINY, "--steps", 1_000]
    process = start("train", corpus, *options, cwd=corpus.parent, ignoring=[signal.SIGHUP])
    run = Run(corpus.parent / "checkpoints" / "river")
    wait_for(b'"step": 20,', run.log, process)
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()
    assert Run(run.path).latest.step == 1_000


@pytest.mark.parametrize("name", ["sample", "eval"])
@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_ends_sample_and_eval(
    command: Command, corpus: Path, name: str, number: int, code: int
) -> None:
    folder = corpus.parent
    assert command("train", corpus, *TINY, "--steps", 2, "-q").returncode == 0
    (folder / "long.txt").write_text(TEXT * 5_000)
    more = ["-n", str(10**8)] if name == "sample" else ["river", "long.txt"]
    process = start(name, *more, cwd=folder)
    if name == "sample":
        assert process.stdout is not None
        process.stdout.read(100)
    else:
        wait_for_handlers(process)
        time.sleep(1.0)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr.decode()
    assert b"Traceback" not in stderr


def test_training_continues_if_stderr_is_closed(corpus: Path) -> None:
    """As in: charrnn train 2>&1 | head -1"""
    process = start("train", corpus, *TINY, "--steps", 300, "--eval-every", 20, cwd=corpus.parent)
    assert process.stderr is not None
    process.stderr.read(10)
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    assert process.stdout is not None
    process.stdout.close()
    assert Run(corpus.parent / "checkpoints" / "river").latest.step == 300


# Many short naps: a signal that comes just before a sleep begins is handled when that one is over.
LOADING = """\
import pathlib, time
pathlib.Path("loading").write_text("it is")
try:
    for _ in range(600):
        time.sleep(0.1)
except BaseException:
    raise RuntimeError("swallowed")
"""


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_module_being_imported_cannot_swallow_a_signal(
    tmp_path: Path, number: int, code: int
) -> None:
    """It may catch any exception, or raise another one; a fake numpy stands for such modules."""
    (tmp_path / "numpy.py").write_text(LOADING)
    process = start("sample", cwd=tmp_path)
    wait_for(b"it is", tmp_path / "loading", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, b"")
