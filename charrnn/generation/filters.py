"""Sampling filters: which symbols may be drawn, and how evenly.

Each is a pure function of logits (B, V), float32 or float64, with a row for each lane. It returns
new logits of the same dtype in which what is cut off is -inf. Rows may already contain -inf, as
long as something else is left, so filters can be combined in any order.

Names and meanings are those of the logits processors of Hugging Face transformers, with one
difference: a bound counts as met if only rounding keeps a probability from it (ROUNDING).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)
Integers = NDArray[np.integer[Any]]

# In float32 the logarithm of a probability is off by up to a few times 1e-7. Without this allowance
# a nucleus of 0.8 could cut (0.5, 0.3, 0.2) after the second symbol or after the third.
ROUNDING = 1e-6

SORTED_AT_ONCE = 1_000  # symbols; of more, it is faster to sort only those that may matter


def log_softmax(logits: NDArray[Any], greatest: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the logarithm of the softmax over the last axis, (..., V), in the same dtype.

    greatest: the largest logit of each row, (..., 1), if it is known.
    """
    shifted = logits - (logits.max(axis=-1, keepdims=True) if greatest is None else greatest)
    normalised: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def temperature(logits: NDArray[Float], t: float | NDArray[Any]) -> NDArray[Float]:
    """Divide by a temperature: below 1, probable symbols become more probable; above 1, less.

    t: above 0, one for all lanes or (B, 1). The largest logit of each row becomes 0, so that for a
    tiny t the others become -inf, and nothing becomes NaN.
    """
    # In float64, because a tiny t would round to 0 in float32.
    shifted = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float64)
    with np.errstate(over="ignore"):
        scaled: NDArray[Float] = (shifted / t).astype(logits.dtype)
    return scaled


def top_k(logits: NDArray[Float], k: int) -> NDArray[Float]:
    """Keep the k most probable symbols, k >= 1, and all that tie with the last of them.

    Source: Fan et al. 2018 (arXiv:1805.04833).
    """
    least = max(logits.shape[1] - k, 0)
    return _keep(logits, logits >= np.partition(logits, least, axis=1)[:, least, None])


def top_p(logits: NDArray[Float], p: float) -> NDArray[Float]:
    """Nucleus sampling: keep the smallest set of most probable symbols with probability p.

    p: up to 1, which keeps all. At least one symbol stays. In a tie, lower ids come first.
    Source: Holtzman et al. 2020 (arXiv:1904.09751).
    """
    probability = np.exp(log_softmax(logits.astype(np.float64)))
    if logits.shape[1] <= SORTED_AT_ONCE:
        return _keep(logits, _first(np.argsort(-logits, axis=1, kind="stable"), probability, p))
    # All V symbols below this bound together have less than (1 - p) / 2.
    some = (probability >= (1 - p) / (2 * logits.shape[1])).any(axis=0)
    order = np.argsort(-logits[:, some], axis=1, kind="stable")
    kept = np.zeros(logits.shape, np.bool_)
    left_out = probability[:, ~some].sum(axis=1, keepdims=True)
    kept[:, some] = _first(order, probability[:, some], p, left_out)
    return _keep(logits, kept)


def min_p(logits: NDArray[Float], p: float) -> NDArray[Float]:
    """Keep symbols with at least p times the probability of the most probable one.

    p: from 0, which keeps all, to 1. Source: Nguyen et al. 2024 (arXiv:2407.01082).
    """
    shifted = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float64)
    return _keep(logits, np.exp(shifted) >= p * (1 - ROUNDING))


def typical_p(logits: NDArray[Float], p: float) -> NDArray[Float]:
    """Locally typical sampling: keep symbols about as surprising as the next one should be.

    In the order of | -ln(probability) - entropy |, the first symbols that together have probability
    p stay, and all that tie with the last of them. This can cut off the most probable symbol.
    p: up to 1, which keeps all. Source: Meister et al. 2023 (arXiv:2202.00666).
    """
    log_p = log_softmax(logits.astype(np.float64))
    probability = np.exp(log_p)
    # In an entropy, 0 ln 0 = 0.
    entropy = -(probability * np.where(probability > 0, log_p, 0)).sum(axis=1, keepdims=True)
    distance = np.abs(log_p + entropy)
    first = _first(np.argsort(distance, axis=1, kind="stable"), probability, p)
    return _keep(logits, distance <= np.where(first, distance, 0).max(axis=1, keepdims=True))


def epsilon_cutoff(logits: NDArray[Float], epsilon: float) -> NDArray[Float]:
    """Keep symbols with a probability of at least epsilon; the most probable always stays.

    Source: Hewitt et al. 2022 (arXiv:2210.15191).
    """
    probable = np.exp(log_softmax(logits.astype(np.float64))) >= epsilon * (1 - ROUNDING)
    return _keep(logits, probable | (logits == logits.max(axis=1, keepdims=True)))


def filtered(logits: NDArray[Float], **values: float | None) -> NDArray[Float]:
    """Apply filters in the order of _ORDER: names with values, where None is off.

    Each one sees the probabilities that the one before it left. Without filters, the same logits
    are returned. Temperature 0 (greedy) is not a filter, since argmax needs none.
    """
    assert values.keys() <= _ORDER.keys()
    for name, apply in _ORDER.items():
        if (value := values.get(name)) is not None:
            logits = apply(logits, value)
    return logits


def ban(logits: NDArray[Float], ids: Integers) -> NDArray[Float]:
    """Set ids (N,) to -inf in all lanes. This may leave nothing."""
    banned = logits.copy()
    banned[:, ids] = -np.inf
    return banned


def ban_by_lane(logits: NDArray[Float], ids: Sequence[Sequence[int]]) -> NDArray[Float]:
    """Set each lane's own ids to -inf in that lane. This may leave nothing."""
    banned = logits.copy()
    for row, row_ids in zip(banned, ids, strict=True):
        row[list(row_ids)] = -np.inf
    return banned


def no_repeat_ngram(
    logits: NDArray[Float], history: Sequence[Sequence[int] | Integers], n: int
) -> NDArray[Float]:
    """Ban the ids that would repeat n symbols of a lane's history. This may leave nothing.

    history: the ids so far, a sequence for each lane. It is read completely, so a loop that draws
    one symbol after another should keep a SeenNgrams for each lane instead.
    Source: Paulus et al. 2018 (arXiv:1705.04304).
    """
    seen = [SeenNgrams(n, np.asarray(ids).tolist()) for ids in history]
    return ban_by_lane(logits, [lane.banned() for lane in seen])


class SeenNgrams:
    """The n-grams (n >= 1) of one lane's text, to find the ids that would repeat one.

    The time of `add` and `banned` does not depend on the length of the text. For beam search,
    `copy` takes about the square root of the length: a copy shares a dictionary of older n-grams,
    which never changes, with its original, and has its own dictionary of newer ones.

        beams = [(score, id_, seen[parent].copy()) for score, id_, parent in survivors]
    """

    def __init__(self, n: int, ids: Iterable[int] = ()) -> None:
        self.n = n
        self._end: tuple[int, ...] = ()  # the last n - 1 ids
        # From n - 1 ids to all that have followed them; entries of _newer replace those of _older.
        self._older: dict[tuple[int, ...], frozenset[int]] = {}
        self._newer: dict[tuple[int, ...], frozenset[int]] = {}
        for id_ in ids:
            self.add(id_)

    def add(self, id_: int) -> None:
        """Append an id to the text."""
        # At first the end is shorter than n - 1; each such end occurs once and bans nothing.
        self._newer[self._end] = self._followers() | {id_}
        longer = (*self._end, id_)
        self._end = longer[max(len(longer) - self.n + 1, 0) :]

    def banned(self) -> list[int]:
        """Return the ids that would complete an n-gram of the text again, in order."""
        return sorted(self._followers())

    def copy(self) -> "SeenNgrams":
        """Return a copy that continues on its own."""
        # At the square root, copying the newer ones costs as much as occasionally merging both.
        if len(self._newer) ** 2 > len(self._older):
            self._older = self._older | self._newer
            self._newer = {}
        twin = SeenNgrams(self.n)
        twin._end, twin._older, twin._newer = self._end, self._older, self._newer.copy()
        return twin

    def _followers(self) -> frozenset[int]:
        found = self._newer.get(self._end)
        return self._older.get(self._end, frozenset()) if found is None else found


def _keep(logits: NDArray[Float], kept: NDArray[np.bool_]) -> NDArray[Float]:
    """Return logits with -inf for all that is not kept; kept: (B, V)."""
    return np.where(kept, logits, -np.inf)


def _first(
    order: NDArray[np.intp],
    probability: NDArray[np.float64],
    p: float,
    left_out: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.bool_]:
    """Return which symbols form the shortest beginning of an order that has probability p.

    order: ids, (B, V). probability: by id, (B, V). left_out: the probability of further symbols at
    the end of the order, (B, 1). At least one symbol. Returns (B, V), by id.
    """
    # Summed from the end, so that small probabilities are not lost next to large ones: those left
    # out have at most 1 - p.
    lanes = np.arange(len(order))[:, None]
    rest = probability[lanes, order][:, ::-1].cumsum(axis=1)[:, ::-1] + left_out
    count = (rest > (1 - p) * (1 + ROUNDING)).sum(axis=1, keepdims=True)
    first = np.empty(order.shape, np.bool_)
    first[lanes, order] = np.arange(order.shape[1]) < np.maximum(count, 1)
    return first


# As transformers applies them.
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "temperature": temperature,
    "top_k": top_k,
    "top_p": top_p,
    "min_p": min_p,
    "typical_p": typical_p,
    "epsilon_cutoff": epsilon_cutoff,
}
