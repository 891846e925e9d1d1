"""Runs whose numbers diverge: they go back to sound weights, and learn more slowly."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.store import Run
from charrnn.errors import TrainingError
from charrnn.model.config import ModelConfig
from charrnn.training import trainer
from charrnn.training.config import TrainingConfig
from charrnn.training.events import Event, StepEvent
from charrnn.training.optimization import chunk_loss
from charrnn.training.trainer import MAX_BAD_STEPS, MAX_RETURNS
from tests.reliability.runs import Recorder, train
from tests.training.runs import assert_same_run

# An unbounded recurrence, a learning rate that is far too large, and no clipping.
EXPLOSIVE = ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=32, embedding_size=8)
EXPLODING = TrainingConfig(
    steps=120, batch_size=4, seq_length=32, eval_every=40, save_every=10, sample_every=0,
    optimizer="sgd", learning_rate=3.0, grad_clip=0.0, warmup=0, schedule="constant",
)  # fmt: skip


def test_a_diverging_run_goes_back_and_slows_down(corpus: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    run = train(corpus, tmp_path, recorder, model=EXPLOSIVE, training=EXPLODING)
    returns = [m for m in recorder.warnings if "; back at step" in m]
    assert 1 <= len(returns) <= MAX_RETURNS
    assert returns[0].endswith("with 0.5 of the learning rate")
    rates = [e.learning_rate for e in recorder.events if isinstance(e, StepEvent)]
    assert rates[0] == 3.0
    assert rates[-1] == 3.0 * 0.5 ** len(returns)
    saved = Run(run).read_latest()[0]
    assert saved.manifest.step == 120
    assert saved.manifest.trainer["returns"] == len(returns)


@pytest.mark.parametrize("save_every", [1, 2, 3, 4, 5])
def test_a_diverging_run_goes_back_to_sound_weights(
    corpus: Path, tmp_path: Path, save_every: int
) -> None:
    """Not to a checkpoint so late that its next step already diverges."""
    recorder = Recorder()
    training = replace(EXPLODING, save_every=save_every, learning_rate=2.0, seed=2)
    run = train(corpus, tmp_path, recorder, model=EXPLOSIVE, training=training)
    assert Run(run).latest.step == 120
    assert any("; back at step" in message for message in recorder.warnings)


def test_going_back_does_not_return_to_an_earlier_corpus(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that continued with a changed, shorter text goes back to weights, not to places."""
    run = train(corpus, tmp_path)
    text = corpus.read_text(encoding="utf-8")
    corpus.write_text(text[: len(text) // 3], encoding="utf-8")
    taken = itertools.count(1)

    def diverging(*arguments: Any) -> Any:
        loss, state = chunk_loss(*arguments)
        return loss * (math.nan if next(taken) == 3 else 1), state

    monkeypatch.setattr(trainer, "chunk_loss", diverging)
    monkeypatch.setattr(trainer, "MAX_BAD_STEPS", 1)
    recorder = Recorder()
    end = charrnn.resume(run, steps=36, force=True, observers=[recorder]).end
    assert (end.reason, end.step) == ("steps", 36)
    assert any("; back at step" in message for message in recorder.warnings)


@pytest.mark.parametrize("save_every", [3, 10])
def test_a_diverging_run_is_the_same_after_an_interruption(
    corpus: Path, tmp_path: Path, save_every: int
) -> None:
    """Before it diverges, in the middle of it, and after it has gone back."""
    training = replace(EXPLODING, save_every=save_every, steps=60)
    options: dict[str, Any] = {"model": EXPLOSIVE, "training": training}
    straight = train(corpus, tmp_path / "straight", **options)
    for steps in (2, 5, 12, 23, 24, 25, 26, 27, 40, 60):
        stop = StopAfterEvents(steps)
        run = charrnn.train(
            corpus,
            checkpoint_dir=tmp_path / str(steps),
            stop=stop,
            observers=[stop.observe],
            **options,
        ).folder
        charrnn.resume(run)
        assert_same_run(straight, run)


class StopAfterEvents:
    """Stops a run after a number of step events, repeated steps included."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def observe(self, event: Event) -> None:
        self.left -= isinstance(event, StepEvent)

    def __call__(self) -> bool:
        return self.left <= 0


def test_a_run_that_keeps_diverging_ends_with_advice(corpus: Path, tmp_path: Path) -> None:
    hopeless = TrainingConfig(
        steps=900, batch_size=4, seq_length=32, eval_every=0, save_every=10, optimizer="sgd",
        learning_rate=1e6, grad_clip=0.0, weight_decay=0.5, warmup=0, sample_every=0,
    )  # fmt: skip
    recorder = Recorder()
    with pytest.raises(TrainingError, match="after 5 returns; train again with a smaller"):
        train(corpus, tmp_path, recorder, model=EXPLOSIVE, training=hopeless)
    steps = [e for e in recorder.events if isinstance(e, StepEvent)]
    assert len(steps) < 3 * MAX_BAD_STEPS * (MAX_RETURNS + 1)
    Run(tmp_path / "river").read_latest()
