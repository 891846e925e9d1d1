"""Cache entries: find the one of a corpus by its content, or build it in one streaming pass."""

import hashlib
import json
import os
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from charrnn.errors import CorpusError
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.contents import CHANGED, content_of
from charrnn.text.corpus import read_documents
from charrnn.text.holdout import hold_out_documents
from charrnn.text.private import NotPrivateError, make_private_folder
from charrnn.text.store import StoredCorpus, StoredData, Writer
from charrnn.text.streams import Budget, SourceFile
from charrnn.text.unpacking import ZIP_BEGINNINGS

ENCODING_VERSION = 4  # raise it when the same text and settings are encoded differently
MOST_NOTICES = 20  # of one corpus; of more, the user is told the number
# Settings that do not affect an entry: they are applied when it is used. A validation text does
# affect it, but as one more file.
_APPLIED_LATER = ("min_count", "max_vocab", "max_corpus_bytes", "val_text")

Files = tuple[SourceFile, ...]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, the number of bytes done, and the total number of bytes."""


@dataclass(frozen=True)
class OpenEntry:
    """An entry whose files are open: it can be used even if it is removed from the cache."""

    stored: StoredCorpus
    data: StoredData


def open_entry(folder: Path) -> OpenEntry:
    """Open an entry, and verify all of it.

    Raises OSError or ValueError if there is none, or it is damaged; NotPrivateError if somebody
    else may have made or changed it.
    """
    stored = StoredCorpus.load(folder)
    data = StoredData(folder, stored.type)
    data.verify(stored)
    return OpenEntry(stored, data)


def find_or_build(
    cache: Cache,
    workspace: Path,
    name: str,
    parts: tuple[Files, Files],
    config: CorpusConfig,
    on_progress: Progress,
) -> tuple[OpenEntry, list[str]]:
    """Return the entry of a corpus, and notices about its files.

    name: the name of the corpus. parts: its files, and those of its validation text, if any.
    Raises CorpusError if the files cannot be read, or change meanwhile.
    """
    stamps = [_stamp(file) for part in parts for file in part]
    key, parts, notices = entry_key(parts, config, on_progress)
    files = [*parts[0], *parts[1]]
    entry = _found(cache, key, notices)
    if entry is None:
        built = workspace / "entry"
        make_private_folder(built)
        entry = _build(built, key, name, parts, config, on_progress)
        if stamps != [_stamp(file) for file in files]:
            raise CorpusError(f"the corpus {CHANGED}")
        if os.name == "nt":  # Windows renames no folder with open files
            entry.data.close()
            entry = replace(entry, data=StoredData(cache.commit(built, key), entry.stored.type))
        else:
            entry.data.moved_to(cache.commit(built, key))
    return entry, notices + _renamed_notices(entry.stored, files)


def _found(cache: Cache, key: str, notices: list[str]) -> OpenEntry | None:
    """Return the entry of a key; if it is not sound, remove it. Adds to the notices."""
    try:
        entry = open_entry(cache.folder_of(key))
    except FileNotFoundError:
        entry = None
    except NotPrivateError as error:
        notices.append(f"{error}, so the corpus was encoded anew")
        entry = None
    except (OSError, ValueError):  # damaged
        entry = None
    if entry is None:
        cache.discard(key)
    else:
        cache.mark_used(key)
    return entry


def stored_settings(config: CorpusConfig) -> dict[str, Any]:
    """Return the settings that decide what an entry contains."""
    settings = {k: v for k, v in asdict(config).items() if k not in _APPLIED_LATER}
    if not config.split_documents:
        del settings["val_fraction"]
    if not config.paragraphs:  # unknown to versions whose entries are still found
        del settings["paragraphs"]
    return settings


def entry_key(
    parts: tuple[Files, Files], config: CorpusConfig, on_progress: Progress
) -> tuple[str, tuple[Files, Files], list[str]]:
    """Hash the bytes of all files, and everything else that affects how they are encoded.

    Returns the key, the files with their contents, and notices about files that do not have the
    expected hash. Raises CorpusError if a file cannot be read, or is larger than the limit.
    """
    affects = {
        "version": ENCODING_VERSION,
        "settings": stored_settings(config),
        "files": [[file.glob for file in part] for part in parts],
        "codecs": [unicodedata.unidata_version, *sys.version_info[:2]],
    }
    notices: list[str] = []
    digest = hashlib.sha256(json.dumps(affects).encode())
    progress = _ByteProgress("checking", parts, on_progress)
    hashed: list[Files] = []
    for part in parts:
        hashed.append(tuple(_hashed(file, config, progress, notices) for file in part))
        for file in hashed[-1]:
            assert file.content is not None
            digest.update(file.content.digest)
    return digest.hexdigest()[:40], (hashed[0], hashed[1]), notices


def _hashed(
    file: SourceFile, config: CorpusConfig, progress: Callable[[int], None], notices: list[str]
) -> SourceFile:
    """Return a file with its content; add a notice if that is not the expected one."""
    whole = None if file.sha256 is None else hashlib.sha256()
    try:
        with file.path.open("rb", buffering=0) as stream:
            beginning = stream.read(len(ZIP_BEGINNINGS[0]))
            # Unpacked, it is larger still. A zip may hold much that is no text.
            if beginning not in ZIP_BEGINNINGS:
                Budget(config.max_corpus_bytes).spend(os.fstat(stream.fileno()).st_size)
            stream.seek(0)
            content = content_of(stream, progress, whole)
    except OSError as error:
        raise CorpusError(f"{file.name}: cannot be read ({error.strerror or error})") from error
    if whole is not None and file.sha256 != whole.hexdigest():
        notices.append(
            f"{file.path} is not the version of {file.name} that charrnn knows (its hash differs)"
        )
    return replace(file, content=content)


class _ByteProgress:
    """Adds up the bytes of one pass over all files."""

    def __init__(self, what: str, parts: tuple[Files, Files], on_progress: Progress) -> None:
        self._what, self._on_progress = what, on_progress
        self._total = sum(_size(file) for part in parts for file in part)
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._on_progress(self._what, min(self._done, self._total), self._total)


def _build(
    folder: Path,
    key: str,
    name: str,
    parts: tuple[Files, Files],
    config: CorpusConfig,
    on_progress: Progress,
) -> OpenEntry:
    """Write the ids and the metadata of all files into a folder, and open them."""
    budget = Budget(config.max_corpus_bytes)
    with Writer(folder, config.unit) as writer:
        sha256, val_start, notices = _write(writer, parts, config, budget, on_progress)
    stored = StoredCorpus(
        name=name,
        symbols=writer.symbols,
        counts=writer.counts[: len(writer.symbols)].tolist(),
        length=writer.length,
        bytes=budget.spent,
        documents=writer.documents,
        characters=writer.characters,
        val_start=val_start,
        sha256=sha256,
        settings=stored_settings(config),
        files=_mentioned(notices, [*parts[0], *parts[1]]),
        notices=notices,
        data_sha256=[],
    )
    if config.split_documents:
        val_start = hold_out_documents(folder, stored, config.val_fraction)
        stored = replace(stored, val_start=val_start)
    data = StoredData(folder, stored.type)
    stored = replace(stored, data_sha256=data.sha256())
    stored.save(folder, key)
    return OpenEntry(stored, data)


def _write(
    writer: Writer,
    parts: tuple[Files, Files],
    config: CorpusConfig,
    budget: Budget,
    on_progress: Progress,
) -> tuple[str, int | None, list[str]]:
    """Write all files; return their hash, where the validation text begins, and notices."""
    notices: list[str] = []
    progress = _ByteProgress("encoding", parts, on_progress)
    hashes, lengths = [], []
    for part in parts:
        if not part:
            continue
        digest = hashlib.sha256()
        for block in read_documents(
            part,
            config,
            budget=budget,
            whole_corpus=not all(parts),
            on_bytes=progress,
            notice=notices.append,
        ):
            digest.update(writer.add(block))
        hashes.append(digest.hexdigest())
        lengths.append(writer.length)
    ends_hash = writer.finish()
    if writer.documents > 1:
        hashes.append(ends_hash)
    sha256 = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return sha256, lengths[0] if len(lengths) > 1 else None, _shortened(notices)


def _shortened(notices: list[str]) -> list[str]:
    if len(notices) <= MOST_NOTICES:
        return notices
    left = len(notices) - MOST_NOTICES
    return [*notices[:MOST_NOTICES], f"and {left:,} more notices about the files of the corpus"]


def _mentioned(notices: list[str], files: list[SourceFile]) -> dict[str, str]:
    """Return the names of the files that notices mention, by their number."""
    return {
        str(number): file.name
        for number, file in enumerate(files)
        if any(file.name in notice for notice in notices)
    }


def _renamed_notices(stored: StoredCorpus, files: list[SourceFile]) -> list[str]:
    """Return the notices of an entry, with the current names of its files."""
    notices = stored.notices
    for number, old_name in stored.files.items():
        notices = [notice.replace(old_name, files[int(number)].name) for notice in notices]
    return notices


def _size(file: SourceFile) -> int:
    return _stamp(file)[0] if file.content is None else file.content.length


def _stamp(file: SourceFile) -> tuple[int, int]:
    try:
        status = file.path.stat()
    except OSError as error:
        raise CorpusError(f"{file.name}: cannot be read ({error.strerror or error})") from error
    return status.st_size, status.st_mtime_ns
