"""What is said about the curve of a finished run."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.model.config import ModelConfig
from charrnn.render.wording import verdict_line
from charrnn.runs.curves import Curve, Point, Stretch
from charrnn.runs.verdict import expected_gain, verdict
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Verdict
from charrnn.training.progress import TrainerProgress, ValidationRecord

STEPS = (100, 200, 300, 400, 500, 600, 700, 800)


def points(losses: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(Point(s, None, None, loss) for s, loss in zip(STEPS, losses, strict=True))


def judged(
    validation: tuple[float, ...], train: tuple[float, ...] | None = None, **values: Any
) -> Verdict | None:
    falling = (2.0, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2)
    curve = Curve(validation=points(validation), train=points(train or falling))
    best = min(curve.validation, key=lambda point: point.loss)
    given: dict[str, Any] = {
        "curve": curve,
        "model": ModelConfig(dropout=0.1, input_dropout=0.1),
        "training": TrainingConfig(steps=800),
        "reason": "steps",
        "progress": TrainerProgress(record=ValidationRecord(best.loss, best.step)),
        "strain": 1.0,
        "guessing": 4.0,
    }
    return verdict(**(given | values))


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
    returned = judged(FALLS, progress=TrainerProgress(rate_scale=0.25))
    assert returned == Verdict("rate", None, None, {"learning_rate": 0.002})


LOST = (4.1, 3.5, 3.0, 6.0, 5.0, 4.0, 3.0, 2.9)


def test_a_loss_above_that_of_guessing_means_the_rate() -> None:
    """Even if it falls again. A rate that was far too high is replaced by the default."""
    assert judged(FALLS, LOST) == Verdict("rate", 400, None, {"learning_rate": 0.004})
    high = TrainingConfig(steps=800, learning_rate=30.0)
    found = judged(FALLS, LOST, training=high)
    assert found == Verdict("rate", 400, None, {"learning_rate": 0.007})
    resumed = Curve(points(FLAT), points(LOST), (Stretch(400, 0, 2048),))
    assert judged(FLAT, curve=resumed) is None, "it may have been resumed with another rate"
    assert judged(FLAT, (6.0, *LOST[1:])) is None, "it began above guessing, from another model"


def test_many_skipped_steps_mean_the_rate() -> None:
    """One of them may happen to any run."""
    curve = Curve(points(FLAT), points(FLAT), skipped=5)
    assert judged(FLAT, curve=curve) == Verdict("rate", None, None, {"learning_rate": 0.004})
    assert judged(FLAT, curve=replace(curve, skipped=1)) is None


def test_a_real_rate_that_is_too_high_is_recognized(corpus: Path, tmp_path: Path) -> None:
    """Though its losses fall in the end, when the schedule has made it small."""
    result = charrnn.train(
        corpus,
        model={"hidden_size": 16, "embedding_size": 16},
        training={"steps": 80, "eval_every": 10, "batch_size": 4, "learning_rate": 30.0},
        checkpoint_dir=tmp_path,
    )
    assert result.end.verdict is not None
    assert result.end.verdict.kind == "rate"
    assert result.end.verdict.settings == {"learning_rate": 0.007}


@pytest.mark.parametrize("reason", ["steps", "minutes", "epochs"])
def test_a_loss_that_still_falls_names_the_next_limit(reason: str) -> None:
    """Twice the one that ended the run, with the gain that is expected of it."""
    found = judged(FALLS, training=TrainingConfig(**{reason: 3}), reason=reason)  # type: ignore[arg-type]
    assert found is not None
    assert found.kind == "falling"
    assert found.settings == {reason: 6}
    assert found.gain == pytest.approx(0.4 * (2.0 - 1.8))


def test_a_run_that_was_continued_expects_less() -> None:
    """Its rate had fallen at the half already, so what the last doubling brought counts as well."""
    once, twice = (Curve(points(FALLS), ended=ended) for ended in (False, True))
    assert expected_gain(once) == pytest.approx(0.4 * (2.0 - 1.8))
    assert expected_gain(twice) == pytest.approx(0.4 * (1.8 - 1.69))


def test_one_noisy_step_does_not_blame_the_rate() -> None:
    """The training loss falls, but the last step's chunk is a hard one."""
    steps = [Point(step, None, None, 2 - step / 1000) for step in range(1, 801)]
    steps[-1] = replace(steps[-1], loss=2.5)
    found = judged(RISES, curve=Curve(points(RISES), tuple(steps)))
    assert found is not None
    assert found.kind == "overfitting"


def test_losses_of_an_earlier_text_are_no_overfitting() -> None:
    """After `resume --force` with another text, the log still has the losses of the old one."""
    since = TrainerProgress(record=ValidationRecord(1.7, 600))
    assert judged(RISES, progress=since) is None


def test_advice_can_be_typed_as_it_is() -> None:
    """Millions of steps are written out; if no setting is left to try, the advice is more text."""
    found = judged(FALLS, training=TrainingConfig(steps=1_234_567))
    assert found is not None
    assert verdict_line(found, 800, " ".join, str).endswith("less with `steps=2469134`")
    model = ModelConfig(dropout=0.6, input_dropout=0.2, hidden_size=16)
    found = judged(RISES, model=model, training=TrainingConfig(patience=5))
    assert found is not None
    assert verdict_line(found, 800, " ".join, str).endswith("is kept; try more text")


def test_nothing_is_said_without_a_reason() -> None:
    """A flat curve, one of few evaluations, and a text that would be learned by heart."""
    assert judged(FLAT) is None
    assert judged(FALLS, strain=60.0) is None
    assert judged(FALLS, reason="patience") is None
    short = Curve(validation=points(FALLS)[:3])
    assert judged(FALLS, curve=short) is None


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
