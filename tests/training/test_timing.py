"""What of a run's minutes is kept for its end."""

from collections.abc import Callable

import pytest

from charrnn.training.config import FULL_EVALUATION, TrainingConfig
from charrnn.training.limits import fraction_done, limit_reached
from charrnn.training.progress import TrainerProgress
from charrnn.training.timing import Timing


def clock_of(*times: float) -> Callable[[], float]:
    left = iter(times)
    return lambda: next(left)


def test_the_tasks_of_the_end_are_kept_time_for() -> None:
    """As long as they took the last time; steps are no such task."""
    timing = Timing(clock_of(0, 5, 8, 9, 12))
    assert timing.lap() == 5
    assert timing.lap("save") == 3
    assert timing.lap("sample") == 1
    assert timing.lap("save") == 3
    assert timing.reserve(2, evaluates_best=False) == 4
    assert timing.reserve(None, evaluates_best=False) == 0


def test_the_last_evaluation_is_as_long_as_there_is_time_for() -> None:
    """A tenth of the minutes at most, and a million symbols at most."""
    timing = Timing(clock_of(0, 2))
    assert timing.last_evaluation(1) == FULL_EVALUATION  # nothing is known yet
    timing.evaluated(20_000)
    assert timing.last_evaluation(1) == 6 * 10_000
    assert timing.last_evaluation(100) == timing.last_evaluation(None) == FULL_EVALUATION
    assert timing.reserve(1, evaluates_best=True) == pytest.approx(2 + 6)


def test_most_of_the_minutes_is_for_training() -> None:
    timing = Timing(clock_of(0, 50))
    timing.lap("save")
    assert timing.reserve(1, evaluates_best=False) == pytest.approx(0.3 * 60)


def test_minutes_end_where_the_reserve_begins() -> None:
    config, progress = TrainingConfig(minutes=1), TrainerProgress(step=3, seconds=25)
    assert fraction_done(config, progress, 0, reserve=10) == 0.5
    assert limit_reached(config, progress, 0, reserve=10) is None
    progress.seconds = 50
    assert limit_reached(config, progress, 0, reserve=10) == "minutes"
    assert limit_reached(config, progress, 0) is None
