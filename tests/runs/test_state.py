"""Which runs are being trained, and which are finished."""

import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.errors import RunError
from charrnn.runs.threads import Computing
from charrnn.training.context import ExecutionContext
from tests.training.runs import stopping

MODEL = charrnn.ModelConfig(hidden_size=8, embedding_size=4)
TRAINING = charrnn.TrainingConfig(steps=8, eval_every=4, batch_size=4, seq_length=16)


def test_a_run_knows_whether_it_is_being_trained(corpus: Path, tmp_path: Path) -> None:
    """From before its first step until it has ended."""
    seen: list[tuple[bool, bool | None]] = []

    def look(event: charrnn.events.Event) -> None:
        if event.kind == "checkpoint":
            (run,) = charrnn.list_runs(tmp_path / "runs")
            seen.append((run.is_training, charrnn.is_finished(run)))

    charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "runs", observers=[look]
    )
    assert len(seen) == 2
    assert set(seen) == {(True, False)}
    (run,) = charrnn.list_runs(tmp_path / "runs")
    assert (run.is_training, charrnn.is_finished(run)) == (False, True)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_asking_works_in_a_read_only_folder(
    trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    """And creates no file where there is no lock."""
    run = charrnn.Run(Path(shutil.copytree(trained.folder, tmp_path / "river")))
    (run.path / ".lock").unlink(missing_ok=True)
    before = sorted(tmp_path.rglob("*"))
    run.path.chmod(0o555)
    try:
        assert (run.is_training, charrnn.is_finished(run)) == (False, True)
    finally:
        run.path.chmod(0o755)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "limits",
    [{"steps": 8}, {"steps": None, "epochs": 0.5}, {"patience": 1}, {"steps": None, "epochs": 1}],
)
def test_a_run_is_finished_if_resume_says_so(
    corpus: Path, tmp_path: Path, limits: dict[str, Any]
) -> None:
    """Whatever its limit is, and not before it has been reached."""
    rate = 5.0 if "patience" in limits else None  # so high that the loss soon rises
    training = replace(TRAINING, save_every=1, keep=100, learning_rate=rate, **limits)
    options: dict[str, Any] = {"model": MODEL, "training": training, "checkpoint_dir": tmp_path}
    stopped = charrnn.train(corpus, run="stopped", **options, **stopping(3))
    assert charrnn.is_finished(charrnn.Run(stopped.folder)) is False
    ended = charrnn.resume(stopped.folder)
    assert ended.end.reason != "interrupted"
    assert charrnn.is_finished(charrnn.Run(ended.folder)) is True
    with pytest.raises(RunError, match="is finished"):
        charrnn.resume(ended.folder)
    shutil.rmtree(charrnn.Run(ended.folder).latest.path)  # as if killed before the last save
    assert charrnn.is_finished(charrnn.Run(ended.folder)) is False


@pytest.mark.parametrize(("eval_every", "took"), [(1, 61.0), (4, 60.0)])
def test_a_run_that_used_its_minutes_is_finished(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eval_every: int, took: float
) -> None:
    """Even if its end took less than was kept for it; its last event has what it really took."""
    seconds = itertools.count()  # whatever a run does takes a second

    def by_the_clock(self: Computing, threads: int) -> ExecutionContext:
        return ExecutionContext(self.device, threads, clock=lambda: float(next(seconds)))

    monkeypatch.setattr(Computing, "with_threads", by_the_clock)
    training = replace(TRAINING, steps=None, minutes=1, eval_every=eval_every)
    run = charrnn.train(corpus, model=MODEL, training=training, checkpoint_dir=tmp_path)
    assert (run.end.reason, run.end.seconds) == ("minutes", took)
    assert charrnn.is_finished(charrnn.Run(run.folder)) is True
    with pytest.raises(RunError, match="is finished"):
        charrnn.resume(run.folder)
    assert charrnn.resume(run.folder, minutes=2).end.step > run.end.step


def test_a_run_without_its_last_evaluation_is_not_finished(corpus: Path, tmp_path: Path) -> None:
    """It was interrupted after its last step; resume makes up for the evaluation."""
    options: dict[str, Any] = {"model": MODEL, "training": TRAINING, "checkpoint_dir": tmp_path}
    run = charrnn.train(corpus, **options, **stopping(TRAINING.steps or 0))
    assert (run.end.step, run.end.reason) == (8, "interrupted")
    assert charrnn.is_finished(charrnn.Run(run.folder)) is False
    charrnn.resume(run.folder)
    assert charrnn.is_finished(charrnn.Run(run.folder)) is True


@pytest.mark.parametrize("log", [None, b"", b"{}\n", b"\xff\n", b"{\n", b'{"event": "start"}\n'])
def test_without_its_log_the_length_of_an_epoch_is_unknown(
    corpus: Path, tmp_path: Path, log: bytes | None
) -> None:
    """And so is whether a run that is limited by epochs has reached its limit."""
    training = replace(TRAINING, steps=None, epochs=1)
    run = charrnn.train(corpus, model=MODEL, training=training, checkpoint_dir=tmp_path).folder
    path = run / "log.jsonl"
    start = json.loads(path.read_text().splitlines()[0])
    path.write_bytes(log) if log is not None else path.unlink()
    assert charrnn.is_finished(charrnn.Run(run)) is None
    for wrong in ({"steps_per_epoch": 0}, {"steps_per_epoch": "9"}, {"characters": 1}):
        path.write_text(json.dumps(start | wrong) + "\n")
        assert charrnn.is_finished(charrnn.Run(run)) is None
    path.write_text(json.dumps(start) + "\n")
    assert charrnn.is_finished(charrnn.Run(run)) is True
