"""Runs that meet a full disk, a missing folder, a second trainer, or diverging numbers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.lifecycle import claimed, claimed_new
from charrnn.checkpoint.store import Run
from charrnn.checkpoint.writer import commit
from charrnn.errors import CheckpointError, RunError
from charrnn.training.events import StepEvent
from tests import processes
from tests.conftest import Command
from tests.processes import start, wait_until
from tests.reliability.runs import MODEL, TRAINING, Recorder, train
from tests.training.runs import assert_same_run, losses_of, stopping

# Saving fails


def test_training_continues_while_saving_fails(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It warns, tries again later, and ends as if nothing had happened."""

    def full(folder: Path, files: Any) -> None:
        if folder.name in ("step-00000008", "step-00000012"):
            raise OSError(28, "No space left on device")
        commit(folder, files)

    straight = train(corpus, tmp_path / "straight")
    monkeypatch.setattr("charrnn.checkpoint.format.commit", full)
    recorder = Recorder()
    run = train(corpus, tmp_path / "broken", recorder)
    assert [m.split(": ")[-1] for m in recorder.warnings] == [
        "cannot be saved (No space left on device); training continues and tries again later",
        "saving works again",
    ]
    assert recorder.saved == [4, 16, 20, 24]
    assert_same_run(straight, run)


def test_a_failed_last_save_leaves_the_run_resumable(
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


def test_training_does_not_start_if_nothing_can_be_saved(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_folder: Path, _files: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charrnn.checkpoint.format.commit", full)
    recorder = Recorder()
    with pytest.raises(CheckpointError, match="No space left"):
        train(corpus, tmp_path / "runs", recorder)
    assert not any(isinstance(event, StepEvent) for event in recorder.events)
    assert list((tmp_path / "runs").iterdir()) == [], "no run is left behind"


def test_training_survives_its_folder_vanishing_for_a_while(corpus: Path, tmp_path: Path) -> None:
    """As if a disk was unmounted, or a network failed; the log is complete afterwards."""
    straight = train(corpus, tmp_path / "straight")
    run, away = tmp_path / "broken" / "river", tmp_path / "away"
    recorder = Recorder(step6=lambda: shutil.move(run, away), step14=lambda: shutil.move(away, run))
    assert train(corpus, tmp_path / "broken", recorder) == run
    assert recorder.saved == [4, 16, 20, 24]
    assert any(f"{run}: is gone (No such file" in message for message in recorder.warnings)
    assert "saving works again" in recorder.warnings
    assert_same_run(straight, run)


def test_a_run_never_writes_into_another_run_in_its_place(corpus: Path, tmp_path: Path) -> None:
    """Its folder was renamed, and a new run started under its name."""
    place, moved = tmp_path / "runs" / "river", tmp_path / "moved"

    def another() -> None:
        place.rename(moved)
        train(corpus, tmp_path / "runs")

    recorder = Recorder(step6=another)
    with pytest.raises(CheckpointError, match="was replaced by another folder"):
        train(corpus, tmp_path / "runs", recorder)
    assert Run(place).read_latest()[0].manifest.step == 24
    assert Run(moved).read_latest()[0].manifest.step == 4
    charrnn.resume(moved)
    assert_same_run(place, moved)


def test_a_deleted_log_is_started_again(corpus: Path, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "river" / "log.jsonl"
    recorder = Recorder(step6=log.unlink)
    train(corpus, tmp_path / "runs", recorder)
    assert any("log.jsonl: cannot be written (No such file" in m for m in recorder.warnings)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps[0] <= 9
    assert steps[-1] == 24


def test_log_lines_that_cannot_be_written_are_written_later(
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
        log.rename(log.with_name("moved"))  # so that the open file leads nowhere

    def mend() -> None:
        nonlocal failing
        failing = False
        log.with_name("moved").rename(log)

    monkeypatch.setattr(os, "open", broken)
    recorder = Recorder(step6=fail, step14=mend)
    run = train(corpus, tmp_path / "broken", recorder)
    assert losses_of(run) == losses_of(straight)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_file_size_limit_stops_the_log_but_not_the_run(corpus: Path, tmp_path: Path) -> None:
    """A real limit, set by the system; a quota acts much the same."""
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
    """A disk of 400 kB; skips the test if none can be mounted."""
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
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_training_survives_a_disk_that_is_full_for_a_while(
    corpus: Path, tmp_path: Path, small_disk: Path
) -> None:
    straight = train(corpus, tmp_path / "straight")
    filler = small_disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"0" * 4096)
            except OSError:
                return

    recorder = Recorder(step6=fill, step14=filler.unlink)
    run = train(corpus, small_disk / "runs", recorder)
    assert 16 in recorder.saved
    assert 8 not in recorder.saved
    assert any("No space left on device" in message for message in recorder.warnings)
    assert_same_run(straight, run)


def test_checkpoints_that_cannot_be_deleted_do_not_end_a_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OSError(5, "Input/output error")

    for name in ("take_away", "read_checkpoint"):
        monkeypatch.setattr(f"charrnn.checkpoint.lifecycle.{name}", refuse)
    recorder = Recorder()
    run = train(corpus, tmp_path / "runs", recorder)
    assert recorder.warnings == []
    monkeypatch.undo()
    assert len(Run(run).checkpoints) == 7


def test_resume_stops_if_later_checkpoints_cannot_be_dropped(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the run could later resume from one of them."""
    run = train(corpus, tmp_path / "runs")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    options: dict[str, Any] = {"checkpoint": "16", "steps": 40}

    def refuse(folder: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("charrnn.checkpoint.writer.take_away", refuse)
    with pytest.raises(CheckpointError, match=r"step-00000020: cannot be moved out of the way"):
        charrnn.resume(run, **options)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


# Checkpoints are damaged


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors", "manifest.json"])
def test_resume_uses_the_newest_sound_checkpoint(corpus: Path, tmp_path: Path, name: str) -> None:
    straight = train(corpus, tmp_path / "straight")
    stop = stopping(18)
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "broken", **stop
    ).folder
    damaged = run / "step-00000018" / name
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    recorder = Recorder()
    charrnn.resume(run, observers=[recorder])
    assert "damaged" in recorder.warnings[0] or "not a charrnn manifest" in recorder.warnings[0]
    assert recorder.warnings[0].endswith("; resuming from step 16")
    assert recorder.warnings[1] == "kept what is damaged as damaged-1-step-00000018"
    assert (run / "damaged-1-step-00000018" / name).read_bytes() == data
    assert_same_run(straight, run)


def test_if_no_checkpoint_is_sound_the_newest_damage_is_named(corpus: Path, tmp_path: Path) -> None:
    run = train(corpus, tmp_path / "runs")
    for path in run.glob("step-*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"is sound .*`verify`.*-00000024/"):
        charrnn.resume(run)
    with pytest.raises(CheckpointError, match=r"damaged .*; others of the run: `checkpoint=16, "):
        charrnn.load(run)


# One trainer for each run


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


def test_runs_started_at_once_have_a_folder_each(tmp_path: Path) -> None:
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
    assert list(tmp_path.iterdir()) == [], "a run that saved nothing leaves no folder"
