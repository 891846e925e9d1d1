"""Drawing a symbol: from logits and a random number to an id."""

import math
from typing import Any

import numpy as np

from charrnn.errors import GenerationError
from charrnn.generation.filters import filtered
from charrnn.generation.layers import Floats
from charrnn.text.vocabulary import Ids

COLDEST = 1e-30  # lower temperatures count as this one, which is greedy except for exact ties

OVERFLOWED = "the model's numbers have overflowed; use an earlier checkpoint: `checkpoint=STEP`"


def sample_next(logits: Floats, temperature: Floats, uniforms: Floats, **filters: Any) -> Ids:
    """Draw an id in each lane from softmax(logits / temperature), after filters.

    logits: (B, V), with at least one above -inf in each lane. temperature: (B, 1). uniforms: random
    numbers in [0, 1), (B,). filters: see filters.filtered. Returns ids, (B,).
    Temperature 0 means the limit: the most probable id whatever the filters, the lowest in a tie.
    Raises GenerationError if the logits are not finite.
    """
    top = greatest(logits)
    scaled = (logits.astype(np.float64) - top) / np.maximum(temperature, COLDEST)
    scaled = filtered(scaled, **filters)
    cumulative = np.exp(scaled, scaled).cumsum(axis=1)
    drawn: Ids = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=1)
    greedy = temperature == 0
    return np.where(greedy[:, 0], logits.argmax(axis=1), drawn) if greedy.any() else drawn


def greatest(logits: Floats) -> Floats:
    """Return the largest logit of each lane, (B, 1). Raises GenerationError if it is not finite."""
    top: Floats = logits.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():  # the maximum with NaN is NaN
        raise GenerationError(OVERFLOWED)
    return top


def sample_one(logits: Floats, temperature: float, uniform: float) -> int:
    """Draw an id for a single lane as `sample_next` does, in a third of the time.

    logits: (V,).
    """
    scaled = logits.astype(np.float64)
    best = scaled.argmax()
    top = scaled.item(best)
    if not math.isfinite(top):  # argmax finds NaN
        raise GenerationError(OVERFLOWED)
    if temperature == 0:
        return int(best)
    scaled -= top
    scaled /= max(temperature, COLDEST)
    cumulative = np.add.accumulate(np.exp(scaled, scaled))  # cumsum takes longer
    return int(cumulative.searchsorted(uniform * cumulative.item(-1), "right"))
