"""Generated texts as iterators of pieces."""

import itertools
import math
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from charrnn.errors import NoTextError
from charrnn.generation.encoding import EncodedRequest
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.request import MAX_LANES
from charrnn.generation.sampling import Deadline, Sampler, derived_seed, new_seed

# Makes texts that grow side by side, given their seeds, and their temperatures if these differ.
NewTexts = Callable[..., "list[Generation]"]

MAX_EMPTY = 1_000  # empty texts in a row, after which the model is taken to write nothing else


def generations(
    stepper: LaneModel[Any],
    encoded: EncodedRequest,
    *,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> "Iterator[Generation]":
    """Sample the texts of a request.

    They grow side by side, up to MAX_LANES at a time, whichever one is iterated over. Each has its
    own seed, derived from that of the request; texts at several temperatures share one seed.
    A seed whose text is empty is passed over for the next one, see EncodedRequest.empty_is_no_text.
    The seconds of the request are for all texts together. Once they are over, no more texts are
    begun, but there is always at least one, and one for each temperature.
    on_progress: called with the number of prompt symbols read so far, and of all.
    Raises NoTextError if the model writes nothing but empty texts.
    """
    request = encoded.request
    first = new_seed() if request.sampling.seed is None else request.sampling.seed
    deadline = Deadline(request.sampling.max_seconds, clock)

    def new_texts(seeds: Sequence[int], temperatures: Sequence[float] = ()) -> list[Generation]:
        sampler = Sampler(
            stepper,
            encoded,
            seeds,
            temperatures=temperatures,
            deadline=deadline,
            on_progress=on_progress,
        )
        texts: list[Generation] = []
        for lane, seed in enumerate(seeds):
            temperature = temperatures[lane] if temperatures else None
            texts.append(Generation(sampler, texts, encoded, seed, temperature))
        return texts

    if temperatures := request.text_temperatures():
        return _at_temperatures(new_texts, temperatures, first)
    return _with_seeds(new_texts, request.num_samples, first, deadline)


def _with_seeds(
    new_texts: NewTexts, number: int, first: int, deadline: Deadline
) -> "Iterator[Generation]":
    """Yield texts drawn with the seeds that derive from the first, as long as there is time."""
    seeds = (derived_seed(first, sample) for sample in itertools.count())
    wanted, empty = number, 0
    while number == wanted or (number and not deadline.passed()):
        for text in new_texts(list(itertools.islice(seeds, min(number, MAX_LANES)))):
            if text.is_no_text():
                empty = _one_more(empty, text)
                continue
            empty = 0
            number -= 1
            yield text


def _at_temperatures(
    new_texts: NewTexts, temperatures: Sequence[float], first: int
) -> "Iterator[Generation]":
    """Yield a text for each temperature, all drawn with the first seed unless that one is empty."""
    for begin in range(0, len(temperatures), MAX_LANES):
        hot = temperatures[begin : begin + MAX_LANES]
        for temperature, text in zip(hot, new_texts([first] * len(hot), hot), strict=True):
            empty = 0
            while text.is_no_text():
                empty = _one_more(empty, text)
                (text,) = new_texts([derived_seed(first, empty)], [temperature])
            yield text


def _one_more(empty: int, text: "Generation") -> int:
    """Count another empty text. Raises NoTextError if there were too many."""
    if empty + 1 >= MAX_EMPTY or text.temperature == 0:  # greedy texts are all the same
        raise NoTextError(
            "the model ends each text before its first character; pass a `prompt` or `min_length=1`"
        )
    return empty + 1


class Generation(Iterator[str]):
    """Text as a model writes it, piece by piece: a character at a time, or what bytes complete.

    prompt: as it was given. seed, temperature: what the text is drawn with; the temperature is None
    for a schedule. characters: the number written so far. stop_reason: "length", "end" at the end
    of a document, "stop" before a stop text, "time", or "banned" if no character was allowed to
    follow; None until the text ends. ending: what was drawn of a stop text or document end that is
    not part of the text, else "".
    """

    def __init__(
        self,
        sampler: Sampler,
        lanes: "list[Generation]",
        encoded: EncodedRequest,
        seed: int,
        temperature: float | None,
    ) -> None:
        """Make the next of a sampler's lanes; use `generations` to get one.

        temperature: None for that of the request.
        """
        config = encoded.sampling
        self.prompt = encoded.request.prompt
        self.config = config
        self.seed = seed
        if temperature is None and config.temperature_schedule is None:
            temperature = config.temperature
        self.temperature = temperature
        self.characters = 0
        self.stop_reason: str | None = None if config.length else "length"
        self.ending = ""
        self._length = config.length
        self._sampler, self._lanes, self._lane = sampler, lanes, len(lanes)
        self._endings = encoded.endings
        self._empty_is_no_text = encoded.empty_is_no_text
        # An ending may begin in this many of the characters, or ids, before the text.
        self._reach = max((len(ending.text) - 1 for ending in self._endings), default=0)
        reach = max((len(ending.ids) - 1 for ending in self._endings), default=0)
        before = encoded.prompt_ids
        self._ids = before[max(len(before) - reach, 0) :].tolist()
        self._complete = array("Q")  # how many symbols were drawn when each character was complete
        self._symbols = 0
        self._ready = ""  # may be handed out
        self._held = ""  # may turn out to be the beginning of an ending
        self._before = ""  # what precedes it, as far back as an ending may begin
        self._remember(encoded.prompt_read)
        self._decode = encoded.vocabulary.decoder()

    def __next__(self) -> str:
        """Return the next piece, never empty."""
        while not self._ready:
            if self.stop_reason is not None:
                raise StopIteration
            self._sampler.advance(self._lanes)
        piece, self._ready = self._ready, ""
        return piece

    def is_no_text(self) -> bool:
        """Return whether this text is empty and so does not count as one.

        Draws symbols until that is certain.
        """
        if not self._empty_is_no_text:
            return False
        while not self._ready and self.stop_reason is None:
            self._sampler.advance(self._lanes)
        return self.stop_reason == "end" and self.characters == 0

    @property
    def log_probability(self) -> float:
        """Natural log-probability of all symbols drawn, with the ending, at temperature 1."""
        return math.fsum(self._log_probabilities())

    @property
    def bits_per_char(self) -> float | None:
        """Bits per drawn character, those of the ending included; None before the first."""
        return bits_per_char(self.log_probability, len(self._complete))

    def surprises(self, start: int = 0) -> list[float]:
        """Return the bits of surprise of each character written so far, from character `start`."""
        log_p = self._log_probabilities()
        drawn = self._complete[max(start - 1, 0) : self.characters]
        spans = itertools.pairwise([0, *drawn] if start == 0 else drawn)
        return [-sum(log_p[first:last]) / math.log(2) for first, last in spans]

    def feed(self, id_: int) -> None:
        """See sampling.Lane."""
        decoded = self._decode(id_)
        self._symbols += 1
        for _ in decoded:
            self._complete.append(self._symbols)
        if self._endings:
            self._ids.append(id_)
            self._held += decoded
            if self._ended():
                return
        else:
            self._ready += decoded
            self.characters += len(decoded)
        if self.characters + len(self._held) >= self._length:
            self.close("length")

    def barred(self) -> Sequence[int]:
        """See sampling.Lane: the ids that would complete an ending before config.min_length."""
        written = self.characters + len(self._held) + 1
        return [
            ids[-1]
            for text, ids, _ in self._endings
            if max(written - len(text), 0) < self.config.min_length
            and self._ids[len(self._ids) - len(ids) + 1 :] == ids[:-1]
        ]

    def close(self, reason: str) -> None:
        """See sampling.Lane."""
        self._release(len(self._held))
        if (excess := self.characters - self._length) > 0:
            self._ready = self._ready[:-excess]
            self.characters = self._length
        self.stop_reason = reason

    def _log_probabilities(self) -> "array[float]":
        """Return the log-probability of each symbol of this text."""
        known = self._sampler.log_probabilities(self._lane)
        return known[: self._symbols] if len(known) > self._symbols else known

    def _release(self, number: int) -> None:
        """Hand out this many of the characters that were held back."""
        piece = self._held[: max(number, 0)]
        self._held = self._held[len(piece) :]
        self._ready += piece
        self.characters += len(piece)
        self._remember(self._before + piece)

    def _remember(self, text: str) -> None:
        """Keep the end of what was read and written, in which an ending may begin."""
        self._before = text[max(len(text) - self._reach, 0) :]

    def _ended(self) -> bool:
        """Release what comes before an ending; without one, what cannot be the beginning of one."""
        text = self._before + self._held
        for ending, _, reason in self._endings:
            if text.endswith(ending):
                written = reason == "stop" and self.config.include_stop
                self._release(len(self._held) - (0 if written else len(ending)))
                self.ending, self._held = self._held, ""
                self.close(reason)
                return True
        self._release(len(self._held) - self._may_be_ending(text))
        return False

    def _may_be_ending(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of an ending."""
        return max(
            n
            for ending, _, _ in self._endings
            for n in range(min(len(text), len(ending) - 1) + 1)
            if n == 0 or ending.startswith(text[-n:])
        )


def bits_per_char(log_probability: float, characters: int) -> float | None:
    """Return the bits per character of a text; None for an empty text."""
    return -log_probability / (characters * math.log(2)) if characters else None
