"""A corpus as ids, and its split into a training and a validation part."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.vocabulary import (
    BYTES,
    Ids,
    Vocabulary,
    build_vocabulary,
    code_points,
    kept_characters,
    smallest_dtype,
)

MIN_TRAIN = 10  # characters below which there is nothing to learn
MIN_VAL = 2  # one character to read and one to predict
CODE_POINTS = 0x110000


@dataclass(frozen=True)
class EncodedCorpus:
    """A corpus as ids of the smallest unsigned type that holds them.

    train: (N,), the part that is learned. val: (M,), the part held out; (0,) where there is none.
    sha256: of the whole text, the validation text included: what a resumed run compares.
    """

    name: str
    sources: tuple[str, ...]
    vocabulary: Vocabulary
    train: Ids
    val: Ids
    characters: int
    sha256: str


@dataclass
class _Census:
    """What one pass over a text finds."""

    counts: npt.NDArray[np.int64]
    characters: int
    sha256: str


def encode_corpus(
    sources: tuple[str, ...], config: CorpusConfig, base: Vocabulary | None = None
) -> EncodedCorpus:
    """Read a corpus twice, once to count its characters and once to encode and split it.

    base: a vocabulary to keep; characters new to it are added behind its own.
    Raises CorpusError for a text that cannot be read or is too short to learn from.
    """
    corpus = open_corpus(sources, keep_newlines=config.keep_newlines)
    texts = [corpus]
    if config.val_text is not None:
        texts.append(_validation_corpus(config.val_text, config.keep_newlines))
    surveys = [_survey(text) for text in texts]
    vocabulary = _vocabulary([s.counts for s in surveys], config, base)
    encoded = [_encode(text, vocabulary) for text in texts]
    if len(encoded) == 1:
        train, val = split(encoded[0], vocabulary, config.val_fraction)
    else:
        train, val = encoded
    _check_length(corpus.name, train, val, config, vocabulary)
    return EncodedCorpus(
        name=corpus.name,
        sources=corpus.sources,
        vocabulary=vocabulary,
        train=train,
        val=val,
        characters=surveys[0].characters,
        sha256=hashlib.sha256("".join(s.sha256 for s in surveys).encode()).hexdigest(),
    )


def split(ids: Ids, vocabulary: Vocabulary, val_fraction: float) -> tuple[Ids, Ids]:
    """Cut the last val_fraction of a text off for validation, never within a character.

    The validation part has at least MIN_VAL characters, or none where val_fraction is 0.
    """
    if val_fraction == 0:
        return ids, ids[:0]
    cut = min(int(len(ids) * (1 - val_fraction)), max(len(ids) - MIN_VAL, 0))
    if vocabulary.unit == "byte":
        while 0 < cut < len(ids) and ids[cut] & 0xC0 == 0x80:
            cut -= 1
    return ids[:cut], ids[cut:]


def _validation_corpus(source: str, keep_newlines: bool) -> Corpus:
    if not Path(source).is_file():
        raise CorpusError(f"--val-text {source}: there is no such file")
    return open_corpus((source,), keep_newlines=keep_newlines)


def _survey(corpus: Corpus) -> _Census:
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    digest = hashlib.sha256()
    for block in corpus.blocks():
        codes = code_points(block)
        found = np.bincount(codes)
        counts[: len(found)] += found
        digest.update(block.encode())
    return _Census(counts, int(counts.sum()), digest.hexdigest())


def _vocabulary(
    counts: list[npt.NDArray[np.int64]], config: CorpusConfig, base: Vocabulary | None
) -> Vocabulary:
    if config.unit == "byte":
        return BYTES
    total = np.sum(counts, axis=0)
    if base is None:
        return build_vocabulary(total, config.min_count)
    kept, folded = kept_characters(total, config.min_count)
    known = set(base.symbols)
    # A rare character that the base knows keeps its id; only new rare ones need the symbol.
    folded = folded and any(
        chr(code) not in known for code in np.flatnonzero((total > 0) & (total < config.min_count))
    )
    return base.extended(kept + (("",) if folded else ()))


def _encode(corpus: Corpus, vocabulary: Vocabulary) -> Ids:
    dtype = smallest_dtype(len(vocabulary))
    blocks = [_fold(ids, vocabulary).astype(dtype) for ids in _lookups(corpus, vocabulary)]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype)


def _lookups(corpus: Corpus, vocabulary: Vocabulary) -> Iterator[npt.NDArray[np.int32]]:
    for block in corpus.blocks():
        yield vocabulary.lookup(block)


def _fold(ids: npt.NDArray[np.int32], vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
    if vocabulary.unknown is not None:
        ids[ids < 0] = vocabulary.unknown
    if np.any(ids < 0):
        raise CorpusError(
            "the corpus changed while it was read; wait until it is written, try again"
        )
    return ids


def _check_length(
    name: str, train: Ids, val: Ids, config: CorpusConfig, vocabulary: Vocabulary
) -> None:
    validated = config.val_fraction > 0 or config.val_text is not None
    found = vocabulary.count_characters(train)
    if found < MIN_TRAIN:
        raise CorpusError(
            f"{name}: {found:,} characters are left to train on after {len(val):,} for validation; "
            f"at least {MIN_TRAIN} are needed. Give a longer text"
        )
    if validated and len(val) < MIN_VAL:
        raise CorpusError(
            f"{name}: the validation text has {len(val):,} characters; "
            f"at least {MIN_VAL} are needed. Give a longer one, or --val-fraction 0 for none"
        )
