"""What a live bar shows between two evaluations of a run, and when it is drawn anew."""

import math

from charrnn.render.numbers import smoothed
from charrnn.render.wording import time_left
from charrnn.training.events import StepEvent


class LiveFigures:
    """The running means of a run's loss and speed, None before the first step."""

    def __init__(self, refresh_seconds: float) -> None:
        """Begin a run. refresh_seconds: the training time between two drawings of the bar."""
        self.loss: float | None = None
        self.speed: float | None = None
        self._refresh_seconds = refresh_seconds
        self._shown_at = -math.inf

    def step(self, event: StepEvent, eval_every: int) -> str | None:
        """Count a step with a finite loss.

        Returns what to show of the time: what is left, or that the model is being evaluated, during
        which the bar does not move; None if the bar need not be drawn.
        """
        self.loss = smoothed(self.loss, event.loss)
        self.speed = smoothed(self.speed, event.symbols_per_second)
        evaluating = eval_every > 0 and event.step % eval_every == 0
        soon = 0 <= event.seconds - self._shown_at < self._refresh_seconds
        if soon and not evaluating and event.progress < 1:
            return None
        self._shown_at = event.seconds
        return "evaluating" if evaluating else time_left(event)
