"""Runs that meet a full disk, a lost folder, another trainer, numbers that explode."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.store import Run
from charrnn.checkpoint.upkeep import claimed, claimed_new
from charrnn.checkpoint.writer import commit
from charrnn.errors import CheckpointError, RunError, TrainingError
from charrnn.model.config import ModelConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.events import CheckpointEvent, Event, StepEvent, WarningEvent
from charrnn.training.trainer import MAX_BAD_STEPS, MAX_RETURNS
from tests.conftest import ROOT, TEXT, Command, sealed
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
    assert [m.split(": ")[1] for m in told.warnings] == 2 * [
        "cannot be saved (No space left on device); the run goes on, and tries again later"
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
    with pytest.raises(CheckpointError, match=r"step-00000024: cannot be saved \(Input/output"):
        train(corpus, tmp_path / "broken")
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
    assert len([m for m in told.warnings if "cannot be saved (No such file" in m]) == 2
    assert_same_run(straight, run)


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
        "import resource, sys, charrnn\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        "sys.exit(charrnn.cli.app.main())"
    )
    options = ["--hidden-size", "8", "--embedding-size", "4", "--optimizer", "sgd", "--steps", "80"]
    options += ["--batch-size", "4", "--seq-length", "16", "--momentum", "0", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", "import charrnn.cli.app\n" + code, "train", corpus, *options],
        cwd=tmp_path, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    stderr = done.stderr.decode()
    assert done.returncode == 0, stderr
    assert "log.jsonl: cannot be written (File too large); it is tried again" in stderr
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
    assert told.warnings[0].endswith("; going back to step 16")
    assert told.warnings[1] == "kept what is damaged as damaged-1-step-00000018"
    assert (run / "damaged-1-step-00000018" / name).read_bytes() == data
    assert_same_run(straight, run)


def test_where_no_checkpoint_is_sound_the_newest_finding_is_told(
    corpus: Path, tmp_path: Path
) -> None:
    run = train(corpus, tmp_path / "runs")
    for path in run.glob("step-*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"is sound; 3 are there, .*-00000024/"):
        charrnn.resume(run)
    with pytest.raises(CheckpointError, match=r"damaged .*; others of the run: --checkpoint 16, "):
        charrnn.load(run)


# Numbers explode


def test_a_run_that_explodes_goes_back_and_goes_on_more_slowly(
    corpus: Path, tmp_path: Path
) -> None:
    told = Told()
    run = train(corpus, tmp_path, told, model=EXPLOSIVE, training=EXPLODING)
    returns = [m for m in told.warnings if "; back to step" in m]
    assert 1 <= len(returns) <= MAX_RETURNS
    assert returns[0].endswith("with 0.5 of the learning rate")
    rates = [e.learning_rate for e in told.events if isinstance(e, StepEvent)]
    assert rates[0] == 3.0
    assert rates[-1] == 3.0 * 0.5 ** len(returns)
    saved = Run(run).read_latest()[0]
    assert saved.manifest.step == 120
    assert saved.manifest.trainer["returns"] == len(returns)


def test_a_run_that_explodes_is_the_same_after_a_break(corpus: Path, tmp_path: Path) -> None:
    """Wherever it is broken off: before it explodes, in the middle, after it went back."""
    options: dict[str, Any] = {"model": EXPLOSIVE, "training": EXPLODING}
    straight = train(corpus, tmp_path / "straight", **options)
    for step in (2, 12, 26, 60):
        run = charrnn.train(
            corpus, checkpoint_dir=tmp_path / str(step), **options, **stopping(step)
        ).folder
        charrnn.resume(run)
        assert_same_run(straight, run)


def test_a_run_that_always_explodes_gives_up_with_advice(corpus: Path, tmp_path: Path) -> None:
    hopeless = TrainingConfig(
        steps=900, batch_size=4, seq_length=32, eval_every=0, save_every=10, optimizer="sgd",
        learning_rate=1e6, grad_clip=0.0, weight_decay=0.5, warmup=0, sample_every=0,
    )  # fmt: skip
    told = Told()
    with pytest.raises(TrainingError, match=r"after 5 returns; .*--learning-rate or .*--grad-clip"):
        train(corpus, tmp_path, told, model=EXPLOSIVE, training=hopeless)
    steps = [e for e in told.events if isinstance(e, StepEvent)]
    assert len(steps) < 3 * MAX_BAD_STEPS * (MAX_RETURNS + 1)
    Run(tmp_path / "river").read_latest()


# One trainer to a run


def test_a_run_is_trained_by_one_process_at_a_time(command: Command, corpus: Path) -> None:
    run = Run(corpus.parent / "checkpoints" / "river")
    options = ["--hidden-size", "8", "--batch-size", "4", "--seq-length", "16", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "charrnn", "train", corpus, *options, "--minutes", "9"],
        cwd=corpus.parent, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        while not run.log.exists():
            assert process.poll() is None
            time.sleep(0.01)
        done = command("resume", "river")
        assert done.returncode == 1
        assert "run river is being trained by another process; stop that first" in done.stderr
        assert command("runs", "-q").stdout == "river\n", "whoever only looks may look"
    finally:
        process.kill()
        process.wait()
    with claimed(run):  # a dead one does not block
        assert run.read_latest()[0].manifest.step >= 0


def test_runs_that_begin_at_once_have_a_folder_each(tmp_path: Path) -> None:
    with claimed_new(tmp_path, None, "river") as one, claimed_new(tmp_path, None, "river") as two:
        assert (one.name, two.name) == ("river", "river-2")
        with (
            pytest.raises(RunError, match="a run 'river' is in"),
            claimed_new(tmp_path, "river", "x"),
        ):
            pass
    assert list(tmp_path.iterdir()) == [], "what saved nothing leaves nothing"


# Other circumstances


def test_a_run_may_be_moved_renamed_and_linked_to(corpus: Path, tmp_path: Path) -> None:
    straight = train(corpus, tmp_path / "straight")
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(5)
    ).folder
    elsewhere = tmp_path / "an other dïsk 字" / "the river's \x1b[31m run"
    elsewhere.parent.mkdir()
    shutil.move(run, elsewhere)
    charrnn.resume(elsewhere, **stopping(11))
    (tmp_path / "link").symlink_to(elsewhere)
    charrnn.resume(tmp_path / "link")
    assert_same_run(straight, elsewhere)


@pytest.mark.parametrize("saved_at", ["1970-01-01T00:00:00+00:00", "2999-01-01", "", "\x1b[2J"])
def test_a_clock_that_jumps_does_no_harm(corpus: Path, tmp_path: Path, saved_at: str) -> None:
    straight = train(corpus, tmp_path / "straight")
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(10)
    ).folder
    rewrite(run / "step-00000010", saved_at=saved_at)
    charrnn.resume(run)
    assert_same_run(straight, run)


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("sha256")
    path.write_bytes(sealed(content | changes))


def test_what_is_different_is_told(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path, **stopping(10)
    ).folder
    environment = json.loads((run / "step-00000010" / "manifest.json").read_text())["environment"]
    rewrite(run / "step-00000010", environment=environment | {"torch": "2.10.0", "device": "cuda"})
    told = Told()
    charrnn.resume(run, observers=[told], threads=1)
    (notice,) = told.warnings
    assert "instead of 2.10.0, device cpu instead of cuda: the run goes on, but not bit" in notice


def test_a_changed_corpus_is_refused_unless_the_user_insists(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(10)
    ).folder
    corpus.write_text(TEXT.replace("river", "reviver"))
    with pytest.raises(RunError, match=r"its hash differs.*--force"):
        charrnn.resume(run)
    told = Told()
    charrnn.resume(run, force=True, observers=[told], steps=30)
    assert told.warnings[0] == "the corpus river has changed; training goes on from its beginning"
    assert Run(run).latest.step == 30
    corpus.write_text(TEXT + "ÄÖÜ")
    with pytest.raises(RunError, match=r"characters that are new to the run; .*--init-from"):
        charrnn.resume(run, force=True, steps=40)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_a_model_that_does_not_fit_into_memory_is_told_in_a_line(
    corpus: Path, tmp_path: Path
) -> None:
    code = (
        "import resource, charrnn.cli.app\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "charrnn.cli.app.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", corpus, "--hidden-size", "30000", "--threads", "1"],
        cwd=tmp_path, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    stderr = done.stderr.decode()
    assert (done.returncode, stderr.count("\n")) == (1, 1), stderr
    assert "error: out of memory on cpu with --batch-size 32 x --seq-length 64, 1 x 30000" in stderr
    assert not any((tmp_path / "checkpoints").iterdir())
