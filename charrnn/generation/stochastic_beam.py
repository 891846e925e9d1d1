"""Stochastic beam search: a sample of texts without replacement.

Source: Kool, van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them"
(arXiv:1903.06059).
"""

from typing import Any

import numpy as np

from charrnn.generation.config import SamplingConfig
from charrnn.generation.filters import filtered, log_softmax
from charrnn.generation.frontier import End, Floats, Frontier, largest
from charrnn.generation.lane_model import S
from charrnn.generation.sampling import COLDEST


def sample(
    frontier: Frontier[S], config: SamplingConfig, size: int, rng: np.random.Generator
) -> list[End]:
    """Draw up to `size` different texts, in the order in which one after the other is drawn.

    The first is drawn as sampling draws a text, at the temperature and with the filters of config;
    each further one likewise from what is left. In one pass (Algorithm 1): the log-probability phi
    of each text is perturbed by Gumbel noise of its own, and the greatest sums, which are the
    scores, are kept. That works from the first symbol on, since the greatest sum among the texts
    with a common beginning is a Gumbel of the beginning's phi, and can be drawn before they are.
    A text that ended keeps its sum and its place until `size` others have greater ones.

    What must not come, to complete a stop or an n-gram, leaves its probability to what may. A text
    that nothing may follow is dropped; where all are and none ended, they end as they are.
    """
    phi, perturbed = np.zeros(1), rng.gumbel(size=1)
    ends: list[End] = []
    for step in frontier.steps():
        alive = np.flatnonzero((step.log_p > -np.inf).any(axis=1))
        if not len(alive) and not ends:
            frontier.stop_reason = "banned"
            break
        longer = phi[alive, None] + drawn_from(step.log_p[alive], config, frontier.length)
        sums = gumbels_below(longer, perturbed[alive], rng)
        best = largest(np.concatenate([[end.score for end in ends], sums.ravel()]), size)
        places = best[best >= len(ends)] - len(ends)
        ends = [ends[place] for place in best if place < len(ends)]
        rows, ids = np.divmod(places, longer.shape[1])
        lanes, phi, perturbed = alive[rows], longer.ravel()[places], sums.ravel()[places]
        stops = step.stopping[lanes, ids]
        ends += frontier.stopped(lanes[stops], ids[stops], perturbed[stops], step)
        phi, perturbed = phi[~stops], perturbed[~stops]
        frontier.widen(lanes[~stops], ids[~stops], step)
    ends += frontier.unfinished(np.arange(len(phi)), perturbed, frontier.stop_reason)
    return sorted(ends, key=lambda end: -end.score)


def drawn_from(log_p: Floats, config: SamplingConfig, position: int) -> Floats:
    """Return the log-probabilities that a symbol is drawn with, (B, V), from those of the model."""
    filters: dict[str, Any] = config.filters()
    cut = filtered(log_p, temperature=max(config.temperature_at(position), COLDEST), **filters)
    return log_softmax(cut)


def gumbels_below(phi: Floats, greatest: Floats, rng: np.random.Generator) -> Floats:
    """Draw a Gumbel of each location in phi, (B, V), on condition of each row's greatest, (B,).

    Appendix B.3 of the paper, where T is `greatest`: unconditional Gumbels G with the maximum Z go
    to -ln(exp(-T) - exp(-Z) + exp(-G)), which is worked out without overflow.
    A location of -inf gives -inf; each row has another.
    """
    g = phi + rng.gumbel(size=phi.shape)
    v = greatest[:, None] - g + log_1_minus_exp(g - g.max(axis=1, keepdims=True))
    below: Floats = greatest[:, None] - np.maximum(v, 0) - np.log1p(np.exp(-np.abs(v)))
    return below


def log_1_minus_exp(x: Floats) -> Floats:
    """Return ln(1 - exp(x)), of 0 -inf, for x <= 0, accurate at both ends. Source: Mächler 2012."""
    with np.errstate(divide="ignore"):
        return np.where(x > -np.log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))
