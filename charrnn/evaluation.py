"""How well a model predicts a text: nats, bits and perplexity."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.text.vocabulary import Ids, Vocabulary

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


def evaluation(nats: float, predicted: Ids, vocabulary: Vocabulary) -> Evaluation:
    """Make the figures from the total nats of the predicted symbols, (N,)."""
    characters = max(vocabulary.count_characters(predicted), 1)
    per_char = nats / characters
    return Evaluation(
        nats_per_char=per_char,
        bits_per_char=per_char / math.log(2),
        bits_per_byte=nats / math.log(2) / vocabulary.count_bytes(predicted),
        perplexity=math.exp(min(per_char, 700.0)),
        characters=characters,
    )


@torch.no_grad()
def total_nats(
    model: LanguageModel,
    ids: Ids,
    *,
    context: int | None = None,
    lanes: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Return -log p(ids[1:] | ids[0]), in nats, for ids (N,), N > 1.

    context: None carries the state through the whole text; a number reads the text in blocks of
    that many symbols, each from a fresh state, and predicts for each symbol the one behind it.
    lanes: with carried state, read up to this many stretches of the text side by side, each after
    the WARM_UP symbols before it. 1 is exact; more are faster, and off by what the state would
    still have held from before the warm-up.
    on_progress: called with the number of symbols predicted since it was called last.
    """
    symbols = torch.from_numpy(ids.astype(np.int64)).to(model.output.weight.device)
    if context is None:
        return _carried(model, symbols, lanes, on_progress)
    return _fresh(model, symbols, context, on_progress)


def _fresh(
    model: LanguageModel, symbols: Tensor, context: int, on_progress: Callable[[int], None]
) -> float:
    targets = len(symbols) - 1
    context = min(context, targets)
    whole = targets // context * context  # symbols in whole blocks; a shorter block is left over
    total = 0.0
    for first, last in ((0, whole), (whole, targets)):
        length = min(context, last - first)
        if length == 0:
            continue
        inputs = symbols[first:last].view(-1, length).T
        wanted = symbols[first + 1 : last + 1].view(-1, length).T
        for some in torch.arange(inputs.shape[1]).split(FRESH_LANES):
            state = model.start(len(some))
            nats, _ = _score(model, inputs[:, some], wanted[:, some], state, on_progress)
            total += nats
    return total


def _carried(
    model: LanguageModel, symbols: Tensor, lanes: int, on_progress: Callable[[int], None]
) -> float:
    targets = len(symbols) - 1
    lanes = max(1, min(lanes, targets // (2 * WARM_UP)))
    length = targets // lanes
    state = model.start(lanes)
    if lanes > 1:
        starts = torch.arange(lanes).mul(length)
        starts[0] = WARM_UP  # has nothing before it: reads along, and starts anew below
        before = torch.stack([symbols[start - WARM_UP : start] for start in starts.tolist()], dim=1)
        state = _read(model, before, state)
        for part in state:
            part[:, 0] = 0
    inputs = symbols[: lanes * length].view(lanes, length).T
    wanted = symbols[1 : lanes * length + 1].view(lanes, length).T
    total, state = _score(model, inputs, wanted, state, on_progress)
    rest = symbols[lanes * length :, None]
    last_lane = tuple(part[:, -1:].contiguous() for part in state)
    return total + _score(model, rest[:-1], rest[1:], last_lane, on_progress)[0]


def _read(model: LanguageModel, inputs: Tensor, state: State) -> State:
    for piece in inputs.split(_steps_a_pass(model, inputs.shape[1])):
        _, state = model(piece, state)
    return state


def _score(
    model: LanguageModel,
    inputs: Tensor,
    targets: Tensor,
    state: State,
    on_progress: Callable[[int], None],
) -> tuple[float, State]:
    """Return the nats of targets (T, B) and the state after them, in passes of bounded memory."""
    steps = _steps_a_pass(model, inputs.shape[1])
    total = 0.0
    for piece, wanted in zip(inputs.split(steps), targets.split(steps), strict=True):
        if len(piece) == 0:  # split() makes one empty piece of an empty tensor
            continue
        logits, state = model(piece, state)
        losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
        total += losses.cpu().double().sum().item()  # MPS has no float64
        on_progress(wanted.numel())
    return total, state


def _steps_a_pass(model: LanguageModel, lanes: int) -> int:
    widest = max(model.vocabulary_size, 4 * model.config.hidden_size)
    return max(1, PASS_ELEMENTS // (lanes * widest))
