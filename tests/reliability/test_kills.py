"""Real runs, killed at random moments and resumed, end exactly like an undisturbed run."""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Process, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

OBEYED = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else []
SAVE_EVERY = 3  # steps; a save takes about as long, so that many kills meet one
SETTINGS = [
    "--num-layers", "2", "--hidden-size", "16", "--embedding-size", "8", "--dropout", "0.3",
    "--batch-size", "8", "--seq-length", "16", "--eval-every", "40", "--keep", "2",
    "--save-every", SAVE_EVERY, "--seed", "3", "--threads", "1",
]  # fmt: skip


def corpus(folder: Path) -> Path:
    """Forty thousand characters, in three documents."""
    words = (
        "river", "stone", "the", "said", "small", "word", "they", "nothing", "more", "hush", "who",
        "knows", "its", "name",
    )  # fmt: skip
    rng = random.Random(0)
    (folder / "texts").mkdir()
    for name in "abc":
        text = " ".join(rng.choice(words) for _ in range(2_500))
        (folder / "texts" / f"{name}.txt").write_text(text + "\n")
    return folder / "texts"


def what_matters(run: Path) -> tuple[bytes, bytes, list[Any]]:
    """The weights, the trainer's state, and every logged loss and sample."""
    (latest,) = sorted(run.glob("step-*"))[-1:]
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    keys = ("event", "step", "epoch", "loss", "grad_norm", "learning_rate", "val_loss", "text")
    kinds = ("step", "evaluation", "sample")
    losses = [[e.get(key) for key in keys] for e in events if e["event"] in kinds]
    files = [(latest / f"{name}.safetensors").read_bytes() for name in ("model", "trainer")]
    return files[0], files[1], losses


def assert_ends_as_straight(folder: Path) -> None:
    """Resume the run `broken` to its end, and compare it with `straight`."""
    process = start("resume", "broken", cwd=folder)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr.decode()
    (broken, expected) = (what_matters(folder / "checkpoints" / n) for n in ("broken", "straight"))
    assert broken[2] == expected[2], "the log differs"
    assert broken[0] == expected[0], "the weights differ"
    assert broken[1] == expected[1], "the state of the trainer differs"


def kill_often(folder: Path, kills: int, steps: int, seed: int, pause: float) -> Counter[str]:
    """Train, kill and resume; returns how many kills happened during a save, and how many not.

    pause: seconds that a process may live after its first step, plus any wait for a save.
    """
    rng = random.Random(seed)
    texts = corpus(folder)
    straight = start("train", texts, *SETTINGS, "--steps", steps, "--run", "straight", cwd=folder)
    _, stderr = straight.communicate()
    assert straight.returncode == 0, stderr.decode()
    run = folder / "checkpoints" / "broken"
    met: Counter[str] = Counter()
    while met.total() < kills:
        begun = any(run.glob("step-*"))
        command = ["resume", "broken"] if begun else ["train", texts, *SETTINGS, "--steps", steps]
        process = start(*command, *([] if begun else ["--run", "broken"]), cwd=folder)
        if rng.random() < 0.15:
            number: int = signal.SIGKILL  # the others may arrive before there are handlers
            time.sleep(rng.uniform(0, 2.5))
        else:
            # Mostly SIGKILL, which cannot be handled; the others must end the run in good order.
            number = rng.choice([signal.SIGKILL] * 4 + OBEYED)
            wait_for_a_step(process, run / "log.jsonl")
            time.sleep(rng.uniform(0, pause))
            if rng.random() < 0.5:
                _wait_for_a_save(process, run)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode != 0, (
            "the run ended before all kills were done: give it more steps"
        )
        if number == signal.SIGKILL:
            half_made = {path.name for path in run.glob(".*.new.tmp")}
            met["while saving" if half_made else "between saves"] += 1
        else:
            assert process.returncode == (130 if number == signal.SIGINT else 143), stderr.decode()
            assert b"Traceback" not in stderr
    assert_ends_as_straight(folder)
    assert not any(run.glob(".*.tmp")), "temporary files remain"
    return met


def wait_for_a_step(process: Process, log: Path) -> None:
    def size() -> int:
        return log.stat().st_size if log.exists() else 0

    before, deadline = size(), time.monotonic() + 60
    while process.poll() is None and size() == before and time.monotonic() < deadline:
        time.sleep(0.005)


def _wait_for_a_save(process: Process, run: Path) -> None:
    deadline = time.monotonic() + 1
    while process.poll() is None and time.monotonic() < deadline:
        if any(name.endswith(".new.tmp") for name in os.listdir(run)):  # noqa: PTH208 - is faster
            return


def test_a_run_killed_again_and_again_ends_bitwise_the_same(tmp_path: Path) -> None:
    """Weights, trainer state and log: few kills here, two hundred in `make reliability`."""
    met = kill_often(tmp_path, kills=4, steps=1_200, seed=0, pause=0.2)
    assert met.total() == 4


@pytest.mark.reliability
def test_a_run_survives_two_hundred_kills(tmp_path: Path) -> None:
    for round_ in range(4):
        folder = tmp_path / str(round_)
        folder.mkdir()
        met = kill_often(folder, kills=50, steps=30_000, seed=round_ + 1, pause=0.4)
        assert met["while saving"] > 0, "no kill happened during a save"
        print(f"\nround {round_ + 1}: {met.total()} kills, {dict(met)}, the same bit for bit")  # noqa: T201
