"""How much of a run is done, and which limit ends it. Holds no torch."""

from charrnn.training.config import TrainingConfig
from charrnn.training.progress import TrainerProgress


def fraction_done(
    config: TrainingConfig, progress: TrainerProgress, epochs_done: float, reserve: float = 0
) -> float:
    """Return how much of a run is done, 0 to 1, by the limit that will be reached first.

    reserve: seconds to keep for the end of the run, if it is limited in minutes; fewer than these.
    """
    fractions = [0.0]
    if config.step_limit is not None:
        fractions.append(progress.step / config.step_limit)
    if config.epochs is not None:
        fractions.append(epochs_done / config.epochs)
    if config.minutes is not None:
        fractions.append(progress.seconds / (60 * config.minutes - reserve))
    return min(1.0, max(fractions))


def seconds_left(seconds: float, done: float) -> float | None:
    """Estimate how long a run will take from here; None before there is anything to go by.

    seconds: that it took so far. done: see fraction_done.
    """
    return seconds * (1 / done - 1) if done else None


def limit_reached(
    config: TrainingConfig, progress: TrainerProgress, epochs_done: float, reserve: float = 0
) -> str | None:
    """Return the limit that a run has reached, None if it has reached none; see fraction_done."""
    if config.step_limit is not None and progress.step >= config.step_limit:
        return "steps"
    if config.epochs is not None and epochs_done >= config.epochs:
        return "epochs"
    if config.minutes is not None and progress.seconds + reserve >= 60 * config.minutes:
        return "minutes"
    if 0 < config.patience <= progress.record.stale:
        return "patience"
    return None
