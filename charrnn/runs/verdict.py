"""What the curve of a finished run says: what went wrong, or what more time would bring."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace

from charrnn.model.config import ModelConfig
from charrnn.runs.choice import HIDDEN_SIZES, MAX_DROPOUT, MAX_INPUT_DROPOUT, MAX_STRAIN
from charrnn.runs.curves import Curve, Point
from charrnn.training.config import LIMITS, TrainingConfig
from charrnn.training.events import Verdict
from charrnn.training.progress import TrainerProgress

# Overfitting: the validation loss has risen by so many nats, and was at its best before this
# fraction of the run was over.
RISEN, BEFORE_THE_END = 0.01, 0.9
# The training loss of a moment is the mean over this fraction of the run before it: that of a
# single step depends on its chunk.
MOMENT = 0.1
FEWEST_POINTS = 4
MORE_DROPOUT, PATIENCE = 0.2, 3
# A run of twice the length gains at least this share of what the doubling from a quarter of the run
# to its half brought. The last doubling looks better than it is, since the learning rate falls.
# The trials are in docs/research/experiments.md.
LATER_GAIN = 0.4
# From this strain on, a text may be learned by heart in twice the time.
WORN_OUT = MAX_STRAIN / 4
WORTH_MORE = 0.01  # nats that make it worth saying
RATE_FACTOR = 0.5
# A learning rate was too high if so many steps had no usable gradient, or if the training loss was
# so many times that of guessing.
MANY_SKIPPED, WORSE_THAN_GUESSING = 5, 1.2


def verdict(
    curve: Curve,
    model: ModelConfig,
    training: TrainingConfig,
    reason: str,
    progress: TrainerProgress,
    strain: float,
    guessing: float,
) -> Verdict | None:
    """Judge a run that has ended; None if there is nothing to say.

    reason: the limit that ended it. strain: see choice.strain. guessing: the loss of guessing, in
    nats per symbol.
    """
    if progress.rate_scale < 1:  # the run went back to an earlier checkpoint
        return _too_fast(training, None, progress.rate_scale)
    lost = _worse_than_guessing(curve, guessing)
    if lost is not None or curve.skipped >= MANY_SKIPPED:
        return _too_fast(training, lost, RATE_FACTOR)
    points, best, best_loss = curve.validation, progress.record.best_step, progress.record.best_loss
    if best is None or best_loss is None or len(points) < FEWEST_POINTS:
        return None
    if min(point.loss for point in points) < best_loss:
        return None  # the corpus has changed since, and the losses are not comparable
    last = points[-1]
    if last.loss - best_loss >= RISEN and best <= BEFORE_THE_END * last.step:
        if _training_loss(curve, last.step) > _training_loss(curve, best) + RISEN:
            return _too_fast(training, best, RATE_FACTOR)
        return Verdict("overfitting", best, None, _against_overfitting(model, training))
    gain = expected_gain(curve)
    done = reason not in LIMITS or strain > WORN_OUT
    if best == last.step and not done and gain is not None and gain >= WORTH_MORE:
        limit = asdict(training)[reason]
        return Verdict("falling", None, gain, {reason: 2 * limit})
    return None


def expected_gain(curve: Curve) -> float | None:
    """Estimate how many nats a run of twice the length would gain; None if its curve is too short.

    From what the doubling from a quarter of the run to its half brought. If the run had ended
    before and was continued, the learning rate had fallen in that doubling, too, and the last one
    is as good a guide; the lesser counts.
    """
    points = curve.validation
    end = points[-1].step
    quarter, half = (_loss_at(points, end / part) for part in (4, 2))
    if quarter is None or half is None:
        return None
    brought = quarter - half
    if curve.ended:
        brought = min(brought, half - points[-1].loss)
    return LATER_GAIN * max(brought, 0.0)


def _loss_at(points: Sequence[Point], step: float) -> float | None:
    """Return the loss at a step, on a line between its neighbours over the logarithm of steps."""
    for before, after in itertools.pairwise(points):
        if 0 < before.step <= step <= after.step:
            share = math.log(step / before.step) / math.log(after.step / before.step)
            return before.loss + share * (after.loss - before.loss)
    return None


def _training_loss(curve: Curve, step: int) -> float:
    """Return the mean training loss before a step, see MOMENT; NaN if it is not known."""
    since = step - MOMENT * curve.validation[-1].step
    losses = [point.loss for point in curve.train if since < point.step <= step]
    return statistics.fmean(losses) if losses else math.nan


def _worse_than_guessing(curve: Curve, guessing: float) -> int | None:
    """Return the step at which the training loss had risen above that of guessing, if it had.

    Since the run last started: it may have been resumed with a smaller learning rate. A run begins
    at about the loss of guessing, or above it if it started from another model.
    """
    start = curve.stretches[-1].step if curve.stretches else 0
    own = [point for point in curve.train if point.step > start]
    limit = WORSE_THAN_GUESSING * max([guessing, *(point.loss for point in own[:1])])
    return next((point.step for point in own if point.loss > limit), None)


def _too_fast(training: TrainingConfig, since: int | None, factor: float) -> Verdict:
    """Advise a fraction of the learning rate, or the default if that is smaller still."""
    default = replace(training, learning_rate=None).peak_rate
    smaller = float(f"{min(training.peak_rate * factor, default):.1g}")
    return Verdict("rate", since, None, {"learning_rate": smaller})


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
