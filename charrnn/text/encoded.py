"""The encoded corpus: encoded once, kept in the cache by its content, split into two parts."""

import functools
import hashlib
import json
import shutil
import sys
import tempfile
import unicodedata
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError, counted
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import read_documents
from charrnn.text.decoding import transformed
from charrnn.text.sources import Found, NamedCorpora, find_files
from charrnn.text.store import CODE_POINTS, Stored, Symbols, Writer, data_hash, hold_out_documents
from charrnn.text.streams import Budget, SourceFile
from charrnn.text.vocabulary import Ids, Unknown, Vocabulary, folded_notices, vocabulary_of

ENCODING_VERSION = 3  # raised when the same text and settings would be encoded differently
MIN_TRAIN = 10  # characters below which there is nothing to learn
MIN_VAL = 2  # one character to read and one to predict
_READ = 1 << 20  # bytes that are hashed at a time
# What has no part in what is stored: applied when the ids are used, or, --val-text, in the key as
# one more file.
_APPLIED_LATER = ("min_count", "max_vocab", "max_corpus_bytes", "val_text")

Progress = Callable[[str, int, int], None]
"""Called with what is going on, the bytes done and the bytes in all."""


@dataclass(frozen=True)
class EncodedCorpus:
    """A corpus as ids, split.

    train: the part that is learned. val: the part held out, empty where there is none.
    counts: how often each code point, or each byte, occurs in both, (0x110000,).
    characters: of the corpus, and of the validation text where there is one.
    sha256: of all that is learned and validated on: what a resumed run compares.
    notices: what the user should know.
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
    again: bool = False,
    on_progress: Progress = lambda _what, _done, _total: None,
) -> EncodedCorpus:
    """Encode a corpus in one streaming pass, or find it in the cache, and split it.

    base: a vocabulary to keep; characters new to it are added behind its own.
    cache_dir: where encoded corpora are kept; the user's cache folder where left out.
    catalog: the corpora that have a name. again: the sources are those that a run recorded.
    Raises CorpusError for a text that cannot be read, or has too many different characters.
    """
    cache, temporary = _writable(cache_dir)
    try:
        with cache.workspace() as workspace:
            find = functools.partial(
                find_files, config=config, catalog=catalog, workspace=workspace, again=again
            )
            found = find(sources)
            held_out = _validation_files(config.val_text, find)
            entry, stored, told = _entry(cache, workspace, found, held_out, config, on_progress)
            corpus = _assembled(entry, stored, config, base, found.name)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        # What a source may raise is a CorpusError by now.
        raise CorpusError(
            f"{cache.folder}: cannot keep the encoded corpus there ({error.strerror or error}); "
            "free space, or choose another folder with `cache_dir`"
        ) from error
    notices = [*found.notices, *told, *corpus.notices]
    if temporary is not None:
        notices.append(f"the cache folder cannot be written; {cache.folder} is used for this run")
        weakref.finalize(corpus.train, shutil.rmtree, temporary, ignore_errors=True)
    return replace(corpus, sources=found.sources, notices=tuple(notices))


def find_encoded(
    sha256: str, config: CorpusConfig, base: Vocabulary, cache_dir: Path | None = None
) -> EncodedCorpus | None:
    """Return the corpus of a hash from the cache, whose sources are no longer there to be read."""
    cache = Cache(cache_dir)
    for entry in cache.entries():
        try:
            stored = Stored.load(entry.path)
            if stored.sha256 != sha256 or stored.settings != _stored_settings(config):
                continue
            stored.verify(entry.path)
        except (OSError, ValueError):
            continue
        else:
            return _assembled(entry.path, stored, config, base, stored.name)
    return None


def encode_text(
    text: str, vocabulary: Vocabulary, config: CorpusConfig, unknown: Unknown = "error"
) -> Symbols:
    """Encode a text, and find its documents, as they were in the corpus of a model.

    Raises UnknownCharacterError.
    """
    text, end = transformed(text, config), config.document_end
    ids = vocabulary.encode(text, unknown)  # first: an unknown character is told by its place
    documents = text.split(end)[:-1] if end else []
    lengths = [len(vocabulary.encode(document + end, unknown)) for document in documents]
    return Symbols(ids, ends=np.cumsum(lengths, dtype=np.int64))


def check_length(corpus: EncodedCorpus, config: CorpusConfig) -> None:
    """Raise CorpusError where a corpus is too short to learn from, or to validate on."""
    validated = config.val_fraction > 0 or config.val_text is not None
    # Bytes that begin a character are counted; of a long text the beginning is enough.
    found = corpus.vocabulary.count_characters(corpus.train[: 4 * MIN_TRAIN])
    if corpus.characters == 0:
        raise CorpusError(f"{corpus.name}: there is no text in it")
    if found < MIN_TRAIN:
        raise CorpusError(
            f"{corpus.name}: {counted(found, 'character')} to train on, {len(corpus.val):,} to "
            f"validate on; at least {MIN_TRAIN} are needed. Give a longer text"
        )
    if validated and len(corpus.val) < MIN_VAL:
        raise CorpusError(
            f"{corpus.name}: {counted(len(corpus.val), 'character')} to validate on; at least "
            f"{MIN_VAL} are needed. Give a longer one, or `val_fraction=0` for none"
        )


def split(ids: Ids, unit: str, val_fraction: float) -> int:
    """Return where the last val_fraction of a text begins, never within a character.

    The validation part has at least MIN_VAL symbols, or none where val_fraction is 0.
    """
    if val_fraction == 0:
        return len(ids)
    cut = min(int(len(ids) * (1 - val_fraction)), max(len(ids) - MIN_VAL, 0))
    if unit == "byte":
        while 0 < cut < len(ids) and ids[cut] & 0xC0 == 0x80:
            cut -= 1
    return cut


def _writable(cache_dir: Path | None) -> tuple[Cache, Path | None]:
    """Return the cache, or where the user's own cannot be written, a temporary one and its path."""
    cache = Cache(cache_dir)
    try:
        with cache.workspace():
            return cache, None
    except OSError as error:
        if cache_dir is not None:
            raise CorpusError(
                f"`cache_dir={cache_dir}`: cannot be written ({error.strerror or error})"
            ) from error
    temporary = Path(tempfile.mkdtemp(prefix="charrnn-"))
    return Cache(temporary), temporary


def _validation_files(path: str | None, find: Callable[..., Found]) -> Found | None:
    if path is None:
        return None
    try:
        return find((path,))
    except CorpusError as error:
        raise CorpusError(f"`val_text`: {error}") from error


def _entry(
    cache: Cache,
    workspace: Path,
    found: Found,
    held_out: Found | None,
    config: CorpusConfig,
    on_progress: Progress,
) -> tuple[Path, Stored, list[str]]:
    """Return the encoded corpus, its folder first, and what the user should know of its files.

    It is encoded where the cache does not have it.
    """
    parts = [found.files, held_out.files if held_out else ()]
    files = [file for part in parts for file in part]
    before = [_stamp(file.path) for file in files]
    key, told = _key(parts, config, on_progress)
    if (entry := cache.find(key)) is not None:
        try:
            stored = Stored.load(entry)
            stored.verify(entry)
        except (OSError, ValueError):
            shutil.rmtree(entry, ignore_errors=True)  # damaged: made anew
        else:
            return entry, stored, told + _renamed(stored, files)
    built = workspace / "entry"
    built.mkdir()
    stored = _encode(built, parts, config, found.name, on_progress)
    if before != [_stamp(file.path) for file in files]:
        raise CorpusError(
            "the corpus changed while it was read; wait until it is written, try again"
        )
    return cache.commit(built, key), stored, told + _renamed(stored, files)


def _renamed(stored: Stored, files: list[SourceFile]) -> list[str]:
    """Return the notices of an entry, with the names that its files have now."""
    notices = stored.notices
    for old, file in zip(stored.files, files, strict=True):
        notices = [notice.replace(old, file.name) for notice in notices]
    return notices


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _stored_settings(config: CorpusConfig) -> dict[str, Any]:
    settings = {k: v for k, v in asdict(config).items() if k not in _APPLIED_LATER}
    if not config.split_documents:
        del settings["val_fraction"]
    return settings


def _key(
    parts: list[tuple[SourceFile, ...]], config: CorpusConfig, on_progress: Progress
) -> tuple[str, list[str]]:
    """Hash the bytes of all files, and everything else that decides how they are encoded.

    Returns the key, and notices of files that are not what they are expected to be.
    """
    decides = {
        "version": ENCODING_VERSION,
        "settings": _stored_settings(config),
        "files": [[file.glob for file in part] for part in parts],
        "codecs": [unicodedata.unidata_version, *sys.version_info[:2]],
    }
    told = []
    digest = hashlib.sha256(json.dumps(decides).encode())
    progress = _Bytes("checking", [file for part in parts for file in part], on_progress)
    for part in parts:
        for file in part:
            own = hashlib.sha256()
            try:
                with file.path.open("rb", buffering=0) as stream:
                    while block := stream.read(_READ):
                        own.update(block)
                        progress(len(block))
            except OSError as error:
                reason = error.strerror or error
                raise CorpusError(f"{file.name}: cannot be read ({reason})") from error
            digest.update(own.digest())
            if file.sha256 not in (None, own.hexdigest()):
                told.append(f"{file.path} is not the {file.name} that charrnn knows (its hash)")
    return digest.hexdigest()[:40], told


class _Bytes:
    """Adds up the bytes of a pass over files."""

    def __init__(self, what: str, files: list[SourceFile], on_progress: Progress) -> None:
        self._what, self._on_progress = what, on_progress
        self._total = sum(file.path.stat().st_size for file in files)
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._on_progress(self._what, min(self._done, self._total), self._total)


def _encode(
    folder: Path,
    parts: list[tuple[SourceFile, ...]],
    config: CorpusConfig,
    name: str,
    on_progress: Progress,
) -> Stored:
    """Write the ids of all files, and what is known of them, into a folder; returns the latter."""
    notices: list[str] = []
    progress = _Bytes("encoding", [file for part in parts for file in part], on_progress)
    hashes, lengths = [], []
    budget = Budget(config.max_corpus_bytes)
    with Writer(folder, config.unit) as writer:
        for part in parts:
            if not part:
                continue
            digest = hashlib.sha256()
            for block in read_documents(
                part,
                config,
                budget=budget,
                alone=not all(parts),
                on_bytes=progress,
                notice=notices.append,
            ):
                digest.update(writer.add(block))
            hashes.append(digest.hexdigest())
            lengths.append(writer.length)
        ends_hash = writer.finish()
    if writer.documents > 1:
        hashes.append(ends_hash)
    stored = Stored(
        name=name,
        symbols=writer.symbols,
        counts=writer.counts[: len(writer.symbols)].tolist(),
        length=writer.length,
        bytes=budget.spent,
        documents=writer.documents,
        characters=writer.characters,
        val_start=lengths[0] if len(lengths) > 1 else None,
        sha256=hashlib.sha256("".join(hashes).encode()).hexdigest(),
        settings=_stored_settings(config),
        files=[file.name for part in parts for file in part],
        notices=notices,
    )
    if config.split_documents:
        val_start = hold_out_documents(folder, stored, config.val_fraction)
        stored = replace(stored, val_start=val_start)
    stored = replace(stored, data_sha256=data_hash(folder))
    stored.save(folder)
    return stored


def _assembled(
    folder: Path, stored: Stored, config: CorpusConfig, base: Vocabulary | None, name: str
) -> EncodedCorpus:
    """Make the corpus of an entry: its vocabulary, its two parts."""
    Budget(config.max_corpus_bytes).spend(stored.bytes)
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    counts[stored.symbols] = stored.counts
    vocabulary = vocabulary_of(counts, config, base)
    notices = [] if vocabulary.unit == "byte" else folded_notices(counts, config.min_count)
    ids = stored.ids(folder)
    whole = Symbols(ids, _table(stored, vocabulary), stored.ends(folder))
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


def _table(stored: Stored, vocabulary: Vocabulary) -> npt.NDArray[np.int64] | None:
    """Return the vocabulary's id of each stored id, None where they are the same."""
    if vocabulary.unit == "byte":
        return None
    ids = vocabulary.lookup("".join(map(chr, stored.symbols))).astype(np.int64)
    if vocabulary.unknown is not None:
        ids[ids < 0] = vocabulary.unknown
    assert not np.any(ids < 0), "the vocabulary was made for this text"
    return ids
