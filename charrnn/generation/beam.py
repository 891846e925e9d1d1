"""Beam search: the most probable texts, or groups of probable texts that differ."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.generation import stochastic_beam
from charrnn.generation.frontier import (
    Constraints,
    End,
    Floats,
    Frontier,
    Step,
    StopReason,
    largest,
)
from charrnn.generation.lane_model import LaneModel, S
from charrnn.generation.request import BeamConfig, SamplingConfig
from charrnn.text.vocabulary import Ids


@dataclass(frozen=True)
class Hypothesis:
    """A text that a search found.

    ids: what follows the prompt, with the ids of a stop. log_probability: natural log, at
    temperature 1, whatever was banned. score: what the search ranked it by. stop_reason: "banned"
    if every symbol that could follow is banned.
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
    constraints: Constraints,
    *,
    rng: np.random.Generator,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Hypothesis]:
    """Return the beams.num_return_sequences best texts after a prompt, the best first.

    prompt: ids to read first, at least one. rng: used only for beams.beam_sampling, at temperatures
    above 0. clock: in seconds, for config.max_seconds. on_progress: called after each step with the
    number of symbols so far, and config.length.

    `most_probable` and stochastic_beam.sample define the best texts and their scores. If fewer
    texts are possible, fewer are returned; of length 0 there is one. If the time runs out,
    unfinished texts count as ended, and so do texts that no symbol may follow if there are no
    others.
    Raises GenerationError if the logits are not finite.
    """
    frontier = Frontier(stepper, prompt, config, constraints, clock=clock, on_progress=on_progress)
    if beams.beam_sampling:
        ends = stochastic_beam.sample(frontier, config, beams.num_beams, rng)
    else:
        ends = most_probable(frontier, beams)
    return [
        Hypothesis(frontier.ids(end), end.log_p, end.score, end.stop_reason)
        for end in ends[: beams.num_return_sequences]
    ]


def most_probable(frontier: Frontier[S], beams: BeamConfig) -> list[End]:
    """Search for the most probable texts, up to num_beams, in groups that search separately.

    From all texts that are one symbol longer, each step keeps the num_beams with the largest
    scores, which are sums of log-probabilities; in a tie, those of the better beam, then the lower
    id. Those that complete a stop have ended, and the next best take their places. Ended texts are
    ranked by score / length^length_penalty, and the best num_beams are kept. The beams of the last
    step count as ended. The search stops earlier

    - with early_stopping: once num_beams texts have ended,
    - without: once num_beams texts have ended that no beam outranks, ranked as if it ended now.
      With length_penalty <= 0 no beam could do so later, because a longer text never scores higher.
      Above 0 its rank may still rise, so a better text may be missed. transformers does the same.

    One beam is greedy search; as many beams as there are texts are exhaustive search. In between,
    more beams usually find a better text, but not always.

    Diverse beam search: num_beam_groups groups of equal size take turns within each step. A symbol
    costs diversity_penalty for each time that an earlier group chose it in the same step, to
    continue with or to complete a stop. The cost stays in the score, as in the authors' program and
    in transformers, so later groups rank lower; log-probabilities do not include it. Two groups may
    find the same text.
    Source: Vijayakumar et al. 2016 (arXiv:1610.02424), Algorithm 1.
    """
    groups = [Group(beams) for _ in range(beams.num_beam_groups)]
    for step in frontier.steps():
        chosen = np.zeros(step.log_p.shape[1])
        choices = [group.choose(frontier, step, chosen) for group in groups]
        lanes, ids = choices[0]
        if len(choices) > 1:
            lanes, ids = (np.concatenate(part) for part in zip(*choices, strict=True))
        frontier.extend(lanes, ids, step)
        first = 0
        for group in groups:
            group.lanes = np.arange(first, first + len(group.scores))
            first += len(group.scores)
    for group in groups:
        group.close(frontier, frontier.stop_reason)
    return sorted((end for group in groups for end in group.ended), key=lambda end: -end.score)


class Group:
    """Beams that compete with each other, and their best texts that have ended.

    lanes: the places of its beams in the frontier, the best first. scores: what they are chosen by.
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
        """Choose the next beams, set their scores, and return their lanes and ids.

        chosen: how often earlier groups chose each id in this step, (V,); this group's choices are
        added.
        """
        if not len(self.lanes):
            return self.lanes, self.lanes
        gains = step.log_p.take(self.lanes, axis=0)
        if self._beams.diversity_penalty:
            gains -= self._beams.diversity_penalty * chosen
        # Relative to the best beam: the sum of a long text would round small differences away.
        choice = (self.scores - self.scores.max())[:, None] + gains
        best = largest(choice, self._width)
        if frontier.may_stop:
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
        if self._beams.diversity_penalty:
            np.add.at(chosen, ids, 1)
        return lanes, ids

    def close(self, frontier: Frontier[Any], stop_reason: StopReason) -> None:
        """End its beams as they are."""
        ranks = self._rank(self.scores, frontier.length)
        self._keep(frontier.unfinished(self.lanes, ranks, stop_reason))

    def _longer(self, places: Ids, gains: Floats) -> tuple[Ids, Ids, Floats]:
        """Return the lanes, ids and scores of the texts at flat indices of gains, (K, V)."""
        beams, ids = np.divmod(places, gains.shape[1])
        return self.lanes[beams], ids, self.scores[beams] + gains[beams, ids]

    def _decided(self, frontier: Frontier[Any]) -> bool:
        """Return whether the beams just chosen need not continue."""
        if len(self.ended) < self._width or not len(self.scores):
            return False
        best = self._rank(self.scores, frontier.length + 1).max()
        early = self._beams.early_stopping and not frontier.in_last_step
        return early or bool(best <= self.ended[-1].score)

    def _keep(self, ends: list[End]) -> None:
        """Add ended texts, and keep the best; in a tie, those that ended first."""
        self.ended = sorted(self.ended + ends, key=lambda end: -end.score)[: self._width]

    def _rank(self, scores: Floats, length: int) -> Floats:
        """Return what texts of this length are ranked by."""
        ranks: Floats = scores / max(length, 1) ** self._beams.length_penalty
        return ranks
