"""Drawing symbols: from logits to a probability, from a probability to a stream of ids."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import GenerationError
from charrnn.generation.stepper import Stepper
from charrnn.text.vocabulary import Vocabulary

Logits = NDArray[np.float64]

# Read before the first character where there is no prompt: a text begins as a line does.
STARTS = ("\n", " ")


def log_softmax(logits: Logits) -> Logits:
    """Return the natural logarithm of softmax(logits), (V,)."""
    shifted = logits - logits.max()
    normalised: Logits = shifted - np.log(np.exp(shifted).sum())
    return normalised


def ban(logits: Logits, ids: Sequence[int]) -> Logits:
    """Return logits, (V,), that give some ids no probability."""
    banned = logits.copy()
    banned[list(ids)] = -np.inf
    return banned


def sample_next(logits: Logits, temperature: float, rng: np.random.Generator) -> int:
    """Draw an id from softmax(logits / temperature); logits (V,).

    Temperature 0 is the limit: the most probable id, the lowest of equals, and rng is not used.
    """
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, probability 0, is meant
        scaled = (logits - logits.max()) / temperature
    cumulative = np.exp(scaled).cumsum()
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def stream(
    stepper: Stepper,
    vocabulary: Vocabulary,
    prompt: Sequence[int] | NDArray[np.integer[Any]],
    temperature: float,
    rng: np.random.Generator,
) -> Iterator[tuple[int, float]]:
    """Yield id after id without end, each with its log-probability under the model.

    prompt: ids to read first, at least one. The log-probability is at temperature 1, and like the
    draw leaves the unknown symbol out, which is never generated.
    Raises GenerationError where the logits are not finite numbers.
    """
    never = () if vocabulary.unknown is None else (vocabulary.unknown,)
    state = stepper.start(1)
    logits = np.zeros((1, stepper.vocabulary_size), stepper.bias.dtype)
    for id_ in prompt:
        logits, state = stepper.step(np.array([id_]), state)
    while True:
        if not np.isfinite(logits).all():
            raise GenerationError(
                "the model's numbers have overflowed; use an earlier checkpoint: --checkpoint STEP"
            )
        log_p = log_softmax(ban(logits[0].astype(np.float64), never))
        id_ = sample_next(log_p, temperature, rng)
        yield id_, float(log_p[id_])
        logits, state = stepper.step(np.array([id_]), state)


def start_ids(vocabulary: Vocabulary, end: str = "") -> list[int]:
    """Return what a model reads before the first character of a text.

    That is what the end of another document ends with, else the first of STARTS it knows, or id 0.
    """
    if vocabulary.unit == "byte" and end:
        return [end.encode()[-1]]
    candidates = (end[-1:], *STARTS)
    known = (vocabulary.symbols.index(s) for s in candidates if s and s in vocabulary.symbols)
    return [next(known, 0)]
