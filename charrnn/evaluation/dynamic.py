"""Dynamic evaluation (Krause, Kahembwe, Murray & Renals 2018): score a chunk, then learn from it.

With theta_0 the trained weights and g the gradient of a chunk's nats, by truncated BPTT, each
chunk moves the weights by

    theta <- theta - eta * g / (RMS + eps) + min(lambda * RMS / mean(RMS), 1) * (theta_0 - theta)

RMS is the root mean square of the gradient, weight by weight, over chunks of what the model was
trained on; mean(RMS) is its mean over all weights. That is the paper's RMS learning rule with RMS
decay, RMS / mean(RMS) being at most 1 / lambda there. eps is a share of mean(RMS) here, so that the
unit of the loss has no part in it.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from charrnn.errors import TrainingError
from charrnn.evaluation.config import DynamicConfig
from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols

# Of mean(RMS). What the chunks below never met, such as the row of a rare symbol, has an RMS of 0.
EPSILON = 0.01
# Chunks of the training part that RMS is taken over.
CHUNKS = 500
# Symbols that are read before each of these, to bring the state to what carrying would make it.
WARM_UP = 100
WARM_UP_LANES = 50
# Logits of one such pass, in elements: bounds its memory to some tens of megabytes.
PASS_ELEMENTS = 4_000_000


def gradient_rms(
    model: LanguageModel,
    text: Symbols,
    length: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Tensor]:
    """Return the root mean square of each weight's gradient over chunks of a text.

    text: of at least two symbols. length: of a chunk, as it is for `dynamic_nats`; CHUNKS of them
    are spread over the text, at places drawn with a seed of 0.
    on_progress: called with the chunks that are done and with all of them.
    """
    length = min(length, len(text) - 1)
    last = len(text) - 1 - length  # the last place a chunk may begin at
    warm_up = min(WARM_UP, last // 2)
    number = min(CHUNKS, (last - warm_up) // length + 1)
    within = np.random.default_rng(0).random(number)
    starts = warm_up + ((np.arange(number) + within) / number * (last - warm_up + 1)).astype(int)
    parameters = list(model.parameters())
    squares = [torch.zeros_like(p) for p in parameters]
    together = max(1, min(WARM_UP_LANES, PASS_ELEMENTS // (WARM_UP * model.vocabulary_size)))
    for first in range(0, number, together):
        lanes = starts[first : first + together]
        states = _warmed_up(model, text, lanes - warm_up, warm_up)
        for lane, start in enumerate(lanes.tolist()):
            state = tuple(part[:, lane : lane + 1].contiguous() for part in states)
            losses, _ = _read(model, text, start, length, state)
            gradients = torch.autograd.grad(losses.sum(), parameters)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 / number)
            on_progress(first + lane + 1, number)
    torch._foreach_sqrt_(squares)
    return squares


def dynamic_nats(
    model: LanguageModel,
    text: Symbols,
    rms: list[Tensor],
    config: DynamicConfig,
    on_progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Return -log p(text[1:] | text[0]), in nats, of a model that learns from text as it reads it.

    Each chunk is scored before the weights learn from it. The state is carried, and begins anew
    with each document, see Symbols.resets; the weights go on. They are the trained ones again
    when this returns.
    rms: what `gradient_rms` returned for the same model and length.
    on_progress: called with the number of symbols predicted since it was called last.
    Raises TrainingError where the weights have become so large that the loss is no number.
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
            losses, state = _read(model, text, start, length, state)
            nats = losses.detach().cpu().double().sum().item()  # MPS has no float64
            if not math.isfinite(nats):
                raise TrainingError(
                    f"after {start:,} symbols of dynamic evaluation the loss is no longer a "
                    f"number; give a `dynamic_lr` below {config.dynamic_lr}"
                )
            total += nats
            gradients = torch.autograd.grad(losses.sum(), parameters)
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
) -> tuple[Tensor, State]:
    """Return the nats of each symbol behind those of a chunk, (T,), and the state after it."""
    ids = torch.from_numpy(text[start : start + length + 1]).to(model.output.weight.device)
    resets = text.resets([start], length)
    logits, state = model(
        ids[:-1, None], state, None, None if resets is None else torch.from_numpy(resets)
    )
    losses = F.cross_entropy(logits[:, 0], ids[1:], reduction="none")
    return losses, tuple(part.detach() for part in state)


@torch.no_grad()
def _warmed_up(model: LanguageModel, text: Symbols, starts: NDArray[np.int64], steps: int) -> State:
    """Return the state after so many symbols from each of the B starts on, (L, B, H)."""
    state = model.start(len(starts))
    if steps:
        ids = torch.from_numpy(text.columns(starts.tolist(), steps))
        resets = text.resets(starts, steps)
        _, state = model(
            ids.to(model.output.weight.device),
            state,
            None,
            None if resets is None else torch.from_numpy(resets),
        )
    return state


def _mean(tensors: list[Tensor]) -> float:
    """Return the mean over all elements, and above 0: with one symbol there is no gradient."""
    total = sum(tensor.sum().item() for tensor in tensors)
    return max(total / sum(map(torch.numel, tensors)), torch.finfo(torch.float32).tiny)
