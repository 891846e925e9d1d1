"""Drawing from an adaptive softmax without computing all of it.

Symbol i of cluster c has the probability p_i = P_c q_i (see model/softmax.py), and at temperature t
the weight p_i^(1/t). The n_c symbols of the cluster together have the weight

    P_c^(1/t) S_c,  where S_c = sum of q_i^(1/t) <= B_c = max(1, n_c^(1 - 1/t)).

P_c only takes the head. S_c takes the whole cluster, and most characters are not in any. So each
cluster first gets B_c in place of S_c. If it is drawn, S_c is computed, and the draw is accepted
with probability S_c / B_c; otherwise B_c becomes S_c and everything is drawn again. An accepted
draw has the exact distribution (rejection sampling, von Neumann 1951).

One random number is enough. Once it has decided something, its place between the two numbers that
would have decided the same is uniform, and independent of the decision.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from charrnn.errors import GenerationError
from charrnn.generation.draws import COLDEST, OVERFLOWED
from charrnn.generation.encoding import EncodedRequest
from charrnn.generation.filters import log_softmax
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.layers import Floats
from charrnn.generation.softmax import AdaptiveSoftmax
from charrnn.generation.stepper import Stepper

BELOW_ONE = 1 - 2**-53  # rounding may otherwise make a random number 1


class Drawn(NamedTuple):
    """A symbol: its id, its row of the head, and its ln q in the cluster of that row, or 0."""

    id: int
    row: int
    log_q: float


def head_first(stepper: LaneModel[Any], encoded: EncodedRequest) -> "HeadFirst | None":
    """Return what draws for a request, or None if a draw needs the probabilities of all symbols.

    It does for filters, and for bans of symbols in clusters.
    """
    if not isinstance(stepper, Stepper) or not isinstance(stepper.softmax, AdaptiveSoftmax):
        return None
    config, banned = encoded.sampling, encoded.banned_ids
    if config.filters() or config.min_length or config.no_repeat_ngram_size:
        return None
    if (banned >= stepper.config.adaptive_softmax).any():
        return None
    return HeadFirst(stepper, stepper.softmax)


class HeadFirst:
    """Draws symbols, given the logits of the head."""

    def __init__(self, stepper: Stepper, softmax: AdaptiveSoftmax) -> None:
        """Allocate the buffers for the clusters of a lane."""
        self.stepper = stepper.with_softmax(softmax.head)  # its logits are those of the head
        self._starts = [cluster.start for cluster in softmax.clusters]
        self._log_sizes = np.log([cluster.size for cluster in softmax.clusters])
        hidden, dtype = softmax.head.matrix.shape[1], softmax.head.matrix.dtype
        self._y = np.empty((hidden, 1), dtype)
        self._clusters = softmax.bind_clusters(self._y)

    def draw(self, head: Floats, y: Floats, temperature: float, uniform: float) -> Drawn:
        """Draw as draws.sample_one does from the logits of all symbols.

        head: logits, (R,), with a row for each frequent symbol and then for each cluster. y: the
        output of the model, (H,). Raises GenerationError if logits are not finite.
        """
        scaled = _shifted(head)
        if temperature == 0:
            return self._most_probable(scaled, y)
        power = 1 / max(temperature, COLDEST)
        scaled *= power
        frequent = self._starts[0]
        log_bounds = max(1 - power, 0) * self._log_sizes
        scaled[frequent:] += log_bounds
        while True:
            cumulative = np.exp(scaled).cumsum()
            place = uniform * cumulative.item(-1)
            row = int(cumulative.searchsorted(place, "right"))
            if row < frequent:
                return Drawn(row, row, 0.0)
            before = cumulative.item(row - 1)
            uniform = min((place - before) / (cumulative.item(row) - before), BELOW_ONE)
            cluster = row - frequent
            logits = self._logits(cluster, y)
            log_total = math.log(np.exp(logits).sum())
            weights = np.exp(logits * power)
            log_share = math.log(weights.sum()) - log_total * power - log_bounds.item(cluster)
            share = math.exp(log_share)
            if uniform < share:
                within = weights.cumsum()
                place = min(uniform / share, BELOW_ONE) * within.item(-1)
                i = int(within.searchsorted(place, "right"))
                return Drawn(self._starts[cluster] + i, row, logits.item(i) - log_total)
            uniform = min((uniform - share) / (1 - share), BELOW_ONE)
            log_bounds[cluster] += log_share
            scaled[row] += log_share
            scaled -= scaled.max()

    def _most_probable(self, head: Floats, y: Floats) -> Drawn:
        """Return the symbol with the largest P_c q_i; at most P_c, so few clusters are computed."""
        frequent = self._starts[0]
        row = int(head[:frequent].argmax())
        best, found = head.item(row), Drawn(row, row, 0.0)
        for cluster, log_p in enumerate(head[frequent:].tolist()):
            if log_p > best:
                log_q = log_softmax(self._logits(cluster, y))
                i = int(log_q.argmax())
                if log_p + log_q.item(i) > best:
                    best = log_p + log_q.item(i)
                    found = Drawn(self._starts[cluster] + i, frequent + cluster, log_q.item(i))
        return found

    def _logits(self, cluster: int, y: Floats) -> Floats:
        """Compute the logits of a cluster's symbols, (N,), of which the largest is 0."""
        self._y[:, 0] = y
        with np.errstate(over="ignore", invalid="ignore"):  # reported by _shifted
            (logits,) = self._clusters[cluster]()
        return _shifted(logits)


def _shifted(logits: Floats) -> Floats:
    """Return logits, (N,), in float64, with 0 for the largest. It must be finite."""
    shifted: Floats = logits.astype(np.float64)
    greatest = shifted.item(shifted.argmax())  # argmax finds NaN
    if not math.isfinite(greatest):
        raise GenerationError(OVERFLOWED)
    shifted -= greatest
    return shifted
