"""The encoded corpus: ids from the cache, a vocabulary, and the split into two parts."""

import functools
import shutil
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError, counted
from charrnn.text.cache import Cache, writable_cache
from charrnn.text.config import CorpusConfig
from charrnn.text.entries import (
    Files,
    OpenEntry,
    Progress,
    find_or_build,
    open_entry,
    stored_settings,
)
from charrnn.text.sources import Found, NamedCorpora, find_files
from charrnn.text.store import CODE_POINTS, StoredCorpus, StoredIds, Symbols
from charrnn.text.streams import Budget
from charrnn.text.vocabulary import Unknown, Vocabulary, folded_notices, vocabulary_of

MIN_TRAIN = 10  # characters; fewer than this teach nothing
MIN_VAL = 2  # one character to read and one to predict


@dataclass(frozen=True)
class EncodedCorpus:
    """A corpus as ids, split into two parts.

    train, val: the part to train on and the part held out; val may be empty.
    counts: how often each code point, or each byte, occurs in both parts, (0x110000,).
    characters, documents: of the corpus and of the validation text, if there is one.
    sha256: of everything that is trained and validated on; a resumed run compares it.
    notices: messages for the user.
    """

    name: str
    sources: tuple[str, ...]
    vocabulary: Vocabulary
    train: Symbols
    val: Symbols
    counts: npt.NDArray[np.int64]
    characters: int
    documents: int
    sha256: str
    notices: tuple[str, ...]


def encode_corpus(
    sources: tuple[str, ...],
    config: CorpusConfig,
    catalog: NamedCorpora,
    base: Vocabulary | None = None,
    *,
    cache_dir: Path | None = None,
    recorded: bool = False,
    on_progress: Progress = lambda _what, _done, _total: None,
) -> EncodedCorpus:
    """Find a corpus in the cache, or encode it in one streaming pass; then split it.

    catalog: the corpora that have a name.
    base: a vocabulary to keep; characters that are new to it are appended.
    cache_dir: the folder of the cache; by default the user's cache folder.
    recorded: whether the sources are those that a run recorded, see `find_files`.
    Raises CorpusError if a text cannot be read or has too many distinct characters.
    """
    with writable_cache(cache_dir) as (cache, workspace, problem):
        try:
            find = functools.partial(
                find_files, config=config, catalog=catalog, workspace=workspace, recorded=recorded
            )
            found = find(sources)
            parts = found.files, _validation_files(config.val_text, find)
            entry, file_notices = find_or_build(
                cache, workspace, found.name, parts, config, on_progress
            )
            corpus = _assembled(entry, config, base, found.name)
        except OSError as error:
            # Sources raise CorpusError, so this is about the cache.
            raise CorpusError(
                f"{cache.folder}: cannot store the encoded corpus there "
                f"({error.strerror or error}); free space, or choose another folder with "
                "`cache_dir`"
            ) from error
    notices = [*found.notices, *file_notices, *corpus.notices]
    if problem is not None:
        notices.append(f"{problem}; using {cache.folder} for this run")
        weakref.finalize(corpus.train, shutil.rmtree, cache.folder, ignore_errors=True)
    return replace(corpus, sources=found.sources, notices=tuple(notices))


def find_encoded(
    sha256: str, config: CorpusConfig, base: Vocabulary, cache_dir: Path | None = None
) -> EncodedCorpus | None:
    """Find a corpus in the cache by its hash, for sources that can no longer be read."""
    try:
        all_entries = Cache(cache_dir).entries()
    except CorpusError:  # a folder that cannot be read
        return None
    for listed in all_entries:
        try:
            stored = StoredCorpus.load(listed.path)
            if stored.sha256 != sha256 or stored.settings != stored_settings(config):
                continue
            entry = open_entry(listed.path)
        except (OSError, ValueError):
            continue
        else:
            return _assembled(entry, config, base, stored.name)
    return None


def encode_text(
    text: str,
    vocabulary: Vocabulary,
    end: str,
    unknown: Unknown = "error",
    *,
    lead: Sequence[int] = (),
) -> Symbols:
    """Encode a text for a model, and find the ends of its documents as in the model's corpus.

    text: normalized as the corpus was, see decoding.transformed. end: the text after each document,
    "" if there is none. lead: ids that are put before the text. Raises UnknownCharacterError.
    """
    # The whole text first: an error then gives the position in it, not in a document.
    ids = vocabulary.encode(text, unknown)
    documents = text.split(end)[:-1] if end else []
    lengths = [len(vocabulary.encode(document + end, unknown)) for document in documents]
    ends = len(lead) + np.cumsum(lengths, dtype=np.int64)
    return Symbols(np.concatenate([np.array(lead, ids.dtype), ids]), ends=ends)


def check_length(corpus: EncodedCorpus, config: CorpusConfig) -> None:
    """Raise CorpusError if a corpus is too short to train on, or to validate on."""
    validates = config.val_fraction > 0 or config.val_text is not None
    # A byte model counts bytes that begin a character. The beginning of a long text is enough.
    found = corpus.vocabulary.count_characters(corpus.train[: 4 * MIN_TRAIN])
    if corpus.characters == 0:
        raise CorpusError(f"{corpus.name}: contains no text")
    if found < MIN_TRAIN:
        raise CorpusError(
            f"{corpus.name}: only {counted(found, 'character')} to train on and "
            f"{len(corpus.val):,} to validate on; at least {MIN_TRAIN} are needed to train, so use "
            "a longer text"
        )
    if validates and len(corpus.val) < MIN_VAL:
        raise CorpusError(
            f"{corpus.name}: only {counted(len(corpus.val), 'character')} to validate on; at least "
            f"{MIN_VAL} are needed, so use a longer text, or `val_fraction=0` to skip validation"
        )


def split(ids: StoredIds, unit: str, val_fraction: float) -> int:
    """Return the index where the last val_fraction of a text begins, never inside a character.

    The validation part has at least MIN_VAL symbols, or none if val_fraction is 0.
    """
    if val_fraction == 0:
        return len(ids)
    cut = min(int(len(ids) * (1 - val_fraction)), max(len(ids) - MIN_VAL, 0))
    if unit == "byte":
        while 0 < cut < len(ids) and ids[cut : cut + 1][0] & 0xC0 == 0x80:
            cut -= 1
    return cut


def _validation_files(path: str | None, find: Callable[..., Found]) -> Files:
    if path is None:
        return ()
    try:
        return find((path,)).files
    except CorpusError as error:
        raise CorpusError(f"`val_text`: {error}") from error


def _assembled(
    entry: OpenEntry, config: CorpusConfig, base: Vocabulary | None, name: str
) -> EncodedCorpus:
    """Make a corpus from a cache entry: its vocabulary and its two parts."""
    stored, ids = entry.stored, entry.data.ids
    Budget(config.max_corpus_bytes).spend(stored.bytes)
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    counts[stored.symbols] = stored.counts
    vocabulary = vocabulary_of(counts, config, base)
    notices = [] if vocabulary.unit == "byte" else folded_notices(counts, config.min_count)
    whole = Symbols(ids, _table(stored, vocabulary), entry.data.ends)
    cut = stored.val_start
    if cut is None:
        cut = split(ids, config.unit, config.val_fraction)
    return EncodedCorpus(
        name=name,
        sources=(),
        vocabulary=vocabulary,
        train=whole.cut(0, cut),
        val=whole.cut(cut, len(ids)),
        counts=counts,
        characters=stored.characters,
        documents=stored.documents,
        sha256=stored.sha256,
        notices=tuple(notices),
    )


def _table(stored: StoredCorpus, vocabulary: Vocabulary) -> npt.NDArray[np.int64] | None:
    """Return the vocabulary's id of each stored id, or None if the two are the same."""
    if vocabulary.unit == "byte":
        return None
    ids = vocabulary.lookup("".join(map(chr, stored.symbols))).astype(np.int64)
    if vocabulary.unknown is not None:
        ids[ids < 0] = vocabulary.unknown
    assert not np.any(ids < 0), "the vocabulary was made for this text"
    return ids
