"""From symbols drawn one after another to texts that grow side by side."""

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from charrnn.generation.draws import COLDEST, greatest, sample_next, sample_one
from charrnn.generation.encoding import EncodedRequest
from charrnn.generation.filters import SeenNgrams, ban_by_lane, filtered, log_softmax
from charrnn.generation.head_first import HeadFirst, head_first
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.layers import Floats
from charrnn.text.vocabulary import Ids

SCORED_AT_ONCE = 16_384  # logits to keep before computing their log-probabilities together
READ_AT_ONCE = 10_000  # symbols of a prompt to read between two looks at the clock
DRAWN_AT_ONCE = 256  # random numbers to draw for a lane at once


class Lane(Protocol):
    """A text that grows by the symbols drawn for it."""

    @property
    def stop_reason(self) -> str | None:
        """Why the text ended; None while it grows."""

    def feed(self, id_: int) -> None:
        """Append a symbol."""

    def barred(self) -> Sequence[int]:
        """Return the ids that must not come next."""

    def close(self, reason: str) -> None:
        """End the text without another symbol."""


class Deadline:
    """A time limit that starts when it is first asked about."""

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        """Set the limit in seconds; None for no limit."""
        self._seconds, self._clock, self._end = seconds, clock, math.inf

    def over(self) -> bool:
        """Return whether the time is up."""
        if self._seconds is None:
            return False
        if self._end == math.inf:
            self._end = self._clock() + self._seconds
        return self._clock() >= self._end

    def passed(self) -> bool:
        """Return whether the time is up, without starting it."""
        return self._end < math.inf and self.over()


class Sampler:
    """Draws one symbol after another for B lanes, each from its own random generator.

    A lane's random numbers do not depend on the number of lanes. The last bits of its logits do,
    because a product with many columns is summed in another order than one with few.
    """

    def __init__(
        self,
        stepper: LaneModel[Any],
        encoded: EncodedRequest,
        seeds: Sequence[int],
        *,
        temperatures: Sequence[float] = (),
        deadline: Deadline,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """Prepare to continue a prompt in as many lanes as there are seeds.

        temperatures: one for each lane; empty to use the temperature of the request in all.
        """
        config = encoded.sampling
        self._head_first = head_first(stepper, encoded)
        self._stepper = self._head_first.stepper if self._head_first else stepper
        self._prompt, self._config = encoded.ids, config
        self._temperatures = np.array(temperatures)[:, None] if len(temperatures) else None
        self._unknown = np.array(encoded.unknown_ids, dtype=int)
        self._banned = np.array(encoded.banned_ids, dtype=int)
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._deadline, self._on_progress = deadline, on_progress
        self._columns = list(range(len(seeds)))  # the lanes that still have a state
        self._drawn = 0
        self._ids = np.zeros(len(seeds), dtype=int)  # the last ones drawn
        self._numbers = np.zeros((len(seeds), 0))
        self._scores = [array("d") for _ in seeds]
        self._unscored: list[Floats] = []  # the logits of the last draws
        self._unscored_ids: list[list[int]] = []
        self._unscored_log_q: list[list[float]] = []  # to add, see HeadFirst
        size = config.no_repeat_ngram_size
        seen = SeenNgrams(size, encoded.prompt_ids.tolist()) if size else None
        self._seen = [seen.copy() for _ in seeds] if seen else []
        self._filters: dict[str, Any] = config.filters()
        self._barring = config.min_length > 0 or size > 0
        self._single = len(seeds) == 1 and not len(temperatures)

    def advance(self, lanes: Sequence[Lane]) -> None:
        """Draw a symbol for each lane that has not ended, or end all lanes if the time is up.

        Raises GenerationError if the logits are not finite.
        """
        if self._deadline.over() if self._drawn else not self._read_prompt():
            for lane in lanes:
                if lane.stop_reason is None:
                    lane.close("time")
            return
        if self._drawn:
            self._step(lanes)
        ids = self._draw(lanes)
        self._drawn += 1
        for column, id_ in zip(self._columns, ids, strict=True):
            lane = lanes[column]
            if lane.stop_reason is None:
                lane.feed(id_)
                if self._seen:
                    self._seen[column].add(id_)

    def log_probabilities(self, lane: int) -> "array[float]":
        """Return the natural log-probability of each symbol drawn for a lane so far.

        They are the model's own: at temperature 1, without filters. A lane that has ended may have
        more of them than its text has symbols.
        """
        self._score()
        return self._scores[lane]

    def _read_prompt(self) -> bool:
        """Read the prompt. Returns whether there was enough time."""
        states = self._stepper.start(1)
        for begin in range(0, len(self._prompt), READ_AT_ONCE):
            if self._deadline.over():
                return False
            part = self._prompt[begin : begin + READ_AT_ONCE]
            logits = self._stepper.read(part[:, None], states)
            self._on_progress(begin + len(part), len(self._prompt))
        lanes = np.zeros(len(self._columns), dtype=int)
        self._logits = logits[lanes]
        self._states = states.take(lanes)
        return True

    def _step(self, lanes: Sequence[Lane]) -> None:
        if len(self._columns) > 1:
            going = [lanes[column].stop_reason is None for column in self._columns]
            if 2 * sum(going) <= len(going):  # worth copying them into a smaller state
                self._keep(np.flatnonzero(going))
        self._logits = self._stepper.step(self._ids, self._states)

    def _keep(self, kept: Ids) -> None:
        self._score()
        self._columns = [self._columns[k] for k in kept]
        self._states = self._states.take(kept)
        self._ids, self._numbers = self._ids[kept], self._numbers[kept]

    def _draw(self, lanes: Sequence[Lane]) -> list[int]:
        logits = self._logits
        if self._unknown.size:
            logits[:, self._unknown] = -np.inf
        self._unscored.append(logits.copy())
        if self._banned.size:
            logits[:, self._banned] = -np.inf
        if self._barring:
            logits = self._barred(logits, lanes)
        place = self._drawn % DRAWN_AT_ONCE
        if place == 0:
            self._draw_numbers()
        uniforms = self._numbers[:, place]
        if self._head_first:
            rows = self._draw_head_first(self._head_first, logits, uniforms)
        else:
            rows = self._draw_from_all(logits, uniforms)
        self._unscored_ids.append(rows)
        if len(self._unscored) * logits.size >= SCORED_AT_ONCE:
            self._score()
        ids: list[int] = self._ids.tolist()
        return ids

    def _draw_from_all(self, logits: Floats, uniforms: Floats) -> list[int]:
        """Draw ids from the logits of all symbols, and return them."""
        if self._single:
            temperature = self._config.temperature_at(self._drawn)
            if self._filters and temperature:
                greatest(logits)
                cold = max(temperature, COLDEST)
                logits, temperature = filtered(logits, temperature=cold, **self._filters), 1.0
            self._ids[0] = sample_one(logits[0], temperature, uniforms.item(0))
        else:
            temperatures = self._lane_temperatures()
            self._ids = sample_next(logits, temperatures, uniforms, **self._filters)
        ids: list[int] = self._ids.tolist()
        return ids

    def _draw_head_first(self, draws: HeadFirst, head: Floats, uniforms: Floats) -> list[int]:
        """Draw ids from the logits of the head, and return its rows."""
        outputs = self._states.output.T
        if self._single:
            temperature = self._config.temperature_at(self._drawn)
            only = draws.draw(head[0], outputs[0], temperature, uniforms.item(0))
            self._ids[0] = only.id
            self._unscored_log_q.append([only.log_q])
            return [only.row]
        if self._temperatures is None:
            temperatures = [self._config.temperature_at(self._drawn)] * len(head)
        else:
            temperatures = self._lane_temperatures()[:, 0].tolist()
        drawn = map(draws.draw, head, outputs, temperatures, uniforms.tolist())
        ids, rows, log_q = map(list, zip(*drawn, strict=True))
        self._ids = np.array(ids)
        self._unscored_log_q.append(log_q)
        return rows

    def _barred(self, logits: Floats, lanes: Sequence[Lane]) -> Floats:
        """Ban what must not come next in each lane; a lane that nothing may follow ends."""
        barred = [list(lanes[column].barred()) for column in self._columns]
        if self._seen:
            for ids, column in zip(barred, self._columns, strict=True):
                ids += self._seen[column].banned()
        allowed = ban_by_lane(logits, barred)
        for row in np.flatnonzero(np.isneginf(allowed).all(axis=1)):
            if lanes[self._columns[row]].stop_reason is None:
                lanes[self._columns[row]].close("banned")
            allowed[row] = logits[row]
        return allowed

    def _lane_temperatures(self) -> Floats:
        """Return the temperatures for the next symbols, (B, 1) or (1, 1)."""
        if self._temperatures is None:
            return np.array([[self._config.temperature_at(self._drawn)]])
        own: Floats = self._temperatures[self._columns]
        return own

    def _draw_numbers(self) -> None:
        """Draw random numbers for each lane, (B, DRAWN_AT_ONCE)."""
        generators = [self._generators[column] for column in self._columns]
        self._numbers = np.array([g.random(DRAWN_AT_ONCE) for g in generators])

    def _score(self) -> None:
        """Compute the log-probabilities of what was drawn since the last call."""
        if not self._unscored:
            return
        ids = np.array(self._unscored_ids)[..., None]
        log_p = np.take_along_axis(log_softmax(np.stack(self._unscored)), ids, axis=-1)[..., 0]
        if self._head_first:
            log_p = log_p + np.array(self._unscored_log_q)
        for row, column in enumerate(self._columns):
            self._scores[column].frombytes(log_p[:, row].astype(np.float64).tobytes())
        self._unscored, self._unscored_ids, self._unscored_log_q = [], [], []


def derived_seed(seed: int, sample: int) -> int:
    """Return the seed of a sample, counted from 0; sample 0 has the given seed itself.

    The others are drawn from (seed, sample), so they do not depend on the number of samples.
    """
    if sample == 0:
        return seed
    # 48 bits: every program that reads JSON can hold such a number.
    return int(np.random.SeedSequence((seed, sample)).generate_state(1, np.uint64)[0]) >> 16


def new_seed() -> int:
    """Return a fresh random seed."""
    return int(np.random.SeedSequence().generate_state(1)[0])
