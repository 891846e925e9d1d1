"""What is said about the curve of a finished run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.model.config import ModelConfig
from charrnn.runs.curves import Curve, Point
from charrnn.runs.verdict import expected_gain, verdict
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Verdict

STEPS = (100, 200, 300, 400, 500, 600, 700, 800)


def points(losses: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(Point(s, None, None, loss) for s, loss in zip(STEPS, losses, strict=True))


def judged(
    validation: tuple[float, ...], train: tuple[float, ...] | None = None, **values: Any
) -> Verdict | None:
    falling = (2.0, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2)
    curve = Curve(validation=points(validation), train=points(train or falling))
    given: dict[str, Any] = {
        "model": ModelConfig(dropout=0.1, input_dropout=0.1),
        "training": TrainingConfig(steps=800),
        "reason": "steps",
        "returns": 0,
        "strain": 1.0,
    }
    return verdict(curve, **(given | values))


RISES = (2.0, 1.8, 1.7, 1.65, 1.68, 1.7, 1.72, 1.75)
FALLS = (2.5, 2.0, 1.9, 1.8, 1.75, 1.72, 1.7, 1.69)
FLAT = (2.0, 1.71, 1.705, 1.701, 1.7, 1.7, 1.7, 1.699)


def test_overfitting_is_dated_and_has_a_remedy() -> None:
    """More dropout; a smaller model if there is as much dropout as helps."""
    found = judged(RISES)
    assert found == Verdict(
        "overfitting", 400, None, {"dropout": 0.3, "input_dropout": 0.2, "patience": 3}
    )
    model = ModelConfig(dropout=0.6, input_dropout=0.2, hidden_size=512)
    patient = TrainingConfig(steps=800, patience=5)
    found = judged(RISES, model=model, training=patient)
    assert found is not None
    assert found.settings == {"hidden_size": 384}


def test_a_training_loss_that_rises_too_means_the_rate() -> None:
    found = judged(RISES, RISES)
    assert found == Verdict("rate", 400, None, {"learning_rate": 0.004})
    returned = judged(FALLS, returns=2)
    assert returned == Verdict("rate", None, None, {"learning_rate": 0.002})


@pytest.mark.parametrize("reason", ["steps", "minutes", "epochs"])
def test_a_loss_that_still_falls_names_the_next_limit(reason: str) -> None:
    """Twice the one that ended the run, with the gain that is expected of it."""
    found = judged(FALLS, training=TrainingConfig(**{reason: 3}), reason=reason)  # type: ignore[arg-type]
    assert found is not None
    assert found.kind == "falling"
    assert found.settings == {reason: 6}
    assert found.gain == expected_gain(points(FALLS)) == pytest.approx(0.4 * (2.0 - 1.8))


def test_nothing_is_said_without_a_reason() -> None:
    """A flat curve, one of few evaluations, and a text that would be learned by heart."""
    assert judged(FLAT) is None
    assert judged(FALLS, strain=60.0) is None
    assert judged(FALLS, reason="patience") is None
    short = Curve(validation=points(FALLS)[:3])
    assert verdict(short, ModelConfig(), TrainingConfig(), "steps", 0, 1.0) is None


def test_the_end_of_a_run_has_a_verdict(tmp_path: Path) -> None:
    """A real one, on random letters, of which nothing can be learned but by heart."""
    corpus = tmp_path / "letters.txt"
    corpus.write_text("".join(random.Random(1).choices("abcdefgh", k=1500)), encoding="utf-8")
    ends: list[EndEvent] = []
    result = charrnn.train(
        corpus,
        model={"hidden_size": 64, "embedding_size": 16, "dropout": 0.0, "input_dropout": 0.0},
        training={"steps": 160, "eval_every": 10, "batch_size": 8, "seq_length": 16},
        checkpoint_dir=tmp_path,
        observers=[lambda event: ends.append(event) if isinstance(event, EndEvent) else None],
    )
    (end,) = ends
    assert end.verdict is not None
    assert end.verdict.kind == "overfitting"
    assert end.verdict.since == end.best_step
    *_, last = (result.folder / "log.jsonl").read_text().splitlines()
    assert json.loads(last)["verdict"]["since"] == end.best_step
