"""The training loop: what it does when, and what ends it."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.errors import CheckpointError, GenerationError, TrainingError
from charrnn.model.config import ModelConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.documents import DocumentLanes
from charrnn.training.events import Event
from charrnn.training.lanes import Lanes
from charrnn.training.saving import restore, state_of
from tests.training.trainers import ids_of, trainer_over


def test_a_run_learns(corpus: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    result = charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=32, embedding_size=8),
        training=TrainingConfig(
            steps=150, batch_size=4, seq_length=16, learning_rate=0.01, eval_every=50
        ),
        checkpoint_dir=tmp_path,
        observers=[events.append],
    )
    losses = [e.val_loss for e in events if e.kind == "evaluation"]
    assert len(losses) == 3
    assert losses[-1] < 2 < losses[0] < math.log(27)
    assert result.end.best_loss == min(losses)


def run_kinds(corpus: Path, folder: Path, **settings: Any) -> list[Event]:
    events: list[Event] = []
    charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=8, embedding_size=4),
        training=TrainingConfig(**({"batch_size": 4, "seq_length": 16} | settings)),
        checkpoint_dir=folder,
        observers=[events.append],
    )
    return events


def steps_of(events: list[Event], kind: str) -> list[int]:
    return [e.step for e in events if e.kind != "reading" and e.kind == kind]


def of_the_run(events: list[Event]) -> list[Event]:
    """All events but those of reading the corpus."""
    return [e for e in events if e.kind != "reading"]


def test_evaluations_samples_and_saves_come_when_due(corpus: Path, tmp_path: Path) -> None:
    events = run_kinds(corpus, tmp_path, steps=10, eval_every=4, sample_every=3, save_every=5)
    assert steps_of(events, "step") == list(range(1, 11))
    assert steps_of(events, "evaluation") == [4, 8, 10]
    assert steps_of(events, "sample") == [3, 6, 9]
    assert set(steps_of(events, "checkpoint")) >= {5, 10}
    assert of_the_run(events)[0].kind == "start"
    assert events[-1].kind == "end"
    (run,) = charrnn.list_runs(tmp_path)
    assert [c.step for c in run.checkpoints][-1] == 10


def test_reading_events_come_before_the_run_starts(corpus: Path, tmp_path: Path) -> None:
    """They count all bytes, first while checking and then while encoding."""
    events = run_kinds(corpus, tmp_path, steps=1)
    reading = list(itertools.takewhile(lambda e: e.kind == "reading", events))
    assert [*reading, *of_the_run(events)] == events
    last = {e.what: (e.done, e.total) for e in reading if e.kind == "reading"}
    size = corpus.stat().st_size
    assert last["checking"] == (size, size)
    assert last.get("encoding", (size, size)) == (size, size)  # not if the cache has it


def test_samples_come_with_evaluations_by_default(corpus: Path, tmp_path: Path) -> None:
    default = run_kinds(corpus, tmp_path, steps=7, eval_every=3)
    assert steps_of(default, "evaluation") == steps_of(default, "sample") == [3, 6, 7]
    assert all(len(e.text) == 200 for e in default if e.kind == "sample")
    assert (
        steps_of(run_kinds(corpus, tmp_path, steps=6, eval_every=3, sample_every=0), "sample") == []
    )


@pytest.mark.parametrize("settings", [{"eval_every": 0}, {"eval_every": 3}])
def test_the_last_evaluation_is_in_the_last_checkpoint(
    corpus: Path, tmp_path: Path, settings: dict[str, int]
) -> None:
    """Also if --save-every falls on the last step."""
    end = run_kinds(corpus, tmp_path, steps=10, save_every=5, **settings)[-1]
    assert end.kind == "end"
    (run,) = charrnn.list_runs(tmp_path)
    assert run.latest.step == 10
    assert run.latest.manifest.val_loss is not None
    assert (run.best.step, run.best.manifest.val_loss) == (end.best_step, end.best_loss)


def test_an_overflowing_model_is_neither_sampled_nor_best() -> None:
    """A loss of NaN is never the best, and a sample that fails is a warning."""
    events: list[Event] = []
    losses = iter([math.nan, 2.0])
    trainer = trainer_over(ids_of(100), 2, 10, steps=2, eval_every=1, validate=lambda: next(losses))

    def fail(_step: int) -> str:
        raise GenerationError("overflow")

    trainer.hooks = replace(trainer.hooks, write_sample=fail)
    end = trainer.run([events.append])
    assert (end.best_step, end.best_loss) == (2, 2.0)
    assert [e.message for e in events if e.kind == "warning"] == ["no sample: overflow"] * 2


def test_the_first_limit_ends_the_run(corpus: Path, tmp_path: Path) -> None:
    events = run_kinds(corpus, tmp_path, steps=1000, epochs=1.5)
    end, start = events[-1], of_the_run(events)[0]
    assert end.kind == "end"
    assert start.kind == "start"
    assert end.reason == "epochs"
    assert end.step == math.ceil(1.5 * start.steps_per_epoch)
    timed = run_kinds(corpus, tmp_path, minutes=0.002)[-1]
    assert timed.kind == "end"
    assert timed.reason == "minutes"
    assert timed.seconds >= 0.12


def test_the_schedule_follows_the_limit_reached_first(corpus: Path, tmp_path: Path) -> None:
    """The cosine reaches its minimum at the end, whichever limit ends the run."""
    for limits in ({"steps": 40}, {"epochs": 1, "steps": 10_000}, {"minutes": 0.005}):
        events = run_kinds(corpus, tmp_path, warmup=0, learning_rate=0.01, **limits)
        rates = [e.learning_rate for e in events if e.kind == "step"]
        assert rates[0] == pytest.approx(0.01)
        assert rates[-1] < 0.002
        assert rates == sorted(rates, reverse=True)


def test_patience_ends_a_run_that_stops_improving() -> None:
    losses = iter([3.0, 2.0, 2.1, 2.2, 2.3])
    trainer = trainer_over(
        ids_of(100), 2, 10, steps=100, eval_every=1, patience=3, validate=lambda: next(losses)
    )
    end = trainer.run()
    assert (end.reason, end.step, end.best_step, end.best_loss) == ("patience", 5, 2, 2.0)


def test_a_run_can_train_without_validation(corpus: Path, tmp_path: Path) -> None:
    result = charrnn.train(
        corpus,
        corpus_config=charrnn.CorpusConfig(val_fraction=0),
        model=ModelConfig(hidden_size=8),
        training=TrainingConfig(steps=3, eval_every=1),
        checkpoint_dir=tmp_path,
    )
    assert result.end.best_loss is None
    assert charrnn.load(result.folder).step == 3


def test_a_short_corpus_gets_fewer_lanes_and_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("a short text of some forty characters..")
    events: list[Event] = []
    charrnn.train(
        path,
        model=ModelConfig(hidden_size=4),
        training=TrainingConfig(steps=2),
        checkpoint_dir=tmp_path,
        observers=[events.append],
    )
    (notice,) = (e.message for e in events if e.kind == "warning")
    assert notice == "the corpus is short: 1 lane x 34 characters instead of 32 x 64"


def test_a_loss_that_is_not_a_number_ends_the_run_with_advice(corpus: Path, tmp_path: Path) -> None:
    """Real divergence: a plain RNN with relu, a huge learning rate and no clipping."""
    events: list[Event] = []
    with pytest.raises(TrainingError, match=r"smaller `learning_rate` or with `grad_clip=1`"):
        charrnn.train(
            corpus,
            model=ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=32, num_layers=3),
            training=TrainingConfig(
                steps=500, optimizer="sgd", learning_rate=1e5, warmup=0, grad_clip=0, save_every=1,
                schedule="constant", eval_every=0,
            ),
            checkpoint_dir=tmp_path,
            observers=[events.append],
        )  # fmt: skip
    assert any("is not finite or far too large" in e.message for e in events if e.kind == "warning")
    for run in charrnn.list_runs(tmp_path):
        weights = charrnn.load(run.path, checkpoint="latest")._weights
        assert all(np.isfinite(array).all() for array in weights.values())


def test_the_log_contains_every_point_of_the_curves(corpus: Path, tmp_path: Path) -> None:
    events = run_kinds(corpus, tmp_path, steps=12, eval_every=5)
    lines = (tmp_path / "river" / "log.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [o["event"] for o in logged] == [e.kind for e in of_the_run(events)]
    curve = [
        (o["step"], o["loss"], o["grad_norm"], o["learning_rate"])
        for o in logged
        if o["event"] == "step"
    ]
    assert curve == [
        (e.step, e.loss, e.grad_norm, e.learning_rate) for e in events if e.kind == "step"
    ]
    assert [o["val_loss"] for o in logged if o["event"] == "evaluation"] == [
        e.val_loss for e in events if e.kind == "evaluation"
    ]


def test_a_run_that_read_documents_otherwise_says_what_helps() -> None:
    """Earlier versions read short documents one after the other, with a state for each lane."""
    ids = ids_of(200)
    before = trainer_over(ids, 4, 10, ends=tuple(range(5, 201, 5)))
    now = trainer_over(ids, 4, 10, ends=tuple(range(5, 201, 5)))
    assert isinstance(before.lanes, Lanes)
    text = before.lanes.text
    now.lanes = DocumentLanes(text, 4, 10, np.random.default_rng(0))
    assert now.lanes.carried != 4
    with pytest.raises(CheckpointError, match=r"short documents in another way.*`init_from=RUN`"):
        restore(now, state_of(before))
