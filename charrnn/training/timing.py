"""The time that a run takes, and what of it to keep for its end."""

from collections.abc import Callable

from charrnn.training.config import FULL_EVALUATION

# Of the minutes that a run is limited to: the most for the evaluation of its best checkpoint, and
# for all that is done at its end.
LAST_EVALUATION, MAX_RESERVE = 0.1, 0.3


class Timing:
    """Measures tasks, and estimates how long those at the end of a run will take.

    clock: seconds since an arbitrary moment. evaluation_rate: symbols evaluated in a second, 0 if
    none were so far.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = clock()
        self._took: dict[str, float] = {}
        self.evaluation_rate = 0.0

    def restart(self) -> None:
        """Measure from now on."""
        self._until = self._clock()

    def lap(self, task: str | None = None) -> float:
        """Return the seconds since the last call.

        task: what took them, if it will be done at the end of the run, too.
        """
        now = self._clock()
        took, self._until = now - self._until, now
        if task is not None:
            self._took[task] = took
        return took

    def evaluated(self, symbols: int) -> float:
        """Do the same for an evaluation of so many symbols."""
        took = self.lap("evaluation")
        self.evaluation_rate = symbols / max(took, 1e-9)
        return took

    def last_evaluation(self, minutes: float | None) -> int:
        """Return on how many symbols to evaluate the best checkpoint of a run."""
        if minutes is None or not self.evaluation_rate:
            return FULL_EVALUATION
        return min(FULL_EVALUATION, int(LAST_EVALUATION * 60 * minutes * self.evaluation_rate))

    def reserve(self, minutes: float | None, *, evaluates_best: bool) -> float:
        """Return the seconds to keep for the end of a run, 0 if it is not limited in minutes."""
        if minutes is None:
            return 0.0
        needed = sum(self._took.values())
        if evaluates_best and self.evaluation_rate:
            needed += self.last_evaluation(minutes) / self.evaluation_rate
        return min(needed, MAX_RESERVE * 60 * minutes)
