"""Runs that meet a full disk, a lost folder, another trainer, numbers that explode."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.lifecycle import claimed, claimed_new
from charrnn.checkpoint.store import Run
from charrnn.checkpoint.writer import commit
from charrnn.errors import CheckpointError, RunError, TrainingError
from charrnn.model.config import ModelConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.events import CheckpointEvent, Event, StepEvent, WarningEvent
from charrnn.training.trainer import MAX_BAD_STEPS, MAX_RETURNS
from tests import processes
from tests.conftest import Command
from tests.processes import start, wait_until
from tests.training.test_resume import assert_same_run, losses_of, stopping

MODEL = ModelConfig(hidden_size=8, embedding_size=4, dropout=0.2)
TRAINING = TrainingConfig(
    steps=24, batch_size=4, seq_length=16, eval_every=8, save_every=4, sample_every=0
)
# A recurrence without bound, steps far too long, and nothing that holds them back.
EXPLOSIVE = ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=32, embedding_size=8)
EXPLODING = TrainingConfig(
    steps=120, batch_size=4, seq_length=32, eval_every=40, save_every=10, sample_every=0,
    optimizer="sgd", learning_rate=3.0, grad_clip=0.0, warmup=0, schedule="constant",
)  # fmt: skip


class Told:
    """An observer that keeps what it is told, and does something at a step."""

    def __init__(self, **at: Callable[[], Any]) -> None:
        self.events: list[Event] = []
        self.at = {int(name.removeprefix("step")): do for name, do in at.items()}

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, StepEvent) and event.step in self.at:
            self.at[event.step]()

    @property
    def warnings(self) -> list[str]:
        return [e.message for e in self.events if isinstance(e, WarningEvent)]

    @property
    def saved(self) -> list[int]:
        return [e.step for e in self.events if isinstance(e, CheckpointEvent)]


def train(corpus: Path, folder: Path, told: Told | None = None, **options: Any) -> Path:
    settings: dict[str, Any] = {"model": MODEL, "training": TRAINING, "checkpoint_dir": folder}
    return charrnn.train(corpus, observers=[told or Told()], **settings | options).folder


# Saving fails


def test_training_goes_on_where_saving_fails_and_saves_again_when_it_can(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, files: Any) -> None:
        if folder.name in ("step-00000008", "step-00000012"):
            raise OSError(28, "No space left on device")
        commit(folder, files)

    straight = train(corpus, tmp_path / "straight")
    monkeypatch.setattr("charrnn.checkpoint.format.commit", full)
    told = Told()
    run = train(corpus, tmp_path / "broken", told)
    assert [m.split(": ")[-1] for m in told.warnings] == [
        "cannot be saved (No space left on device); training continues and tries again later",
        "saving works again",
    ]
    assert told.saved == [4, 16, 20, 24]
    assert_same_run(straight, run)


def test_a_run_whose_last_save_fails_ends_with_what_it_has(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(corpus, tmp_path / "straight")

    def full(folder: Path, files: Any) -> None:
        if folder.name > "step-00000012":
            raise OSError(5, "Input/output error")
        commit(folder, files)

    monkeypatch.setattr("charrnn.checkpoint.format.commit", full)
    with pytest.raises(CheckpointError, match=r"step-00000024: cannot be saved \(Input/") as raised:
        train(corpus, tmp_path / "broken")
    assert "continue from step 12: charrnn resume" in str(raised.value)
    monkeypatch.undo()
    run = tmp_path / "broken" / "river"
    assert Run(run).latest.step == 12
    charrnn.resume(run)
    assert_same_run(straight, run)


def test_what_cannot_be_saved_at_all_does_not_begin(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_folder: Path, _files: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charrnn.checkpoint.format.commit", full)
    told = Told()
    with pytest.raises(CheckpointError, match="No space left"):
        train(corpus, tmp_path / "runs", told)
    assert not any(isinstance(event, StepEvent) for event in told.events)
    assert list((tmp_path / "runs").iterdir()) == [], "and leaves nothing"


def test_a_run_whose_folder_is_away_for_a_while_goes_on_when_it_is_back(
    corpus: Path, tmp_path: Path
) -> None:
    """As on a disk that was unmounted, or a network that failed: also the log is then whole."""
    straight = train(corpus, tmp_path / "straight")
    run, away = tmp_path / "broken" / "river", tmp_path / "away"
    told = Told(step6=lambda: shutil.move(run, away), step14=lambda: shutil.move(away, run))
    assert train(corpus, tmp_path / "broken", told) == run
    assert told.saved == [4, 16, 20, 24]
    assert any(f"{run}: is gone (No such file" in message for message in told.warnings)
    assert "saving works again" in told.warnings
    assert_same_run(straight, run)


def test_a_run_does_not_write_into_another_that_has_taken_its_place(
    corpus: Path, tmp_path: Path
) -> None:
    """The folder was renamed, and a new run begun under its name."""
    place, moved = tmp_path / "runs" / "river", tmp_path / "moved"

    def another() -> None:
        place.rename(moved)
        train(corpus, tmp_path / "runs")

    told = Told(step6=another)
    with pytest.raises(CheckpointError, match="is not the folder that the run began in"):
        train(corpus, tmp_path / "runs", told)
    assert Run(place).read_latest()[0].manifest.step == 24
    assert Run(moved).read_latest()[0].manifest.step == 4
    charrnn.resume(moved)
    assert_same_run(place, moved)


def test_a_log_that_is_removed_begins_anew(corpus: Path, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "river" / "log.jsonl"
    told = Told(step6=log.unlink)
    train(corpus, tmp_path / "runs", told)
    assert any("log.jsonl: cannot be written (No such file" in m for m in told.warnings)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps[0] <= 9
    assert steps[-1] == 24


def test_a_log_that_cannot_be_written_is_written_later(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(corpus, tmp_path / "straight")
    log = tmp_path / "broken" / "river" / "log.jsonl"
    real, failing = os.open, False

    def broken(path: Any, *args: Any, **kwargs: Any) -> int:
        if failing and Path(path) == log:
            raise OSError(5, "Input/output error")
        return real(path, *args, **kwargs)

    def fail() -> None:
        nonlocal failing
        failing = True
        log.rename(log.with_name("moved"))  # and what is open is of no use any more

    def mend() -> None:
        nonlocal failing
        failing = False
        log.with_name("moved").rename(log)

    monkeypatch.setattr(os, "open", broken)
    told = Told(step6=fail, step14=mend)
    run = train(corpus, tmp_path / "broken", told)
    assert losses_of(run) == losses_of(straight)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_limit_on_the_size_of_files_stops_the_log_and_not_the_run(
    corpus: Path, tmp_path: Path
) -> None:
    """A real one, of the system: a quota is much the same."""
    code = (
        "import resource, charrnn.cli.app\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        "charrnn.cli.app.main()"
    )
    options = ["--hidden-size", "8", "--embedding-size", "4", "--optimizer", "sgd", "--steps", "80"]
    options += ["--batch-size", "4", "--seq-length", "16", "--momentum", "0", "--threads", "1"]
    done = processes.run("train", corpus, *options, code=code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "log.jsonl: cannot be written (File too large); each step tries again" in done.stderr
    assert Run(tmp_path / "checkpoints" / "river").read_latest()[0].manifest.step == 80


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux":
        pytest.skip("no mount command")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_for_a_while(corpus: Path, tmp_path: Path, small_disk: Path) -> None:
    straight = train(corpus, tmp_path / "straight")
    filler = small_disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"0" * 4096)
            except OSError:
                return

    told = Told(step6=fill, step14=filler.unlink)
    run = train(corpus, small_disk / "runs", told)
    assert 16 in told.saved
    assert 8 not in told.saved
    assert any("No space left on device" in message for message in told.warnings)
    assert_same_run(straight, run)


def test_what_cannot_be_deleted_or_read_back_does_not_end_a_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OSError(5, "Input/output error")

    for name in ("take_away", "read_checkpoint"):
        monkeypatch.setattr(f"charrnn.checkpoint.lifecycle.{name}", refuse)
    told = Told()
    run = train(corpus, tmp_path / "runs", told)
    assert told.warnings == []
    monkeypatch.undo()
    assert len(Run(run).checkpoints) == 7


def test_where_later_checkpoints_cannot_be_dropped_the_run_does_not_go_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would later go on from one of them."""
    run = train(corpus, tmp_path / "runs")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    options: dict[str, Any] = {"checkpoint": "16", "steps": 40}

    def refuse(folder: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("charrnn.checkpoint.writer.take_away", refuse)
    with pytest.raises(CheckpointError, match=r"step-00000020: cannot be moved out of the way"):
        charrnn.resume(run, **options)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


# What is there is damaged


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors", "manifest.json"])
def test_resume_goes_back_to_the_newest_checkpoint_that_is_sound(
    corpus: Path, tmp_path: Path, name: str
) -> None:
    straight = train(corpus, tmp_path / "straight")
    stop = stopping(18)
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "broken", **stop
    ).folder
    damaged = run / "step-00000018" / name
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    told = Told()
    charrnn.resume(run, observers=[told])
    assert "damaged" in told.warnings[0] or "not a manifest" in told.warnings[0]
    assert told.warnings[0].endswith("; resuming from step 16")
    assert told.warnings[1] == "kept what is damaged as damaged-1-step-00000018"
    assert (run / "damaged-1-step-00000018" / name).read_bytes() == data
    assert_same_run(straight, run)


def test_where_no_checkpoint_is_sound_the_newest_finding_is_told(
    corpus: Path, tmp_path: Path
) -> None:
    run = train(corpus, tmp_path / "runs")
    for path in run.glob("step-*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"is sound .*`verify`.*-00000024/"):
        charrnn.resume(run)
    with pytest.raises(CheckpointError, match=r"damaged .*; others of the run: `checkpoint=16, "):
        charrnn.load(run)


# Numbers explode


def test_a_run_that_explodes_goes_back_and_goes_on_more_slowly(
    corpus: Path, tmp_path: Path
) -> None:
    told = Told()
    run = train(corpus, tmp_path, told, model=EXPLOSIVE, training=EXPLODING)
    returns = [m for m in told.warnings if "; back at step" in m]
    assert 1 <= len(returns) <= MAX_RETURNS
    assert returns[0].endswith("with 0.5 of the learning rate")
    rates = [e.learning_rate for e in told.events if isinstance(e, StepEvent)]
    assert rates[0] == 3.0
    assert rates[-1] == 3.0 * 0.5 ** len(returns)
    saved = Run(run).read_latest()[0]
    assert saved.manifest.step == 120
    assert saved.manifest.trainer["returns"] == len(returns)


@pytest.mark.parametrize("save_every", [1, 2, 3, 4, 5])
def test_a_run_goes_back_to_what_was_still_sound(
    corpus: Path, tmp_path: Path, save_every: int
) -> None:
    """And not to what was saved at the last moment, whose next step is lost already."""
    told = Told()
    training = replace(EXPLODING, save_every=save_every)
    run = train(corpus, tmp_path, told, model=EXPLOSIVE, training=training)
    assert Run(run).latest.step == 120
    assert any("; back at step" in message for message in told.warnings)


@pytest.mark.parametrize("save_every", [3, 10])
def test_a_run_that_explodes_is_the_same_after_a_break(
    corpus: Path, tmp_path: Path, save_every: int
) -> None:
    """Wherever it is broken off: before it explodes, in the middle, when it has gone back."""
    training = replace(EXPLODING, save_every=save_every, steps=60)
    options: dict[str, Any] = {"model": EXPLOSIVE, "training": training}
    straight = train(corpus, tmp_path / "straight", **options)
    for told in (2, 5, 12, 23, 24, 25, 26, 27, 40, 60):
        stop = StopAfterEvents(told)
        run = charrnn.train(
            corpus,
            checkpoint_dir=tmp_path / str(told),
            stop=stop,
            observers=[stop.observe],
            **options,
        ).folder
        charrnn.resume(run)
        assert_same_run(straight, run)


class StopAfterEvents:
    """Asks a run to stop after so many steps were told, those of another pass among them."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def observe(self, event: Event) -> None:
        self.left -= isinstance(event, StepEvent)

    def __call__(self) -> bool:
        return self.left <= 0


def test_a_run_that_always_explodes_gives_up_with_advice(corpus: Path, tmp_path: Path) -> None:
    hopeless = TrainingConfig(
        steps=900, batch_size=4, seq_length=32, eval_every=0, save_every=10, optimizer="sgd",
        learning_rate=1e6, grad_clip=0.0, weight_decay=0.5, warmup=0, sample_every=0,
    )  # fmt: skip
    told = Told()
    with pytest.raises(TrainingError, match="after 5 returns; train again with a smaller"):
        train(corpus, tmp_path, told, model=EXPLOSIVE, training=hopeless)
    steps = [e for e in told.events if isinstance(e, StepEvent)]
    assert len(steps) < 3 * MAX_BAD_STEPS * (MAX_RETURNS + 1)
    Run(tmp_path / "river").read_latest()


# One trainer to a run


def test_a_run_is_trained_by_one_process_at_a_time(command: Command, corpus: Path) -> None:
    river = Run(corpus.parent / "checkpoints" / "river")
    options = ["--hidden-size", "8", "--batch-size", "4", "--seq-length", "16", "--threads", "1"]
    process = start("train", corpus, *options, "--minutes", 2, cwd=corpus.parent)
    wait_until(river.log.exists, process)
    done = command("resume", "river")
    assert done.returncode == 1
    assert "run river is being trained by another process; stop that one first" in done.stderr
    assert command("runs", "-q").stdout == "river\n", "reading the run stays possible"
    process.kill()
    process.wait()
    with claimed(river):  # a dead process does not block it
        assert river.read_latest()[0].manifest.step >= 0


def test_runs_that_begin_at_once_have_a_folder_each(tmp_path: Path) -> None:
    with (
        claimed_new(tmp_path, None, "river") as one,
        claimed_new(tmp_path, None, "river") as two,
    ):
        assert (one.run.name, two.run.name) == ("river", "river-2")
        with (
            pytest.raises(RunError, match="run 'river' is in"),
            claimed_new(tmp_path, "river", "x"),
        ):
            pass
    assert list(tmp_path.iterdir()) == [], "what saved nothing leaves nothing"
