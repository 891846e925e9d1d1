"""Beam search: the most probable texts, or groups of probable texts that differ."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.errors import SettingsError
from charrnn.generation import stochastic_beam
from charrnn.generation.config import BeamConfig, SamplingConfig
from charrnn.generation.frontier import End, Floats, Frontier, Step, StopReason, largest
from charrnn.generation.lane_model import LaneModel, S
from charrnn.text.vocabulary import Ids


@dataclass(frozen=True)
class Hypothesis:
    """A text that a search found.

    ids: what follows the prompt, the ids of a stop included.
    log_probability: natural log, under the model at temperature 1, whatever was banned.
    score: what the search ranked it by.
    stop_reason: "banned" where every symbol that could follow is banned.
    """

    ids: tuple[int, ...]
    log_probability: float
    score: float
    stop_reason: StopReason


def search(
    stepper: LaneModel[S],
    prompt: Sequence[int] | Ids,
    config: SamplingConfig,
    beams: BeamConfig,
    *,
    history: Sequence[int] | Ids | None = None,
    stops: Sequence[Sequence[int]] = (),
    never: Sequence[int] = (),
    banned: Sequence[int] = (),
    rng: np.random.Generator,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Hypothesis]:
    """Return the beams.num_return_sequences best texts behind a prompt, the best first.

    prompt: ids to read first, at least one. history: those of them that stops and n-grams may begin
    in; None for all. never: ids that do not exist for the search, the
    unknown symbol. banned: ids that do not come, though the model gives them probability.
    stops: ids that end a text which ends with them; they may begin in the prompt. None comes before
    config.min_length symbols, for which the id that would complete it is banned.
    rng: used by beams.beam_sampling alone. clock: in seconds, for config.max_seconds.
    on_progress: called after each step with the symbols done and config.length.

    Which texts are best and what their scores are: `most_probable` and stochastic_beam.sample.
    There are fewer texts where fewer are possible; of length 0 there is one. Texts that are
    unfinished when the time is over count as ended. So do those that no symbol may follow, if there
    is no other text.
    Raises GenerationError where the logits are not finite numbers, and SettingsError for
    beams.beam_sampling at temperature 0.
    """
    if beams.beam_sampling and 0 in config.temperatures():
        raise SettingsError(
            "`beam_sampling` needs a temperature above 0: at 0 there is only one text to draw; "
            "pass `temperature=1`, or leave `beam_sampling` out"
        )
    frontier = Frontier(
        stepper,
        prompt,
        config,
        history=history,
        stops=stops,
        never=never,
        banned=banned,
        clock=clock,
        on_progress=on_progress,
    )
    if beams.beam_sampling:
        ends = stochastic_beam.sample(frontier, config, beams.num_beams, rng)
    else:
        ends = most_probable(frontier, beams)
    return [
        Hypothesis(frontier.ids(end), end.log_p, end.score, end.stop_reason)
        for end in ends[: beams.num_return_sequences]
    ]


def most_probable(frontier: Frontier[S], beams: BeamConfig) -> list[End]:
    """Search for the most probable texts, up to num_beams, in groups that search on their own.

    Of all texts a symbol longer, each step goes on with the num_beams that have the greatest
    scores, sums of log-probabilities; of equals with those of the better beam, then of the lower
    id. Those among them that complete a stop have ended, and the next best take their places.
    Ended texts are ranked by score / length^length_penalty, and the best num_beams are kept. The
    beams of the last step count as ended. The search is over before

    - with early_stopping: when num_beams texts have ended,
    - else: when num_beams texts have ended that no beam outranks, ranked as if it ended now.
      With length_penalty <= 0 no beam could, for a text only falls as it grows; above 0 it may
      rise again, and a better text may be missed. This is what transformers does.

    One beam is greedy, as many as there are texts are exhaustive. In between more beams mostly find
    a better text, but need not.

    Diverse beam search: num_beam_groups groups of equally many beams, one after the other in each
    step. A symbol costs diversity_penalty for each time that a group before chose it in the same
    step, to go on with or to complete a stop. The cost stays in the score, as in the authors'
    program and in transformers, so later groups rank lower; the log-probability is without it.
    Two groups may find the same text.
    Source: Vijayakumar et al. 2016 (arXiv:1610.02424), Algorithm 1.
    """
    groups = [Group(beams) for _ in range(beams.num_beam_groups)]
    for step in frontier.steps():
        chosen = np.zeros(step.log_p.shape[1])
        choices = [group.choose(frontier, step, chosen) for group in groups]
        lanes, ids = (np.concatenate(part) for part in zip(*choices, strict=True))
        frontier.widen(lanes, ids, step)
        first = 0
        for group in groups:
            group.lanes = np.arange(first, first + len(group.scores))
            first += len(group.scores)
    for group in groups:
        group.close(frontier, frontier.stop_reason)
    return sorted((end for group in groups for end in group.ended), key=lambda end: -end.score)


class Group:
    """Beams that compete with each other, and the best texts that ended among them.

    lanes: where its beams are in the frontier, the best first. scores: what they are chosen by.
    ended: the best first.
    """

    def __init__(self, beams: BeamConfig) -> None:
        """Begin with one beam, in lane 0."""
        self.lanes: Ids = np.zeros(1, np.intp)
        self.scores = np.zeros(1)
        self.ended: list[End] = []
        self._beams = beams
        self._width = beams.num_beams // beams.num_beam_groups

    def choose(self, frontier: Frontier[Any], step: Step, chosen: Floats) -> tuple[Ids, Ids]:
        """Choose the next beams, give them scores, and return their lanes and ids.

        chosen: how often the groups before chose each id in this step, (V,); what this one chooses
        is added.
        """
        if not len(self.lanes):
            return self.lanes, self.lanes
        gains = step.log_p[self.lanes] - self._beams.diversity_penalty * chosen
        # Relative to the best beam, lest small differences are lost beside the sum of a long text.
        choice = (self.scores - self.scores.max())[:, None] + gains
        best = largest(choice, self._width)
        stopping = step.stopping[self.lanes]
        stops = stopping.ravel()[best]
        if stops.any():
            lanes, ids, scores = self._longer(best[stops], gains)
            ranks = self._rank(scores, frontier.length + 1)
            self._keep(frontier.stopped(lanes, ids, ranks, step))
            np.add.at(chosen, ids, 1)
            choice[stopping] = -np.inf
            best = largest(choice, self._width)
        if not len(best) and not self.ended:
            self.close(frontier, "banned")
        lanes, ids, self.scores = self._longer(best, gains)
        if self._decided(frontier):
            lanes, ids, self.scores = lanes[:0], ids[:0], self.scores[:0]
        np.add.at(chosen, ids, 1)
        return lanes, ids

    def close(self, frontier: Frontier[Any], stop_reason: StopReason) -> None:
        """End its beams as they are."""
        ranks = self._rank(self.scores, frontier.length)
        self._keep(frontier.unfinished(self.lanes, ranks, stop_reason))

    def _longer(self, places: Ids, gains: Floats) -> tuple[Ids, Ids, Floats]:
        """Return the lanes, ids and scores of texts at some places of flattened gains, (K, V)."""
        beams, ids = np.divmod(places, gains.shape[1])
        return self.lanes[beams], ids, self.scores[beams] + gains[beams, ids]

    def _decided(self, frontier: Frontier[Any]) -> bool:
        """Return whether the beams just chosen need not go on."""
        if len(self.ended) < self._width or not len(self.scores):
            return False
        best = self._rank(self.scores, frontier.length + 1).max()
        early = self._beams.early_stopping and not frontier.in_last_step
        return early or bool(best <= self.ended[-1].score)

    def _keep(self, ends: list[End]) -> None:
        """Add ended texts, and keep the best; of equals those that ended first."""
        self.ended = sorted(self.ended + ends, key=lambda end: -end.score)[: self._width]

    def _rank(self, scores: Floats, length: int) -> Floats:
        """Return what texts of a length are ranked by."""
        ranks: Floats = scores / max(length, 1) ** self._beams.length_penalty
        return ranks
