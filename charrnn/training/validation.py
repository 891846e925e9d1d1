"""The loss on the validation part while a model trains."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols

# Logits of one forward pass, in elements: bounds its memory to some tens of megabytes.
PASS_ELEMENTS = 4_000_000
# Symbols a lane reads before its own stretch, to bring its state close to the carried one.
WARM_UP = 1_000


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
    targets = len(text) - 1
    lanes = max(1, min(lanes, targets // (2 * WARM_UP)))
    length = targets // lanes
    starts = length * np.arange(lanes)
    state = model.start(lanes)
    if lanes > 1:
        before = starts - WARM_UP
        before[0] = 0  # nothing comes before it: it reads along, and starts afresh below
        for inputs, _, resets in _passes(model, text, before, WARM_UP):
            _, state = model(inputs, state, None, resets)
        for part, own, fresh in zip(
            model.config.state.parts, state, model.start(lanes), strict=True
        ):
            own.select(part.batch_axis, 0).copy_(fresh.select(part.batch_axis, 0))
    total, state = _score(model, text, starts, length, state, on_progress)
    rest = targets - lanes * length
    if rest:
        last = torch.tensor([lanes - 1], device=model.output.weight.device)
        start = np.array([lanes * length])
        total += _score(model, text, start, rest, model.take(state, last), on_progress)[0]
    return total


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
