"""How well a model predicts a text: nats, bits and perplexity."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.text.vocabulary import Vocabulary

# Logits of one forward pass, in elements: bounds its memory to some tens of megabytes.
PASS_ELEMENTS = 4_000_000
# Symbols a lane reads before its own stretch, to bring its state to what carrying would make it.
WARM_UP = 1_000
FRESH_LANES = 64


@dataclass(frozen=True)
class Evaluation:
    """The figures of a text. The first character is read, not predicted, and not counted.

    bits_per_byte is per byte of UTF-8; for a model of bytes nats are summed over a character's.
    """

    nats_per_char: float
    bits_per_char: float
    bits_per_byte: float
    perplexity: float
    characters: int


def evaluation(nats: float, predicted: Symbols, vocabulary: Vocabulary) -> Evaluation:
    """Make the figures from the total nats of the predicted symbols."""
    counts = [
        (vocabulary.count_characters(b), vocabulary.count_bytes(b)) for b in predicted.blocks()
    ]
    characters, utf8_bytes = (sum(column) for column in zip(*counts, strict=True))
    per_char = nats / max(characters, 1)
    return Evaluation(
        nats_per_char=per_char,
        bits_per_char=per_char / math.log(2),
        bits_per_byte=nats / math.log(2) / utf8_bytes,
        perplexity=math.exp(min(per_char, 700.0)),
        characters=max(characters, 1),
    )


@torch.no_grad()
def total_nats(
    model: LanguageModel,
    text: Symbols,
    *,
    context: int | None = None,
    lanes: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Return -log p(text[1:] | text[0]), in nats, for a text of at least two symbols.

    The state begins anew with each document, see Symbols.resets.
    context: None carries the state through the whole text; a number reads the text in blocks of
    that many symbols, each from a fresh state, and predicts for each symbol the one behind it.
    lanes: with carried state, read up to this many stretches of the text side by side, each after
    the WARM_UP symbols before it. 1 is exact; more are faster, and off by what the state would
    still have held from before the warm-up.
    on_progress: called with the number of symbols predicted since it was called last.
    """
    if context is None:
        return _carried(model, text, lanes, on_progress)
    return _fresh(model, text, context, on_progress)


def _fresh(
    model: LanguageModel, text: Symbols, context: int, on_progress: Callable[[int], None]
) -> float:
    targets = len(text) - 1
    context = min(context, targets)
    whole = targets // context * context  # symbols in whole blocks; a shorter block is left over
    total = 0.0
    for first in range(0, whole, FRESH_LANES * context):
        starts = np.arange(first, min(first + FRESH_LANES * context, whole), context)
        total += _score(model, text, starts, context, model.start(len(starts)), on_progress)[0]
    if whole < targets:
        rest = targets - whole
        total += _score(model, text, np.array([whole]), rest, model.start(1), on_progress)[0]
    return total


def _carried(
    model: LanguageModel, text: Symbols, lanes: int, on_progress: Callable[[int], None]
) -> float:
    targets = len(text) - 1
    lanes = max(1, min(lanes, targets // (2 * WARM_UP)))
    length = targets // lanes
    starts = length * np.arange(lanes)
    state = model.start(lanes)
    if lanes > 1:
        before = starts - WARM_UP
        before[0] = 0  # has nothing before it: reads along, and starts anew below
        for inputs, _, resets in _passes(model, text, before, WARM_UP):
            _, state = model(inputs, state, None, resets)
        for part in state:
            part[:, 0] = 0
    total, state = _score(model, text, starts, length, state, on_progress)
    rest = targets - lanes * length
    if rest:
        last_lane = tuple(part[:, -1:].contiguous() for part in state)
        start = np.array([lanes * length])
        total += _score(model, text, start, rest, last_lane, on_progress)[0]
    return total


def _score(
    model: LanguageModel,
    text: Symbols,
    starts: NDArray[np.int64],
    steps: int,
    state: State,
    on_progress: Callable[[int], None],
) -> tuple[float, State]:
    """Return the nats of the symbols behind those read, and the state after them.

    Reads `steps` symbols from each of the B starts on, side by side.
    """
    total = 0.0
    for inputs, targets, resets in _passes(model, text, starts, steps):
        logits, state = model(inputs, state, None, resets)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        total += losses.cpu().double().sum().item()  # MPS has no float64
        on_progress(targets.numel())
    return total, state


def _passes(
    model: LanguageModel, text: Symbols, starts: NDArray[np.int64], steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield inputs, targets and resets, (T, B), in passes of bounded memory."""
    device = model.output.weight.device
    widest = max(model.vocabulary_size, 4 * model.config.hidden_size)
    piece = max(1, PASS_ELEMENTS // (len(starts) * widest))
    for done in range(0, steps, piece):
        length = min(piece, steps - done)
        at = starts + done
        ids = torch.from_numpy(text.columns(at.tolist(), length + 1)).to(device)
        resets = text.resets(at, length)
        yield ids[:-1], ids[1:], None if resets is None else torch.from_numpy(resets)
