"""Sampled text as an iterator of pieces."""

from collections.abc import Iterator

import numpy as np

from charrnn.generation.config import SamplingConfig
from charrnn.generation.sampling import start_ids, stream
from charrnn.generation.stepper import Stepper
from charrnn.text.vocabulary import Unknown, Vocabulary


class Generation(Iterator[str]):
    """Text as a model writes it, piece by piece: a character at a time, or what bytes complete.

    log_probability: natural log of what was written so far, under the model at temperature 1.
    characters: how many were written so far. stop_reason: "length", or "end" where the document is
    over; None before.
    """

    def __init__(
        self,
        stepper: Stepper,
        vocabulary: Vocabulary,
        config: SamplingConfig,
        prompt: str = "",
        unknown: Unknown = "error",
        *,
        end: str = "",
    ) -> None:
        """Prepare to write config.length characters after a prompt, or up to `end`.

        end: what ends a document of the model, "" where nothing does; it is not written. A document
        is then begun as in training, where what ended the one before is read first.
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
        self._end = end
        self._held = ""  # the beginning of an end, perhaps
        self._remember(prompt)
        self._decode = vocabulary.decoder()
        ids = vocabulary.encode(prompt, unknown)
        if end or not len(ids):
            ids = np.concatenate([start_ids(vocabulary, end), ids])
        self._symbols = stream(
            stepper,
            vocabulary,
            ids,
            config.temperature,
            np.random.default_rng(self.seed),
        )

    def __next__(self) -> str:
        """Return the next piece, never empty."""
        while self.stop_reason is None:
            left = self.config.length - self.characters
            if left <= len(self._held):
                self.stop_reason = "length"
                return self._written(self._held[:left])
            id_, log_p = next(self._symbols)
            self.log_probability += log_p
            self._held += self._decode(id_)
            text = self._before + self._held
            if self._end and text.endswith(self._end):
                self.stop_reason = "end"
                return self._written(self._held[: max(len(self._held) - len(self._end), 0)])
            piece = self._held[: max(len(self._held) - self._may_be_end(text), 0)][:left]
            if piece:
                self._held = self._held[len(piece) :]
                self._remember(self._before + piece)
                return self._written(piece)
        raise StopIteration

    def _written(self, piece: str) -> str:
        """Count a piece; an empty one, which can only be the last, is not shown."""
        self.characters += len(piece)
        if not piece:
            raise StopIteration
        return piece

    def _remember(self, text: str) -> None:
        """Keep of what was read and written what may be the beginning of an end."""
        self._before = text[max(len(text) - max(len(self._end) - 1, 0), 0) :]

    def _may_be_end(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of the end."""
        longest = min(len(text), len(self._end) - 1)
        return next((n for n in range(longest, 0, -1) if self._end.startswith(text[-n:])), 0)
