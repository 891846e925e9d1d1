"""Runs of several processes, of which some are killed, end exactly like an undisturbed run."""

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import PATIENCE, Process, start
from tests.reliability.test_kills import SETTINGS, assert_ends_as_straight, corpus, wait_for_a_step

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc"),
    pytest.mark.reliability,
]
SHARDS, SIZES = 4, (1, 2, 4)


def all_of(process: Process, size: int) -> list[int]:
    """The numbers of the processes that train, once they have been started."""
    if size == 1:
        return [process.pid]
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in listed.read_text(encoding="ascii").split()]


def wait_until_gone(numbers: list[int]) -> None:
    until = time.monotonic() + PATIENCE
    for number in numbers:
        while Path(f"/proc/{number}").exists():
            assert time.monotonic() < until, f"process {number} is still there"
            time.sleep(0.02)


def kill_often(folder: Path, kills: int, steps: int, seed: int) -> None:
    """Train, kill one process or all or the one that started them, and resume with other numbers.

    Whatever happens, all end within 30 seconds, and say so in one line.
    """
    rng = random.Random(seed)
    texts = corpus(folder)
    settings = [*SETTINGS, "--shards", SHARDS, "--steps", steps]
    straight = start("train", texts, *settings, "--run", "straight", cwd=folder)
    _, stderr = straight.communicate()
    assert straight.returncode == 0, stderr.decode()
    run = folder / "checkpoints" / "broken"
    for _ in range(kills):
        begun = any(run.glob("step-*"))
        size = rng.choice(SIZES if begun else SIZES[1:])
        command = ["resume", "broken"] if begun else ["train", texts, *settings, "--run", "broken"]
        process = start(*command, "--processes", size, cwd=folder)
        wait_for_a_step(process, run / "log.jsonl")
        time.sleep(rng.uniform(0, 0.3))
        numbers = all_of(process, size)
        number = rng.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
        with suppress(ProcessLookupError):
            os.kill(rng.choice([*numbers, process.pid]), number)
        began = time.monotonic()
        _, stderr = process.communicate(timeout=PATIENCE)
        wait_until_gone(numbers)
        assert time.monotonic() - began < 30
        assert process.returncode != 0, "the run ended before all kills were done"
        assert b"Traceback" not in stderr
        assert stderr.count(b"error:") <= 1, stderr.decode()
    assert_ends_as_straight(folder)


def test_a_run_of_several_processes_survives_forty_kills(tmp_path: Path) -> None:
    for round_ in range(2):
        folder = tmp_path / str(round_)
        folder.mkdir()
        kill_often(folder, kills=20, steps=6_000, seed=round_)
        print(f"\nround {round_ + 1}: 20 kills, the same bit for bit")  # noqa: T201
