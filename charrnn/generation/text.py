"""Sampled text as an iterator of pieces."""

from collections.abc import Iterator

import numpy as np

from charrnn.generation.config import SamplingConfig
from charrnn.generation.sampling import stream
from charrnn.generation.stepper import Stepper
from charrnn.text.vocabulary import Unknown, Vocabulary


class Generation(Iterator[str]):
    """Text as a model writes it, piece by piece: a character at a time, or what bytes complete.

    log_probability: natural log of what was written so far, under the model at temperature 1.
    characters: how many were written so far. stop_reason: "length", None before the end.
    """

    def __init__(
        self,
        stepper: Stepper,
        vocabulary: Vocabulary,
        config: SamplingConfig,
        prompt: str = "",
        unknown: Unknown = "error",
    ) -> None:
        """Prepare to write config.length characters after a prompt.

        config.seed None draws a new seed; the one in use is the attribute `seed`.
        Raises UnknownCharacterError for a prompt that the model cannot read, see Vocabulary.encode.
        """
        seed = np.random.SeedSequence().generate_state(1)[0] if config.seed is None else config.seed
        self.config = config
        self.prompt = prompt
        self.seed = int(seed)
        self.log_probability = 0.0
        self.characters = 0
        self.stop_reason: str | None = None
        self._decode = vocabulary.decoder()
        self._symbols = stream(
            stepper,
            vocabulary,
            vocabulary.encode(prompt, unknown),
            config.temperature,
            np.random.default_rng(self.seed),
        )

    def __next__(self) -> str:
        """Return the next piece, never empty."""
        left = self.config.length - self.characters
        if left <= 0:
            self.stop_reason = "length"
            raise StopIteration
        piece = ""
        while not piece:
            id_, log_p = next(self._symbols)
            self.log_probability += log_p
            piece = self._decode(id_)
        piece = piece[:left]  # bytes that are not UTF-8 can end several characters at once
        self.characters += len(piece)
        return piece
