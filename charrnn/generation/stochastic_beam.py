"""Stochastic beam search: texts sampled without replacement.

Source: Kool, van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them"
(arXiv:1903.06059).
"""

from typing import Any

import numpy as np

from charrnn.generation.draws import COLDEST
from charrnn.generation.filters import filtered, log_softmax
from charrnn.generation.frontier import End, Floats, Frontier, largest
from charrnn.generation.lane_model import S
from charrnn.generation.request import SamplingConfig


def sample(
    frontier: Frontier[S], config: SamplingConfig, size: int, rng: np.random.Generator
) -> list[End]:
    """Draw up to `size` different texts, in the order of a draw without replacement.

    The first is drawn as sampling draws a text, with the temperature and filters of config, and
    each further one in the same way from the texts that are left. All are drawn in one pass
    (Algorithm 1): the log-probability phi of each text is perturbed by its own Gumbel noise, and
    the texts with the largest sums, their scores, are kept. This works from the first symbol on:
    the largest sum among all texts with a common beginning is a Gumbel located at the phi of that
    beginning, so it can be drawn before the texts are. An ended text keeps its sum, and its place
    until `size` others have larger ones.

    The probability of symbols that must not come goes to those that may. A text that nothing may
    follow is dropped; if that happens to all before any has ended, they end as they are.
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
        frontier.extend(lanes[~stops], ids[~stops], step)
    ends += frontier.unfinished(np.arange(len(phi)), perturbed, frontier.stop_reason)
    return sorted(ends, key=lambda end: -end.score)


def drawn_from(log_p: Floats, config: SamplingConfig, position: int) -> Floats:
    """Return the log-probabilities that symbols are drawn with, (B, V), given the model's own."""
    filters: dict[str, Any] = config.filters()
    cut = filtered(log_p, temperature=max(config.temperature_at(position), COLDEST), **filters)
    return log_softmax(cut)


def gumbels_below(phi: Floats, greatest: Floats, rng: np.random.Generator) -> Floats:
    """Draw Gumbels with locations phi, (B, V), given the largest one of each row, (B,).

    Appendix B.3 of the paper, where T is `greatest`: unconditional Gumbels G with maximum Z become
    -ln(exp(-T) - exp(-Z) + exp(-G)), computed without overflow.
    A location of -inf gives -inf; each row needs another one.
    """
    g = phi + rng.gumbel(size=phi.shape)
    v = greatest[:, None] - g + log_1_minus_exp(g - g.max(axis=1, keepdims=True))
    below: Floats = greatest[:, None] - np.maximum(v, 0) - np.log1p(np.exp(-np.abs(v)))
    return below


def log_1_minus_exp(x: Floats) -> Floats:
    """Return ln(1 - exp(x)) for x <= 0, accurate at both ends; -inf for 0. Source: Mächler 2012."""
    with np.errstate(divide="ignore"):
        return np.where(x > -np.log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))
