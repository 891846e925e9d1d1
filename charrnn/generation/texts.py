"""Sampled text as iterators of pieces."""

import itertools
import math
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError
from charrnn.generation.characters import matching, stop_ids
from charrnn.generation.config import MAX_LANES, SamplingConfig
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.sampling import Deadline, Sampler, derived_seed, new_seed
from charrnn.text.vocabulary import Ids, Unknown, Vocabulary

# Read before the first character where there is no prompt: a text begins as a line does.
STARTS = ("\n", " ")


@dataclass(frozen=True)
class Start:
    """What a model reads first, and how its texts end: what sampling and beam search share.

    prompt: as it was given, with line ends and case as in the corpus. ids: what the model reads,
    (T,), at least one. lead: how many of them are before the prompt. endings: each text that ends
    another, with its ids and the stop reason. never: the unknown symbol's id, or none. banned: ids
    that are ruled out, that one included.
    """

    vocabulary: Vocabulary
    prompt: str
    ids: Ids
    lead: int
    endings: tuple[tuple[str, list[int], str], ...]
    never: tuple[int, ...]
    banned: NDArray[np.intp]

    @property
    def prompt_ids(self) -> Ids:
        """The ids of the prompt, in which endings and n-grams may begin."""
        return self.ids[self.lead :]

    @cached_property
    def read(self) -> str:
        """The prompt without the characters that the model does not know, or with others."""
        return self.vocabulary.decode(self.prompt_ids.tolist())


def begin(
    vocabulary: Vocabulary,
    config: SamplingConfig,
    prompt: str = "",
    unknown: Unknown = "error",
    *,
    end: str = "",
) -> Start:
    """Read a prompt and the settings that a vocabulary gives a meaning.

    end: what ends a document of the model, "" where nothing does. A document is then begun as in
    training, where what ended the one before is read first.
    Raises UnknownCharacterError for a prompt that the model cannot read, see Vocabulary.encode, and
    SettingsError for stop texts that cannot come and settings that leave nothing to write.
    """
    ids = vocabulary.encode(prompt, unknown)
    lead = start_ids(vocabulary, end) if end or not len(ids) else []
    ends = [(end, vocabulary.encode(end).tolist(), "end")] if end and config.stop_at_end else []
    never = () if vocabulary.unknown is None else (vocabulary.unknown,)
    banned = set(matching(vocabulary, "ban", config.ban).tolist()) if config.ban else set()
    if config.only:
        kept = matching(vocabulary, "only", config.only).tolist()
        kept += itertools.chain(*(ids for _, ids, _ in ends))  # or no document would ever end
        banned |= set(range(len(vocabulary))) - set(kept)
    if len(banned | set(never)) == len(vocabulary):
        raise SettingsError("`ban` and `only` leave no character to write; rule out fewer")
    all_banned = np.array(sorted(banned | set(never)), dtype=np.intp)
    stops = [(text, stop_ids(vocabulary, text, all_banned), "stop") for text in config.stop]
    # Of two that end in the same place, the longer began earlier.
    endings = sorted([*stops, *ends], key=lambda ending: -len(ending[0]))
    read = np.concatenate([np.array(lead, dtype=ids.dtype), ids])
    return Start(vocabulary, prompt, read, len(lead), tuple(endings), never, all_banned)


def generations(
    stepper: LaneModel[Any],
    start: Start,
    config: SamplingConfig,
    number: int = 1,
    *,
    temperatures: Sequence[float] = (),
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> "Iterator[Generation]":
    """Write a number of texts, each drawn with a seed of its own.

    They grow in step, MAX_LANES at a time, whichever is iterated over. config.seed None draws a new
    seed. temperatures: one for each text, all of which are then drawn with the same seed; they give
    the number. The seconds of config are for all texts together.
    on_progress: called with the symbols of the prompt that were read, and with all of them.
    """
    first = new_seed() if config.seed is None else config.seed
    number = len(temperatures) or number
    time_left = Deadline(config.max_seconds, clock)
    seeds = (first if len(temperatures) else derived_seed(first, k) for k in range(number))
    while batch := list(itertools.islice(seeds, MAX_LANES)):
        hot, temperatures = temperatures[: len(batch)], temperatures[len(batch) :]
        sampler = Sampler(
            stepper,
            start.ids,
            config,
            batch,
            history=start.prompt_ids,
            temperatures=hot,
            never=start.never,
            banned=start.banned.tolist(),
            deadline=time_left,
            on_progress=on_progress,
        )
        lanes: list[Generation] = []
        for lane, seed in enumerate(batch):
            fixed = None if config.temperature_schedule else config.temperature
            temperature = hot[lane] if hot else fixed
            lanes.append(Generation(sampler, lanes, start, config, seed, temperature))
        yield from lanes


class Generation(Iterator[str]):
    """Text as a model writes it, piece by piece: a character at a time, or what bytes complete.

    prompt: as it was given. seed, temperature: what it is drawn with; None for a schedule.
    characters: how many were written so far. stop_reason: "length", "end" where the document is
    over, "stop" before a stop text, "time", or "banned" where nothing was left; None before.
    """

    def __init__(
        self,
        sampler: Sampler,
        lanes: "list[Generation]",
        start: Start,
        config: SamplingConfig,
        seed: int,
        temperature: float | None,
    ) -> None:
        """Become the next of the lanes of a sampler; use `generations` to make one."""
        self.prompt = start.prompt
        self.config = config
        self.seed = seed
        self.temperature = temperature
        self.characters = 0
        self.stop_reason: str | None = None if config.length else "length"
        self._length = config.length
        self._sampler, self._lanes, self._lane = sampler, lanes, len(lanes)
        self._endings = start.endings
        # Of what comes before, an ending may begin in so many characters, and so many ids.
        self._reach = max((len(text) - 1 for text, _, _ in start.endings), default=0)
        reach = max((len(ids) - 1 for _, ids, _ in start.endings), default=0)
        self._ids = start.prompt_ids[max(len(start.prompt_ids) - reach, 0) :].tolist()
        self._complete = array("Q")  # the symbols drawn when each character was complete
        self._symbols = 0
        self._ready = ""  # to be handed out
        self._held = ""  # the beginning of an ending, perhaps
        self._before = ""  # what comes before that, as far as an ending may begin in it
        self._remember(start.read)
        self._decode = start.vocabulary.decoder()

    def __next__(self) -> str:
        """Return the next piece, never empty."""
        while not self._ready:
            if self.stop_reason is not None:
                raise StopIteration
            self._sampler.advance(self._lanes)
        piece, self._ready = self._ready, ""
        return piece

    @property
    def log_probability(self) -> float:
        """Natural log of all that was drawn, an ending included, at temperature 1."""
        return math.fsum(self._log_probabilities())

    @property
    def bits_per_char(self) -> float | None:
        """The bits that a drawn character has cost, an ending's too; None before the first."""
        return bits_per_char(self.log_probability, len(self._complete))

    def surprises(self, start: int = 0) -> list[float]:
        """Return the bits that each character from `start` on has cost, as far as it is written."""
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
        """See sampling.Lane: what would complete an ending before config.min_length."""
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
        """Return those of the symbols that were drawn for this text."""
        known = self._sampler.log_probabilities(self._lane)
        return known[: self._symbols] if len(known) > self._symbols else known

    def _release(self, number: int) -> None:
        """Let so many of the characters that were held be handed out."""
        piece = self._held[: max(number, 0)]
        self._held = self._held[len(piece) :]
        self._ready += piece
        self.characters += len(piece)
        self._remember(self._before + piece)

    def _remember(self, text: str) -> None:
        """Keep of what was read and written what may be the beginning of an ending."""
        self._before = text[max(len(text) - self._reach, 0) :]

    def _ended(self) -> bool:
        """Release what is before an ending, or what cannot be the beginning of one."""
        text = self._before + self._held
        for ending, _, reason in self._endings:
            if text.endswith(ending):
                written = reason == "stop" and self.config.include_stop
                self._release(len(self._held) - (0 if written else len(ending)))
                self._held = ""
                self.close(reason)
                return True
        self._release(len(self._held) - self._may_be_ending(text))
        return False

    def _may_be_ending(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of an ending."""
        return max(
            n
            for ending, _, _ in self._endings
            for n in range(min(len(text), len(ending) - 1) + 1)
            if n == 0 or ending.startswith(text[-n:])
        )


def bits_per_char(log_probability: float, characters: int) -> float | None:
    """Return the bits that a character of a text has cost; None for an empty text."""
    return -log_probability / (characters * math.log(2)) if characters else None


def start_ids(vocabulary: Vocabulary, end: str = "") -> list[int]:
    """Return what a model reads before the first character of a text.

    That is what the end of another document ends with, else the first of STARTS it knows, or id 0.
    """
    if vocabulary.unit == "byte" and end:
        return [end.encode()[-1]]
    candidates = (end[-1:], *STARTS)
    known = (vocabulary.symbols.index(s) for s in candidates if s and s in vocabulary.symbols)
    return [next(known, 0)]
