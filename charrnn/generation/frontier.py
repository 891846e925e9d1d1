"""The unfinished texts of a search, which beam.py and stochastic_beam.py extend step by step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.draws import greatest
from charrnn.generation.filters import SeenNgrams, log_softmax
from charrnn.generation.lane_model import LaneModel, S
from charrnn.generation.request import SamplingConfig
from charrnn.generation.sampling import Deadline
from charrnn.text.vocabulary import Ids, smallest_dtype

LANE = np.uint16  # BeamConfig allows no more beams than this counts
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
StopReason = Literal["length", "stop", "time", "banned"]


@dataclass(frozen=True)
class Constraints:
    """What a text may hold, and what ends it.

    stops: sequences of ids that end a text. ends: the same, except that a text must not consist of
    one alone. Both may begin in the prompt, and neither comes before min_length symbols.
    history: the ids of the prompt that stops and n-grams may begin in; None for all.
    never: ids that have no probability, such as the unknown symbol. banned: ids that are not
    chosen, although the model gives them probability.
    """

    history: Sequence[int] | Ids | None = None
    stops: Sequence[Sequence[int]] = ()
    ends: Sequence[Sequence[int]] = ()
    never: Sequence[int] = ()
    banned: Sequence[int] = ()


class Step(NamedTuple):
    """What may come next in each lane.

    log_p: the log-probability of each id, (B, V), -inf if it must not come. stopping: whether it
    would complete a stop, (B, V).
    """

    log_p: Floats
    stopping: Bools


@dataclass(frozen=True)
class End:
    """Where a text ended: in a lane of the frontier after some steps, or with an id `last` more."""

    score: float
    log_p: float
    stop_reason: StopReason
    steps: int
    lane: int
    last: tuple[int, ...] = ()


class Frontier(Generic[S]):
    """Unfinished texts of equal length, each in a lane of the model.

    length: the number of symbols after the prompt. log_p: the log-probability of each text, (B,).
    stop_reason: why texts end that are unfinished after the last step.
    """

    def __init__(
        self,
        stepper: LaneModel[S],
        prompt: Sequence[int] | Ids,
        config: SamplingConfig,
        constraints: Constraints,
        *,
        clock: Callable[[], float],
        on_progress: Callable[[int, int], None],
    ) -> None:
        """Begin with the prompt in one lane. The arguments are those of beam.search."""
        self.length = 0
        self.log_p = np.zeros(1)
        self.stop_reason: StopReason = "length"
        self._config, self._on_progress = config, on_progress
        self._deadline = Deadline(config.max_seconds, clock)
        self._stepper, self._states = stepper, stepper.start(1)
        self._prompt = np.asarray(prompt, np.intp)
        self._never, self._banned = list(constraints.never), list(constraints.banned)
        # Each stop with the number of symbols before which it must not begin.
        self._stops = [
            (np.asarray(stop, np.intp), max(config.min_length, least))
            for stops, least in ((constraints.stops, 0), (constraints.ends, 1))
            for stop in stops
        ]
        # The last ids of each text, (B, longest stop - 1): a stop may have begun with them.
        begun = max((len(stop) for stop, _ in self._stops), default=1) - 1
        before = self._prompt
        if constraints.history is not None:
            before = np.asarray(constraints.history, np.intp)
        padded = np.concatenate([np.full(begun, -1), before])  # no id is -1
        self._recent = padded[None, len(padded) - begun :]
        n = config.no_repeat_ngram_size
        self._seen = [SeenNgrams(n, before.tolist())] if n else []
        # For each step and each lane after it: the lane before the step, and the id it read.
        self._links: list[tuple[Ids, Ids]] = []
        self._id = smallest_dtype(stepper.vocabulary_size)

    @property
    def may_stop(self) -> bool:
        """Whether there are stops."""
        return bool(self._stops)

    @property
    def in_last_step(self) -> bool:
        """Whether the texts reach their maximum length with this step."""
        return self.length + 1 == self._config.length

    def steps(self) -> Iterator[Step]:
        """Yield what may come next, until the length or the time is used up or no lane is left.

        Call `extend` after each step.
        """
        while len(self.log_p) and self.length < self._config.length:
            if self._deadline.over():
                self.stop_reason = "time"
                return
            log_p = self._log_p()
            stopping = self._stopping(log_p)
            log_p[:, self._banned] = -np.inf
            for lane, seen in enumerate(self._seen):
                log_p[lane, seen.banned()] = -np.inf
            yield Step(log_p, stopping)
            self._on_progress(self.length, self._config.length)

    def extend(self, lanes: Ids, ids: Ids, step: Step) -> None:
        """Replace the lanes by these, (B,), each extended by one of these ids, (B,)."""
        self.length += 1
        self.log_p = self.log_p[lanes] + step.log_p[lanes, ids]
        self._links.append((lanes.astype(LANE), ids.astype(self._id)))
        if self._stops:
            self._recent = np.column_stack([self._recent[lanes], ids])[:, 1:]
        if self._seen:
            self._seen = [self._seen[lane].copy() for lane in lanes.tolist()]
            for seen, id_ in zip(self._seen, ids.tolist(), strict=True):
                seen.add(id_)

    def stopped(self, lanes: Ids, ids: Ids, scores: Floats, step: Step) -> list[End]:
        """End the texts in these lanes, (N,), with these ids, (N,), which complete a stop."""
        log_p = self.log_p[lanes] + step.log_p[lanes, ids]
        rows = zip(scores.tolist(), log_p.tolist(), lanes.tolist(), ids.tolist(), strict=True)
        return [End(score, p, "stop", self.length, lane, (id_,)) for score, p, lane, id_ in rows]

    def unfinished(self, lanes: Ids, scores: Floats, stop_reason: StopReason) -> list[End]:
        """End the texts in these lanes, (N,), as they are."""
        rows = zip(scores.tolist(), self.log_p[lanes].tolist(), lanes.tolist(), strict=True)
        return [End(score, p, stop_reason, self.length, lane) for score, p, lane in rows]

    def ids(self, end: End) -> tuple[int, ...]:
        """Return the ids of a text after the prompt."""
        backwards = list(end.last)
        lane = end.lane
        for lanes, ids in reversed(self._links[: end.steps]):
            backwards.append(int(ids[lane]))
            lane = int(lanes[lane])
        return tuple(reversed(backwards))

    def _log_p(self) -> Floats:
        """Let the model read the last ids, and return the log-probability of each id, (B, V)."""
        if self._links:
            lanes, ids = self._links[-1]
            self._states = self._states.take(lanes)
            logits = self._stepper.step(ids, self._states)
        else:
            logits = self._stepper.read(self._prompt[:, None], self._states)
        possible = logits.astype(np.float64)
        if self._never:
            possible[:, self._never] = -np.inf
        return log_softmax(possible, greatest(possible))

    def _stopping(self, log_p: Floats) -> Bools:
        """Return which ids would complete a stop, (B, V), and ban those that are too early."""
        stopping = np.zeros(log_p.shape, np.bool_)
        for stop, least in self._stops:
            begun = self._recent[:, self._recent.shape[1] + 1 - len(stop) :] == stop[:-1]
            lanes = begun.all(axis=1)
            stopping[lanes, stop[-1]] = True
            if max(self.length + 1 - len(stop), 0) < least:
                log_p[lanes, stop[-1]] = -np.inf
        return stopping


def largest(values: Floats, k: int) -> Ids:
    """Return the flat indices of the k largest values of an array, the largest first.

    Ties are in the order of the array. -inf does not count, so there may be fewer than k.
    """
    flat = values.ravel()
    least = np.partition(flat, -k)[-k] if k < len(flat) else -np.inf
    places = np.flatnonzero(flat >= least if least > -np.inf else flat > -np.inf)
    return places[np.argsort(-flat[places], kind="stable")[:k]]
