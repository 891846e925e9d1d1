"""Beam search, from a request to texts."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.errors import SettingsError
from charrnn.generation.beam import search
from charrnn.generation.encoding import EncodedRequest
from charrnn.generation.frontier import Constraints
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.request import GenerationRequest
from charrnn.generation.sampling import new_seed
from charrnn.generation.texts import bits_per_char
from charrnn.model.config import ModelConfig

MAX_BYTES = 2 * 2**30  # of memory for the beams of one search


@dataclass(frozen=True)
class Beam:
    """A text that beam search found.

    prompt, stop_reason, ending: see texts.Generation. text: what follows the prompt.
    log_probability: natural log-probability of the text and its ending, at temperature 1.
    bits_per_char: the same in bits per character; None for an empty text. score: what the search
    ranked the text by. seed: what stochastic beams were drawn with.
    """

    prompt: str
    text: str
    log_probability: float
    bits_per_char: float | None
    score: float
    seed: int
    stop_reason: str
    ending: str = ""

    @property
    def characters(self) -> int:
        """The number of characters."""
        return len(self.text)

    def __iter__(self) -> Iterator[str]:
        """Yield the text in one piece, as a Generation yields it in many."""
        return iter([self.text] if self.text else [])


def search_text(
    stepper: LaneModel[Any],
    encoded: EncodedRequest,
    *,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Beam]:
    """Search for the most probable texts of a request; see beam.search. The best comes first.

    An empty text is left out if it does not count, see EncodedRequest.empty_is_no_text.
    on_progress: called after each step with the number of symbols so far, and of all.
    """
    config = encoded.sampling
    seed = new_seed() if config.seed is None else config.seed
    first = encoded.empty_is_no_text
    constraints = Constraints(
        history=encoded.prompt_ids,
        stops=[e.ids for e in encoded.endings if not (first and e.reason == "end")],
        ends=[e.ids for e in encoded.endings if first and e.reason == "end"],
        never=encoded.unknown_ids,
        banned=encoded.banned_ids.tolist(),
    )
    found = search(
        stepper,
        encoded.ids,
        config,
        encoded.request.beams,
        constraints,
        rng=np.random.default_rng(seed),
        clock=clock,
        on_progress=on_progress,
    )
    texts = []
    for one in found:
        # If the bytes end within a character, that character is left out.
        drawn = "".join(map(encoded.vocabulary.decoder(), one.ids))
        text, reason = _without_ending(encoded, drawn, one.stop_reason)
        beam = Beam(
            encoded.request.prompt,
            text,
            one.log_probability,
            bits_per_char(one.log_probability, len(drawn)),
            one.score,
            seed,
            reason,
            ending=drawn[len(text) :],
        )
        texts.append(beam)
    return texts


def _without_ending(encoded: EncodedRequest, text: str, reason: str) -> tuple[str, str]:
    """Return a text without its ending, and the reason why it ended."""
    if reason == "stop":
        whole = encoded.prompt_read + text
        for ending, _, kind in encoded.endings:
            if whole.endswith(ending):
                written = kind == "stop" and encoded.sampling.include_stop
                return text if written else text[: max(len(text) - len(ending), 0)], kind
    return text, reason


def check_memory(model: ModelConfig, vocabulary_size: int, request: GenerationRequest) -> None:
    """Raise SettingsError if the beams of a request need more than MAX_BYTES."""
    # A beam has about 16 numbers for each unit, and a few of 8 bytes for each symbol. For each
    # character it records where it came from, and perhaps an n-gram.
    config, beams = request.sampling, request.beams.num_beams
    one = 64 * model.num_layers * model.hidden_size + 64 * vocabulary_size
    one += 16 * model.attention * (2 * model.attention_size + 1)  # some of it twice, to move it
    one += config.length * (200 if config.no_repeat_ngram_size else 6)
    if beams * one > MAX_BYTES:
        raise SettingsError(
            f"`num_beams={beams:,}`: needs about {beams * one / 2**30:.1f} GiB of memory; "
            f"for this model and `length` use at most {MAX_BYTES // one:,}"
        )
