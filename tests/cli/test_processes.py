"""`--processes` and torchrun, as their user meets them."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests import processes
from tests.training.runs import assert_same_run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo and signals of Unix")

FLAGS = (
    *("--hidden-size", 12, "--seq-length", 20, "--batch-size", 8, "--threads", 1),
    *("--save-every", 10, "--eval-every", 20, "--sample-every", 0),
)


def children_of(number: int) -> list[int]:
    """The processes that a process has started, in their order."""
    listed = Path(f"/proc/{number}/task/{number}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def wait_for_steps(process: processes.Process, log: Path, number: int) -> None:
    until = time.monotonic() + processes.PATIENCE
    while not log.exists() or log.read_text(encoding="utf-8").count('"step"') < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--processes", 3), "--processes 3: must be a power of 2"),
        (("--processes", 0), "0"),
        (("--processes", 2, "--shards", 1), "--shards 1"),
        (("--processes", 2, "--cell", "gru,lstm"), "one run, not several"),
    ],
)
def test_what_cannot_be_shared_is_a_usage_error(
    corpus: Path, tmp_path: Path, flags: tuple[object, ...], words: str
) -> None:
    failed = processes.run("train", corpus, *FLAGS, *flags, cwd=tmp_path)
    assert failed.returncode == 2
    assert words in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_a_run_of_two_processes_survives_what_ends_one(corpus: Path, tmp_path: Path) -> None:
    """SIGKILL: the other one ends and says why. SIGTERM: both end, saved. The result is exact."""
    log = tmp_path / "checkpoints" / "two" / "log.jsonl"
    command = ("train", corpus, *FLAGS, "--steps", 120, "--processes", 2)
    straight = processes.run(*command, "--run", "straight", cwd=tmp_path)
    assert straight.returncode == 0, straight.stderr
    assert straight.stderr.count("finished  step 120") == 1

    killed = processes.start(*command, "--run", "two", cwd=tmp_path)
    wait_for_steps(killed, log, 30)
    victim = children_of(killed.pid)[1]
    os.kill(victim, signal.SIGKILL)
    _, errors = killed.communicate(timeout=processes.PATIENCE)
    assert killed.returncode == 1
    assert errors.decode().count("error:") == 1
    assert f"process 1 of 2 (PID {victim}) is gone" in errors.decode()

    stopped = processes.start("resume", "two", "--processes", 2, cwd=tmp_path)
    wait_for_steps(stopped, log, 60)
    stopped.send_signal(signal.SIGTERM)
    _, errors = stopped.communicate(timeout=processes.PATIENCE)
    assert stopped.returncode == 143, errors.decode()

    alone = processes.run("resume", "two", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert_same_run(tmp_path / "checkpoints" / "straight", log.parent)
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [s["step"] for s in steps if s["event"] == "step"] == [*range(1, 121)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_torchrun_starts_a_run_again_where_it_was(corpus: Path, tmp_path: Path) -> None:
    """After a process was killed, from the latest checkpoint."""
    run = ("train", corpus, *FLAGS, "--steps", 120)
    straight = processes.run(*run, "--processes", 2, "--run", "straight", cwd=tmp_path)
    assert straight.returncode == 0, straight.stderr
    torchrun = "import runpy; runpy.run_module('torch.distributed.run', run_name='__main__')"
    ours = processes.start(
        *("--nproc-per-node", 2, "--max-restarts", 3, "--standalone", "-m", "charrnn", *run),
        cwd=tmp_path,
        code=torchrun,
    )
    log = tmp_path / "checkpoints" / corpus.stem / "log.jsonl"
    wait_for_steps(ours, log, 30)
    os.kill(children_of(ours.pid)[1], signal.SIGKILL)
    _, errors = ours.communicate(timeout=processes.PATIENCE)
    assert ours.returncode == 0, errors.decode()
    assert_same_run(tmp_path / "checkpoints" / "straight", log.parent)
