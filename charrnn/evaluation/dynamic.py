"""Dynamic evaluation (Krause, Kahembwe, Murray & Renals 2018): score a chunk, then learn from it.

With theta_0 the trained weights and g the gradient of a chunk's nats, by truncated BPTT, each
chunk moves the weights by

    theta <- theta - eta * g / (RMS + eps) + min(lambda * RMS / mean(RMS), 1) * (theta_0 - theta)

RMS is the root mean square of the gradient, weight by weight, over chunks of the text that the
model was trained on; mean(RMS) is its mean over all weights. This is the paper's RMS learning rule
with RMS decay, where RMS / mean(RMS) is at most 1 / lambda. Here eps is a fraction of mean(RMS), so
that it does not depend on the unit of the loss.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.errors import TrainingError
from charrnn.evaluation.config import DynamicConfig
from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols

# Of mean(RMS). A weight that the chunks never used, such as a rare symbol's row, has an RMS of 0.
EPSILON = 0.01
# Chunks of the training part over which RMS is computed.
CHUNKS = 500
# Symbols read before each of them, to bring the state close to the carried one.
WARM_UP = 100
WARM_UP_LANES = 50
# Logits of one such pass, in numbers: bounds its memory to some tens of megabytes.
PASS_ELEMENTS = 4_000_000


def gradient_rms(
    model: LanguageModel,
    text: Symbols,
    length: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Tensor]:
    """Return the root mean square of each weight's gradient over chunks of a text.

    text: of at least two symbols. length: of a chunk, as for `dynamic_nats`. CHUNKS of them are
    spread over the text, at positions drawn with a seed of 0.
    on_progress: called with the chunks done so far and in all.
    """
    length = min(length, len(text) - 1)
    last = len(text) - 1 - length  # the last position at which a chunk may begin
    warm_up = min(WARM_UP, last // 2)
    number = min(CHUNKS, (last - warm_up) // length + 1)
    within = np.random.default_rng(0).random(number)
    starts = warm_up + ((np.arange(number) + within) / number * (last - warm_up + 1)).astype(int)
    parameters = list(model.parameters())
    device = model.output.weight.device
    squares = [torch.zeros_like(p) for p in parameters]
    together = max(1, min(WARM_UP_LANES, PASS_ELEMENTS // (WARM_UP * model.vocabulary_size)))
    for first in range(0, number, together):
        lanes = starts[first : first + together]
        states = _warmed_up(model, text, lanes - warm_up, warm_up)
        for lane, start in enumerate(lanes.tolist()):
            state = model.take(states, torch.tensor([lane], device=device))
            total, _, _ = _read(model, text, start, length, state)
            gradients = torch.autograd.grad(total, parameters)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 / number)
            on_progress(first + lane + 1, number)
    torch._foreach_sqrt_(squares)
    return squares


class GradientRms:
    """The RMS of a model's gradients, computed once for a chunk length and a device."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], list[Tensor]] = {}

    def of(
        self,
        model: LanguageModel,
        text: Symbols,
        length: int,
        on_progress: Callable[[int, int], None],
    ) -> list[Tensor]:
        """See `gradient_rms`; the model and the text must always be the same."""
        key = length, str(model.output.weight.device)
        if key not in self._known:
            self._known[key] = gradient_rms(model, text, length, on_progress)
        return self._known[key]


def dynamic_nats(
    model: LanguageModel,
    text: Symbols,
    rms: list[Tensor],
    config: DynamicConfig,
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    uncounted: int = 0,
) -> float:
    """Return -log p(text[1:] | text[0]), in nats, of a model that learns from a text as it reads.

    Each chunk is scored before the weights learn from it. The state is carried, and reset at each
    document, see Symbols.resets; the weights are not. They are the trained ones again when this
    returns.
    rms: what `gradient_rms` returned for the same model and length.
    on_progress: called with the number of symbols predicted since the last call.
    uncounted: how many of the first predicted symbols do not count.
    Raises TrainingError if the weights grow so large that the loss is no longer a number.
    """
    parameters: list[Tensor] = list(model.parameters())
    trained = [p.detach().clone() for p in parameters]
    mean = _mean(rms)
    rates = torch._foreach_add(rms, EPSILON * mean)
    torch._foreach_reciprocal_(rates)
    torch._foreach_mul_(rates, config.dynamic_lr)
    pulls = torch._foreach_mul(rms, config.dynamic_decay / mean)
    torch._foreach_clamp_max_(pulls, 1.0)
    targets = len(text) - 1
    state, total = model.start(1), 0.0
    try:
        for start in range(0, targets, config.dynamic_length):
            length = min(config.dynamic_length, targets - start)
            loss, each, state = _read(model, text, start, length, state)
            counted = each.cpu().double()[max(uncounted - start, 0) :]  # MPS has no float64
            nats = counted.sum().item()
            if not math.isfinite(nats):
                raise TrainingError(
                    f"after {start:,} symbols of dynamic evaluation the loss is no longer a "
                    f"number; lower `dynamic_lr`, which is {config.dynamic_lr}"
                )
            total += nats
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                torch._foreach_lerp_(parameters, trained, pulls)
                torch._foreach_addcmul_(parameters, gradients, rates, value=-1)
            on_progress(length)
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, trained)
    return total


def _read(
    model: LanguageModel, text: Symbols, start: int, length: int, state: State
) -> tuple[Tensor, Tensor, State]:
    """Return the nats of what a chunk predicts, in all and each, (T,), and the state after it."""
    ids = torch.from_numpy(text[start : start + length + 1]).to(model.output.weight.device)
    resets = text.resets([start], length)
    total, each, state = model.nats(
        ids[:-1, None],
        ids[1:, None],
        state,
        None,
        None if resets is None else torch.from_numpy(resets),
    )
    return total, each, tuple(part.detach() for part in state)


@torch.no_grad()
def _warmed_up(model: LanguageModel, text: Symbols, starts: NDArray[np.int64], steps: int) -> State:
    """Return the state, (L, B, H), after reading `steps` symbols from each of the B starts."""
    state = model.start(len(starts))
    if steps:
        ids = torch.from_numpy(text.columns(starts.tolist(), steps))
        resets = text.resets(starts, steps)
        state = model.read(
            ids.to(model.output.weight.device),
            state,
            None if resets is None else torch.from_numpy(resets),
        )
    return state


def _mean(tensors: list[Tensor]) -> float:
    """Return the mean over all elements, at least a tiny number: one symbol has no gradient."""
    total = sum(tensor.sum().item() for tensor in tensors)
    return max(total / sum(map(torch.numel, tensors)), torch.finfo(torch.float32).tiny)
