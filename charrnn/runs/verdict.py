"""What the curve of a finished run says: what went wrong, or what more time would bring."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict

from charrnn.model.config import ModelConfig
from charrnn.runs.choice import HIDDEN_SIZES, MAX_DROPOUT, MAX_INPUT_DROPOUT, MAX_STRAIN
from charrnn.runs.curves import Curve, Point
from charrnn.training.config import LIMITS, TrainingConfig
from charrnn.training.events import Verdict

# Overfitting: the validation loss has risen by so many nats, and was at its best before this
# fraction of the run was over.
RISEN, BEFORE_THE_END = 0.01, 0.9
FEWEST_POINTS = 4
MORE_DROPOUT, PATIENCE = 0.2, 3
# A run of twice the length gains at least this share of what the doubling from a quarter of the run
# to its half brought. The last doubling looks better than it is, since the learning rate falls.
# The trials are in docs/research/experiments.md.
LATER_GAIN = 0.4
WORTH_MORE = 0.01  # nats that make it worth saying
RATE_FACTOR = 0.5


def verdict(
    curve: Curve,
    model: ModelConfig,
    training: TrainingConfig,
    reason: str,
    returns: int,
    strain: float,
) -> Verdict | None:
    """Judge a run that has ended; None if there is nothing to say.

    reason: the limit that ended it. returns: how often it went back to an earlier checkpoint.
    strain: see choice.strain.
    """
    if returns:
        smaller = training.peak_rate * RATE_FACTOR**returns
        return Verdict("rate", None, None, {"learning_rate": _rounded(smaller)})
    points = curve.validation
    if len(points) < FEWEST_POINTS:
        return None
    best, last = min(points, key=lambda point: point.loss), points[-1]
    if last.loss - best.loss >= RISEN and best.step <= BEFORE_THE_END * last.step:
        if _risen(curve.train, best.step):
            smaller = training.peak_rate * RATE_FACTOR
            return Verdict("rate", best.step, None, {"learning_rate": _rounded(smaller)})
        return Verdict("overfitting", best.step, None, _against_overfitting(model, training))
    gain = expected_gain(points)
    done = reason not in LIMITS or 2 * strain > MAX_STRAIN
    if best is last and not done and gain is not None and gain >= WORTH_MORE:
        limit = asdict(training)[reason]
        return Verdict("falling", None, gain, {reason: 2 * limit})
    return None


def expected_gain(points: Sequence[Point]) -> float | None:
    """Estimate how many nats a run of twice the length would gain; None if its curve is too short.

    From what the doubling from a quarter of the run to its half brought.
    """
    end = points[-1].step
    quarter, half = (_loss_at(points, end / part) for part in (4, 2))
    if quarter is None or half is None:
        return None
    return LATER_GAIN * max(quarter - half, 0.0)


def _loss_at(points: Sequence[Point], step: float) -> float | None:
    """Return the loss at a step, on a line between its neighbours over the logarithm of steps."""
    for before, after in itertools.pairwise(points):
        if before.step <= step <= after.step:
            share = math.log(step / before.step) / math.log(after.step / before.step)
            return before.loss + share * (after.loss - before.loss)
    return None


def _risen(train: Sequence[Point], step: int) -> bool:
    """Return whether the training loss is higher at the end than it was at a step, too."""
    then = [point.loss for point in train if point.step <= step]
    return bool(then) and train[-1].loss > then[-1] + RISEN


def _against_overfitting(model: ModelConfig, training: TrainingConfig) -> dict[str, float | int]:
    """Return settings to try: more dropout, or a smaller model if there is much of it already."""
    tried: dict[str, float | int] = {}
    more = round(min(MAX_DROPOUT, model.dropout + MORE_DROPOUT), 2)
    if more > model.dropout:
        tried["dropout"] = more
        if model.input_dropout < MAX_INPUT_DROPOUT:
            tried["input_dropout"] = min(more, MAX_INPUT_DROPOUT)
    else:
        smaller = [size for size in HIDDEN_SIZES if size < model.hidden_size]
        if smaller:
            tried["hidden_size"] = smaller[-1]
    if not training.patience:
        tried["patience"] = PATIENCE
    return tried


def _rounded(rate: float) -> float:
    return float(f"{rate:.1g}")
