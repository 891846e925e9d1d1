"""A text as a model is measured on it: what is only read, and what is predicted."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CorpusError, SettingsError, counted
from charrnn.evaluation.config import DynamicConfig
from charrnn.evaluation.score import (
    CharacterScore,
    Evaluation,
    character_scores,
    evaluation,
    symbol_scores,
)
from charrnn.generation.encoding import first_ids
from charrnn.generation.lane_model import LaneModel
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import transformed
from charrnn.text.encoded import encode_text
from charrnn.text.store import Symbols
from charrnn.text.vocabulary import Unknown, Vocabulary, unknown_notices

if TYPE_CHECKING:
    from torch import Tensor

    from charrnn.model.language_model import LanguageModel

Progress = Callable[[int, int], None]


def check_context(context: int | None) -> None:
    """Raise SettingsError for a number of symbols that no fresh state could read."""
    if context is not None and context < 1:
        raise SettingsError(f"`context={context}`: must be at least 1")


@dataclass(frozen=True)
class ScoredText:
    """Symbols, of which the first `read` are context, not scored. least: the characters needed."""

    symbols: Symbols
    read: int
    vocabulary: Vocabulary
    least: int = 2

    @staticmethod
    def of_symbols(symbols: Symbols, vocabulary: Vocabulary) -> "ScoredText":
        """Take encoded text, whose first character is read, not predicted."""
        first = symbols[:4].tolist()
        read = min(len(first), 1)
        if vocabulary.unit == "byte":  # all bytes of that character
            read = next(
                (i for i, byte in enumerate(first) if i and byte & 0xC0 != 0x80), len(first)
            )
        return ScoredText(symbols, read, vocabulary)

    @staticmethod
    def of_text(
        text: str,
        vocabulary: Vocabulary,
        config: CorpusConfig,
        unknown: Unknown,
        notice: Callable[[str], None] = lambda _: None,
    ) -> "ScoredText":
        """Encode a text as the model's corpus was.

        If the model learned documents, the end of another one is read first, and every character
        of the text is predicted. notice: called if characters are skipped or replaced.
        Raises UnknownCharacterError.
        """
        text, end = transformed(text, config), config.document_end
        lead = first_ids(vocabulary, end) if end else []
        symbols = encode_text(text, vocabulary, end, unknown, lead=lead)
        for message in unknown_notices(vocabulary, text, unknown):
            notice(message)
        if lead:
            return ScoredText(symbols, len(lead), vocabulary, least=1)
        return ScoredText.of_symbols(symbols, vocabulary)

    def check_length(self) -> None:
        """Raise CorpusError if there is nothing to predict."""
        if len(self.symbols) <= self.read:
            raise CorpusError(
                f"a text of at least {counted(self.least, 'character')} that the model knows is "
                "needed"
            )

    def notices(self) -> list[str]:
        """Say how many characters are scored, if that is not all of them."""
        if self.least == 1:
            return []
        total = sum(map(self.vocabulary.count_characters, self.symbols.blocks()))
        return [f"{total - 1:,} of {total:,} characters scored; the first is read, not predicted"]

    def scores(
        self, model: LaneModel[Any], context: int | None, on_progress: Progress
    ) -> Iterator[NDArray[np.float64]]:
        """Yield ln p of the predicted symbols, some at a time."""
        skipped = self.read - 1
        for block in symbol_scores(model, self.symbols, context=context, on_progress=on_progress):
            yield block[skipped:]
            skipped = max(skipped - len(block), 0)

    def characters(
        self, model: LaneModel[Any], context: int | None, on_progress: Progress
    ) -> Iterator[CharacterScore]:
        """Yield the predicted characters with their scores."""
        scores = self.scores(model, context, on_progress)
        return character_scores(self._predicted, self.vocabulary, scores)

    def evaluation(
        self, model: LaneModel[Any], context: int | None, on_progress: Progress
    ) -> Evaluation:
        """Return the figures of the predicted characters: the sum of their scores."""
        scores = self.scores(model, context, on_progress)
        total = math.fsum(float(block.sum()) for block in scores)
        return evaluation(total, self._predicted, self.vocabulary)

    def dynamic_evaluation(
        self,
        model: "LanguageModel",
        rms: "list[Tensor]",
        config: DynamicConfig,
        on_progress: Progress,
    ) -> Evaluation:
        """Return the figures of a model that learns from the text as it reads it.

        rms: see `charrnn.evaluation.dynamic.gradient_rms`.
        """
        from charrnn.evaluation.dynamic import dynamic_nats

        done = 0

        def report(predicted: int) -> None:
            nonlocal done
            done += predicted
            on_progress(done, len(self.symbols) - 1)

        nats = dynamic_nats(model, self.symbols, rms, config, report, uncounted=self.read - 1)
        return evaluation(-nats, self._predicted, self.vocabulary)

    @property
    def _predicted(self) -> Symbols:
        return self.symbols.cut(self.read, len(self.symbols))
