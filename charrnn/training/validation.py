"""The loss on the validation part while a model trains."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.training.documents import DocumentLanes, has_short_documents
from charrnn.training.group import ALL, ALONE, Group, Share

# Gates of one forward pass, in elements: bounds its memory to some tens of megabytes.
PASS_ELEMENTS = 4_000_000
# Symbols a lane reads before its own stretch, to bring its state close to the carried one.
WARM_UP = 1_000
LANES = 32
# Of the chunks in which short documents are read.
DOCUMENT_LANES, DOCUMENT_STEPS = 128, 64


@dataclass(frozen=True)
class Validation:
    """The mean loss on a text, or on a part of it, and how many symbols that is of.

    loss: in nats per symbol.
    """

    loss: float
    symbols: int


def validate(
    model: LanguageModel,
    text: Symbols,
    symbols: int,
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    group: Group = ALONE,
    shards: int = 1,
) -> Validation:
    """Return the loss on about so many symbols, spread over a text, or on all of a shorter one.

    They are the same ones each time. The state is carried, and LANES stretches of the text are read
    side by side, see `total_nats`; or many documents, if they are short.
    on_progress: called with the number of symbols predicted since the last call.
    group, shards: the processes that share the work, and the shards of lanes it is divided into.
    """
    own = [
        _shard_sums(model, text, symbols, share, on_progress)
        for share in group.share(shards).each()
    ]
    sums = [found for process in group.collect(own) for found in process]
    predicted = sum(number for _, number in sums)
    return Validation(math.fsum(nats for nats, _ in sums) / predicted, predicted)


@torch.no_grad()
def _shard_sums(
    model: LanguageModel,
    text: Symbols,
    symbols: int,
    share: Share,
    on_progress: Callable[[int], None],
) -> tuple[float, int]:
    """Return the nats of a share of the lanes, and the number of symbols predicted."""
    if has_short_documents(text, DOCUMENT_STEPS):
        return _document_sums(model, text, symbols, share, on_progress)
    return _text_sums(model, text, symbols, LANES, share, on_progress)


def _document_sums(
    model: LanguageModel,
    text: Symbols,
    symbols: int,
    share: Share,
    on_progress: Callable[[int], None],
) -> tuple[float, int]:
    lanes = DocumentLanes(text, DOCUMENT_LANES, DOCUMENT_STEPS, np.random.default_rng(0))
    device = model.output.weight.device
    state, total, found, own = model.start(0), 0.0, 0, 0
    for _ in range(lanes.chunks_per_epoch):
        if found >= symbols:
            break
        chunk = lanes.next(share)
        found += chunk.symbols
        if not chunk.inputs.numel():
            continue
        if chunk.fresh:
            state = model.start(chunk.inputs.shape[1])
        _, nats, state = model.nats(chunk.inputs.to(device), chunk.targets.to(device), state)
        total += _sum(nats)
        own += len(nats)
        on_progress(len(nats))
    return total, own


@torch.no_grad()
def total_nats(
    model: LanguageModel,
    text: Symbols,
    *,
    lanes: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Return -log p(text[1:] | text[0]), in nats, for a text of at least two symbols.

    The state is carried through the text, and reset at each document, see Symbols.resets.
    lanes: read up to this many stretches of the text side by side, each after the WARM_UP symbols
    before it. 1 is exact; more are faster, and miss what the state would still hold from before
    the warm-up.
    on_progress: called with the number of symbols predicted since the last call.
    """
    return _text_sums(model, text, len(text), lanes, ALL, on_progress)[0]


def _text_sums(
    model: LanguageModel,
    text: Symbols,
    symbols: int,
    lanes: int,
    share: Share,
    on_progress: Callable[[int], None],
) -> tuple[float, int]:
    """Do the same with a text that is read in up to so many lanes, see `validate`."""
    targets = len(text) - 1
    wanted = min(symbols, targets)
    lanes = max(1, min(lanes, wanted // (2 * WARM_UP)))
    length = wanted // lanes
    own = share.lanes(lanes)
    starts = (targets // lanes * np.arange(lanes))[own]
    if not len(starts):
        return 0.0, 0
    state = _warmed_up(model, text, starts)
    total, state = _score(model, text, starts, length, state, on_progress)
    rest = targets - lanes * length if wanted == targets and own.stop == lanes else 0
    if rest:
        last = torch.tensor([len(starts) - 1], device=model.output.weight.device)
        start = np.array([lanes * length])
        total += _score(model, text, start, rest, model.take(state, last), on_progress)[0]
    return total, length * len(starts) + rest


def _warmed_up(model: LanguageModel, text: Symbols, starts: NDArray[np.int64]) -> State:
    """Return the state after the WARM_UP symbols before each of the B starts."""
    state = model.start(len(starts))
    if starts[-1] == 0:
        return state
    before = np.maximum(starts - WARM_UP, 0)
    for inputs, _, resets in _passes(model, text, before, WARM_UP):
        state = model.read(inputs, state, resets)
    if starts[0] == 0:  # nothing comes before it: it read along, and starts afresh
        for part, own, fresh in zip(
            model.config.state.parts, state, model.start(len(starts)), strict=True
        ):
            own.select(part.batch_axis, 0).copy_(fresh.select(part.batch_axis, 0))
    return state


def _score(
    model: LanguageModel,
    text: Symbols,
    starts: NDArray[np.int64],
    steps: int,
    state: State,
    on_progress: Callable[[int], None],
) -> tuple[float, State]:
    """Return the nats of the symbols that follow each one read, and the state after them.

    Reads `steps` symbols from each of the B starts, side by side.
    """
    total = 0.0
    for inputs, targets, resets in _passes(model, text, starts, steps):
        _, nats, state = model.nats(inputs, targets, state, None, resets)
        total += _sum(nats)
        on_progress(targets.numel())
    return total, state


def _sum(nats: Tensor) -> float:
    return float(nats.cpu().double().sum())  # MPS has no float64


def _passes(
    model: LanguageModel, text: Symbols, starts: NDArray[np.int64], steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield inputs, targets and resets, (T, B), in passes of bounded memory."""
    device = model.output.weight.device
    widest = 4 * model.config.hidden_size
    piece = max(1, PASS_ELEMENTS // (len(starts) * widest))
    for done in range(0, steps, piece):
        length = min(piece, steps - done)
        at = starts + done
        ids = torch.from_numpy(text.columns(at.tolist(), length + 1)).to(device)
        resets = text.resets(at, length)
        yield ids[:-1], ids[1:], None if resets is None else torch.from_numpy(resets)
