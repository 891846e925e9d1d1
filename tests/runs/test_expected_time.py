"""How long a run will take, as it is said at its start."""

from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.store import Run
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.render.wording import run_facts
from charrnn.runs import begin
from charrnn.runs.choice import PROBE_SIZE
from charrnn.training.config import TrainingConfig
from charrnn.training.events import StartEvent
from tests.training.runs import stopping

MODEL: dict[str, Any] = {"hidden_size": 8, "embedding_size": 4}
TRAINING: dict[str, Any] = {"batch_size": 4, "seq_length": 16, "steps": 12, "sample_every": 0}


def started(corpus: Path, **options: Any) -> StartEvent:
    """The first event of a run that is stopped before its first step."""
    events: list[charrnn.events.Event] = []
    charrnn.train(
        corpus,
        checkpoint_dir=corpus.parent,
        stop=lambda: True,
        observers=[events.append],
        **options,
    )
    return next(event for event in events if isinstance(event, StartEvent))


def test_the_speed_is_that_of_the_model_itself(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With minutes and a short text, the speed of the trial model is that of another size."""

    def speed(_text: Any, _device: Any, _threads: int, model: ModelConfig, *_: Any) -> float:
        return 1e9 if model.hidden_size == PROBE_SIZE else 1e7

    monkeypatch.setattr(begin, "products_per_second", speed)
    start = started(corpus, training={"minutes": 600.0})
    model = ModelConfig(**start.model)
    assert model.hidden_size != PROBE_SIZE
    read = start.training["steps"] * start.batch_size * start.seq_length
    products = read * multiplied_weights(model, start.vocabulary_size)
    assert start.expected_seconds == pytest.approx(begin.OTHER_WORK * products / 1e7)


def test_steps_that_are_done_sooner_decide(corpus: Path) -> None:
    """Not the minutes, though nothing is left to be chosen, and so nothing was timed."""
    start = started(
        corpus, model=ModelConfig(**MODEL), training=TrainingConfig(**TRAINING, minutes=9.0)
    )
    assert start.expected_seconds is not None
    assert start.expected_seconds < 60


def test_a_run_limited_by_minutes_alone_takes_these(corpus: Path) -> None:
    limits = {"minutes": 3.0, "steps": None}
    assert started(corpus, model=MODEL, training=TRAINING | limits).expected_seconds == 180


def test_a_resumed_run_says_how_much_is_left(corpus: Path) -> None:
    """Judged by the time it took so far; a moment is shown as a second."""
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=corpus.parent, **stopping(4)
    )
    seconds = Run(run.folder).latest.manifest.trainer["seconds"]
    events: list[charrnn.events.Event] = []
    charrnn.resume(run.folder, observers=[events.append])
    start = next(event for event in events if isinstance(event, StartEvent))
    assert start.expected_seconds == pytest.approx(2 * seconds)
    assert run_facts(start)["time"].endswith(" more, evaluations included")
    assert run_facts(start)["time"].startswith("about 0:01 ")


def test_a_run_with_patience_may_take_less(corpus: Path) -> None:
    training = TRAINING | {"steps": None, "minutes": 3.0, "patience": 2}
    facts = run_facts(started(corpus, model=MODEL, training=training))
    assert facts["time"] == "at most 3:00, evaluations included"
