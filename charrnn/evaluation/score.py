"""How probable a model finds each symbol of a text. Runs in numpy, or on the device of a stepper.

A text is a row of stretches, each read from a fresh state: the whole text, if the state is carried
through it; else a document, or a block of so many symbols. Nearby stretches are read side by side,
each in a lane of its own, so that many short ones take little longer than one long one.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import GenerationError
from charrnn.generation.draws import OVERFLOWED
from charrnn.generation.lane_model import LaneModel
from charrnn.text.store import Symbols
from charrnn.text.vocabulary import Vocabulary

LANES = 64
# Logits of one pass, in numbers: bounds its memory to some tens of megabytes.
PASS_ELEMENTS = 2_000_000
# Symbols of the stretches that are read side by side: bounds what is kept until they are done.
GROUP_SYMBOLS = 1_000_000
LongArray = NDArray[np.int64]


class CharacterScore(NamedTuple):
    """A character of a text and ln p of it, given the characters before it."""

    character: str
    log_probability: float

    @property
    def bits(self) -> float:
        """The surprise of the model: -log2 p."""
        return -self.log_probability / math.log(2)


@dataclass(frozen=True)
class Evaluation:
    """The figures of a text. A first character that is read but not predicted does not count.

    bits_per_byte is per byte of UTF-8. For a byte model, the nats of a character's bytes add up.
    """

    nats_per_char: float
    bits_per_char: float
    bits_per_byte: float
    perplexity: float
    characters: int


def symbol_scores(
    model: LaneModel[Any],
    text: Symbols,
    *,
    context: int | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[NDArray[np.float64]]:
    """Yield ln p of each symbol of text[1:], given those before it, in order, some at a time.

    The state is fresh at the first symbol and at each document, see Symbols.resets.
    context: a number starts a fresh state every so many symbols; None carries it through.
    on_progress: called with the symbols predicted so far and in all.
    Raises GenerationError if the model's numbers overflow.
    """
    total, done = len(text) - 1, 0
    for starts, lengths in _groups(*_stretches(text, total, context)):
        for scores in _read_group(model, text, starts, lengths):
            done += len(scores)
            on_progress(done, total)
            yield scores


def character_scores(
    predicted: Symbols, vocabulary: Vocabulary, scores: Iterator[NDArray[np.float64]]
) -> Iterator[CharacterScore]:
    """Yield characters with the scores of their symbols: several bytes each, for a byte model.

    The unknown symbol shows as U+FFFD, and so does what is not UTF-8.
    """
    ids = (int(id_) for block in predicted.blocks() for id_ in block)
    decode, unknown = vocabulary.decoder(), vocabulary.unknown
    total = 0.0
    for id_, score in zip(ids, itertools.chain.from_iterable(scores), strict=True):
        total += float(score)
        character = "\ufffd" if id_ == unknown else decode(id_)
        if character:
            yield CharacterScore(character, total)
            total = 0.0


def evaluation(log_probability: float, predicted: Symbols, vocabulary: Vocabulary) -> Evaluation:
    """Make the figures from ln p of all predicted symbols."""
    counts = [
        (vocabulary.count_characters(b), vocabulary.count_bytes(b)) for b in predicted.blocks()
    ]
    characters, utf8_bytes = (sum(column) for column in zip(*counts, strict=True))
    per_char = -log_probability / max(characters, 1)
    return Evaluation(
        nats_per_char=per_char,
        bits_per_char=per_char / math.log(2),
        bits_per_byte=-log_probability / math.log(2) / utf8_bytes,
        perplexity=math.exp(min(per_char, 700.0)),
        characters=max(characters, 1),
    )


def _stretches(text: Symbols, total: int, context: int | None) -> tuple[LongArray, LongArray]:
    """Return where each stretch begins, (N,), and how many symbols it has, (N,)."""
    fresh = text.reset_positions()
    starts = np.concatenate([np.zeros(1, np.int64), fresh[fresh < total]])
    if context is not None:
        starts = np.concatenate([starts, np.arange(0, total, context)])
    starts = np.unique(starts)
    return starts, np.diff(starts, append=total)


def _groups(starts: LongArray, lengths: LongArray) -> Iterator[tuple[LongArray, LongArray]]:
    """Yield stretches that follow each other, as many as are read side by side."""
    first = 0
    while first < len(starts):
        last = first + LANES
        within = np.cumsum(lengths[first:last]) <= GROUP_SYMBOLS
        size = max(int(within.sum()), 1)
        yield starts[first : first + size], lengths[first : first + size]
        first += size


def _read_group(
    model: LaneModel[Any], text: Symbols, starts: LongArray, lengths: LongArray
) -> Iterator[NDArray[np.float64]]:
    """Yield the scores of a group of stretches in their order, those of a single one in parts."""
    # The longest come first, so that the lanes that are done are the last ones.
    order = np.argsort(-lengths, kind="stable")
    several = len(starts) > 1
    found = np.empty(int(lengths.sum()) if several else 0)
    state, done = model.start(len(starts)), 0
    while len(order):
        room = PASS_ELEMENTS // (len(order) * model.vocabulary_size)
        steps = int(min(lengths[order[-1]] - done, max(room, 1)))
        ids = text.columns((starts[order] + done).tolist(), steps + 1)
        logits = model.read_all(ids[:-1], state)
        scores = _log_probabilities(logits, ids[1:])
        if several:
            found[starts[order] - starts[0] + done + np.arange(steps)[:, None]] = scores
        else:
            yield scores[:, 0]
        done += steps
        unfinished = np.flatnonzero(lengths[order] > done)
        if len(unfinished) < len(order):
            order = order[unfinished]
            state = state.take(unfinished)
    if several:
        yield found


def _log_probabilities(logits: NDArray[Any], targets: LongArray) -> NDArray[np.float64]:
    """Return ln p of the targets, (T, B), from logits, (T, B, V)."""
    if not np.isfinite(logits).all():
        raise GenerationError(OVERFLOWED)
    greatest = logits.max(axis=2, keepdims=True)
    sums = np.exp(logits - greatest).sum(axis=2, dtype=np.float64)
    chosen = np.take_along_axis(logits, targets[:, :, None], axis=2) - greatest
    log_p: NDArray[np.float64] = chosen[:, :, 0].astype(np.float64) - np.log(sums)
    return log_p
