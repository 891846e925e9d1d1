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

import bisect
import itertools
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

    It does for filters, for bans of symbols in clusters, and if the whole head is banned.
    """
    if not isinstance(stepper, Stepper) or not isinstance(stepper.softmax, AdaptiveSoftmax):
        return None
    config, banned = encoded.sampling, encoded.banned_ids
    if config.filters() or config.min_length or config.no_repeat_ngram_size:
        return None
    frequent = stepper.config.adaptive_softmax
    if len(banned) == frequent or (banned >= frequent).any():
        return None
    return HeadFirst(stepper, stepper.softmax)


class HeadFirst:
    """Draws symbols, given the logits of the head."""

    def __init__(self, stepper: Stepper, softmax: AdaptiveSoftmax) -> None:
        """Allocate the buffers for the clusters of a lane."""
        self.stepper = stepper.with_softmax(softmax.head)  # its logits are those of the head
        self._starts = [cluster.start for cluster in softmax.clusters]
        self._log_sizes = [math.log(cluster.size) for cluster in softmax.clusters]
        hidden, dtype = softmax.head.matrix.shape[1], softmax.head.matrix.dtype
        self._y = np.empty((hidden, 1), dtype)
        self._clusters = softmax.bind_clusters(self._y)

    def draw(self, head: Floats, y: Floats, temperature: float, uniform: float) -> Drawn:
        """Draw as draws.sample_one does from the logits of all symbols.

        head: logits, (R,), with a row for each frequent symbol and then for each cluster. y: the
        output of the model, (H,). Raises GenerationError if logits are not finite.
        """
        frequent = self._starts[0]
        best = int(head[:frequent].argmax())  # finds NaN
        top, of_clusters = head.item(best), head[frequent:].tolist()
        if not math.isfinite(top + sum(of_clusters)):
            raise GenerationError(OVERFLOWED)
        if temperature == 0:
            return self._most_probable(best, top, of_clusters, y)
        power = 1 / max(temperature, COLDEST)
        scaled = head[:frequent].astype(np.float64)
        scaled -= top
        scaled *= power
        cumulative = np.add.accumulate(np.exp(scaled, scaled))  # cumsum takes longer
        log_bounds = [max(1 - power, 0) * log_size for log_size in self._log_sizes]
        log_weights = [
            (logit - top) * power + bound
            for logit, bound in zip(of_clusters, log_bounds, strict=True)
        ]
        log_weights.append(math.log(cumulative.item(-1)))  # of all frequent symbols
        while True:
            cluster, uniform = _choose(log_weights, uniform)
            if cluster == len(log_bounds):
                row = int(cumulative.searchsorted(uniform * cumulative.item(-1), "right"))
                return Drawn(row, row, 0.0)
            logits = self._logits(cluster, y)
            weights = np.exp(logits)
            log_sum = math.log(weights.sum())
            if power != 1:
                weights = np.exp(logits * power)
            log_s = math.log(weights.sum()) - log_sum * power
            share = math.exp(log_s - log_bounds[cluster])
            if uniform < share:
                within = np.add.accumulate(weights)
                place = min(uniform / share, BELOW_ONE) * within.item(-1)
                i = int(within.searchsorted(place, "right"))
                id_, row = self._starts[cluster] + i, frequent + cluster
                return Drawn(id_, row, logits.item(i) - log_sum)
            uniform = min((uniform - share) / (1 - share), BELOW_ONE)
            log_weights[cluster] += log_s - log_bounds[cluster]
            log_bounds[cluster] = log_s

    def _most_probable(self, best: int, top: float, of_clusters: list[float], y: Floats) -> Drawn:
        """Return the symbol with the largest P_c q_i; at most P_c, so few clusters are computed."""
        found = Drawn(best, best, 0.0)
        for cluster, logit in enumerate(of_clusters):
            if logit > top:
                log_q = log_softmax(self._logits(cluster, y))
                i = int(log_q.argmax())
                if logit + log_q.item(i) > top:
                    top = logit + log_q.item(i)
                    row = self._starts[0] + cluster
                    found = Drawn(self._starts[cluster] + i, row, log_q.item(i))
        return found

    def _logits(self, cluster: int, y: Floats) -> Floats:
        """Compute the logits of a cluster's symbols, (N,), of which the largest is 0."""
        self._y[:, 0] = y
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            (logits,) = self._clusters[cluster]()
        top = logits.item(logits.argmax())  # argmax finds NaN
        if not math.isfinite(top):
            raise GenerationError(OVERFLOWED)
        shifted: Floats = logits.astype(np.float64) - top
        return shifted


def _choose(log_weights: list[float], uniform: float) -> tuple[int, float]:
    """Draw an index, and return it with what is left of the random number."""
    greatest = max(log_weights)
    weights = [math.exp(weight - greatest) for weight in log_weights]
    edges = [0.0, *itertools.accumulate(weights)]
    place = uniform * edges[-1]
    index = bisect.bisect_right(edges, place) - 1
    return index, min((place - edges[index]) / weights[index], BELOW_ONE)
