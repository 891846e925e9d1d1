"""Beam search from a prompt to texts."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.errors import SettingsError
from charrnn.generation.beam import search
from charrnn.generation.config import BeamConfig, SamplingConfig
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.sampling import new_seed
from charrnn.generation.texts import Start, bits_per_char
from charrnn.model.config import ModelConfig

MAX_BYTES = 2 * 2**30  # of memory for the beams of a search


@dataclass(frozen=True)
class Beam:
    """A text that beam search found.

    prompt, stop_reason: see text.Generation. text: what follows the prompt.
    log_probability: natural log of it, an ending included, under the model at temperature 1.
    bits_per_char: the same for each character; None for no text. score: what it was ranked by.
    seed: what stochastic beams were drawn with.
    """

    prompt: str
    text: str
    log_probability: float
    bits_per_char: float | None
    score: float
    seed: int
    stop_reason: str

    @property
    def characters(self) -> int:
        """How many were written."""
        return len(self.text)

    def __iter__(self) -> Iterator[str]:
        """Yield the text, in a piece."""
        return iter([self.text] if self.text else [])


def search_text(
    stepper: LaneModel[Any],
    start: Start,
    config: SamplingConfig,
    beams: BeamConfig,
    *,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Beam]:
    """Search for the most probable texts, the best first; see beam.search.

    on_progress: called after each step with the symbols done and in all.
    """
    seed = new_seed() if config.seed is None else config.seed
    found = search(
        stepper,
        start.ids,
        config,
        beams,
        history=start.prompt_ids,
        stops=[ids for _, ids, _ in start.endings],
        never=start.never,
        banned=start.banned.tolist(),
        rng=np.random.default_rng(seed),
        clock=clock,
        on_progress=on_progress,
    )
    texts = []
    for one in found:
        # Of bytes that end within a character, what is whole.
        drawn = "".join(map(start.vocabulary.decoder(), one.ids))
        text, reason = _cut(start, config, drawn, one.stop_reason)
        bits = bits_per_char(one.log_probability, len(drawn))
        beam = Beam(start.prompt, text, one.log_probability, bits, one.score, seed, reason)
        texts.append(beam)
    return texts


def _cut(start: Start, config: SamplingConfig, text: str, reason: str) -> tuple[str, str]:
    """Return a text without the ending that it stops with, and the reason why it does."""
    if reason == "stop":
        whole = start.read + text
        for ending, _, kind in start.endings:
            if whole.endswith(ending):
                written = kind == "stop" and config.include_stop
                return text if written else text[: max(len(text) - len(ending), 0)], kind
    return text, reason


def check_memory(
    model: ModelConfig, vocabulary_size: int, config: SamplingConfig, beams: int
) -> None:
    """Raise SettingsError for more beams than fit into MAX_BYTES."""
    # A beam has about 16 numbers for each unit, and a few of 8 bytes for each symbol; for each
    # character it keeps where it came from, and an n-gram if these are looked at.
    lane = 64 * model.num_layers * model.hidden_size + 64 * vocabulary_size
    lane += config.length * (200 if config.no_repeat_ngram_size else 6)
    if beams * lane > MAX_BYTES:
        raise SettingsError(
            f"`num_beams={beams:,}`: needs about {beams * lane / 2**30:.1f} GiB of memory; "
            f"for this model and `length` at most {MAX_BYTES // lane:,}"
        )
