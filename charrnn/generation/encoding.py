"""A request in the ids of a vocabulary: what sampling and beam search start from."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError
from charrnn.generation.characters import matching, stop_ids
from charrnn.generation.request import GenerationRequest, SamplingConfig
from charrnn.text.vocabulary import Ids, Vocabulary

# What is read first if there is no prompt and no document end: a text begins as a line does.
FIRST_READ = ("\n", " ")


class Ending(NamedTuple):
    """A text that ends a generated text.

    reason: "end" for the end of a document, "stop" for a stop text.
    """

    text: str
    ids: list[int]
    reason: Literal["end", "stop"]


@dataclass(frozen=True)
class EncodedRequest:
    """A request in the ids of a vocabulary.

    ids: what the model reads first, (T,), at least one. lead: how many of them come before the
    prompt. endings: the longest first. unknown_ids: the id of the unknown symbol, or none; a text
    never has it. banned_ids: all that may not be drawn, unknown_ids included.
    """

    request: GenerationRequest
    vocabulary: Vocabulary
    ids: Ids
    lead: int
    endings: tuple[Ending, ...]
    unknown_ids: tuple[int, ...]
    banned_ids: NDArray[np.intp]

    @property
    def sampling(self) -> SamplingConfig:
        """The settings of sampling."""
        return self.request.sampling

    @property
    def prompt_ids(self) -> Ids:
        """The ids of the prompt. Endings and n-grams may begin in them, but not before."""
        return self.ids[self.lead :]

    @cached_property
    def prompt_read(self) -> str:
        """The prompt as the model reads it: unknown characters are skipped or replaced."""
        return self.vocabulary.decode(self.prompt_ids.tolist())

    @property
    def empty_is_no_text(self) -> bool:
        """Whether an empty text does not count: no prompt, and the model may end a document.

        Training leaves empty documents out, so one that is generated is not a sample.
        """
        return not self.request.prompt and any(e.reason == "end" for e in self.endings)


def encode_request(
    request: GenerationRequest, vocabulary: Vocabulary, document_end: str = ""
) -> EncodedRequest:
    """Encode a prompt, and the settings whose meaning depends on the vocabulary.

    document_end: what ends a document of the model, "" for none. A document then begins as in
    training, where the end of the document before it is read first.
    Raises UnknownCharacterError for a prompt that the model cannot read, see Vocabulary.encode, and
    SettingsError for stop texts that cannot occur and settings that leave no character to write.
    """
    sampling = request.sampling
    ids = vocabulary.encode(request.prompt, request.unknown)
    lead = first_ids(vocabulary, document_end) if document_end or not len(ids) else []
    ends = []
    if document_end and sampling.stop_at_end:
        ends = [Ending(document_end, vocabulary.encode(document_end).tolist(), "end")]
    unknown = () if vocabulary.unknown is None else (vocabulary.unknown,)
    banned = _banned(vocabulary, sampling, ends) | set(unknown)
    if len(banned) == len(vocabulary):
        raise SettingsError("`ban` and `only` leave no character to write; ban fewer")
    banned_ids = np.array(sorted(banned), dtype=np.intp)
    stops = [Ending(s, stop_ids(vocabulary, s, banned_ids), "stop") for s in sampling.stop]
    # If two end at the same place, the longer one began earlier.
    endings = sorted([*stops, *ends], key=lambda ending: -len(ending.text))
    read = np.concatenate([np.array(lead, dtype=ids.dtype), ids])
    return EncodedRequest(request, vocabulary, read, len(lead), tuple(endings), unknown, banned_ids)


def first_ids(vocabulary: Vocabulary, document_end: str = "") -> list[int]:
    """Return what a model reads before the first character of a text: one id.

    It is the last symbol of a document's end, else the first of FIRST_READ that is known, else 0.
    """
    if vocabulary.unit == "byte" and document_end:
        return [document_end.encode()[-1]]
    candidates = (document_end[-1:], *FIRST_READ)
    known = (vocabulary.symbols.index(s) for s in candidates if s and s in vocabulary.symbols)
    return [next(known, 0)]


def _banned(vocabulary: Vocabulary, sampling: SamplingConfig, ends: Sequence[Ending]) -> set[int]:
    """Return the ids that `ban` and `only` rule out."""
    banned: set[int] = set()
    if sampling.ban:
        banned |= set(matching(vocabulary, "ban", sampling.ban).tolist())
    if sampling.only:
        kept = set(matching(vocabulary, "only", sampling.only).tolist())
        kept |= set(itertools.chain(*(end.ids for end in ends)))  # or no document would ever end
        banned |= set(range(len(vocabulary))) - kept
    return banned
