"""Whether steps have become several times slower than they were, and stay so."""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from charrnn.training.context import ExecutionContext

# Steps are judged in groups of at least so many that take at least so many seconds in all. The
# median of a group ignores single slow steps; two slow groups in a row are no short blip.
STEPS, SECONDS, GROUPS = 10, 10.0, 2
SLOW = 3.0  # times the seconds per symbol of the fastest group
MOST_NOTICES = 2  # in a run; between them, steps must have been fast again


@dataclass
class _Kind:
    """The steps on chunks of about one shape. best: seconds per symbol of the fastest group."""

    group: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best: float = math.inf
    slow_groups: int = 0


class Pace:
    """Tells from the seconds that steps take when they have become several times slower.

    Short chunks of many lanes are faster per symbol than long ones of few. So chunks are compared
    with those whose shape is within a factor of two of theirs.
    """

    def __init__(self) -> None:
        self._kinds: defaultdict[tuple[int, int], _Kind] = defaultdict(_Kind)
        self._notices = 0
        self._told = False  # since steps were last fast

    def slower(self, shape: tuple[int, ...], symbols: int, seconds: float) -> float | None:
        """Count a step on a chunk; returns how many times slower steps are, if that is news.

        shape: (T, B). symbols: of the chunk.
        """
        kind = self._kinds[shape[0].bit_length(), shape[1].bit_length()]
        kind.group.append(seconds / max(symbols, 1))
        kind.seconds += seconds
        if len(kind.group) < STEPS or kind.seconds < SECONDS:
            return None
        return self._news(kind, statistics.median(kind.group))

    def _news(self, kind: _Kind, median: float) -> float | None:
        kind.group, kind.seconds = [], 0.0
        kind.best = min(kind.best, median)
        if median < SLOW * kind.best:
            kind.slow_groups = 0
            self._told = False
            return None
        kind.slow_groups += 1
        if kind.slow_groups < GROUPS or self._told or self._notices == MOST_NOTICES:
            return None
        self._told = True
        self._notices += 1
        return median / kind.best


def slow_steps(factor: float, context: ExecutionContext) -> str:
    """Say that steps take so many times as long as before, and what helps."""
    on_cpu = context.device.type == "cpu"
    busy = f"another program may be using the {'processor' if on_cpu else 'GPU'}"
    message = f"steps take {factor:.0f} times as long as before: {busy}"
    if not on_cpu or context.threads == 1:
        return message
    return (
        f"{message}. One thread would suffer less: stop with Ctrl-C and resume the run with "
        "`threads=1`; the result is then not bit-identical"
    )
