"""Cache entries: find the one of a corpus by its content, or build it in one streaming pass."""

import hashlib
import json
import shutil
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from charrnn.errors import CorpusError
from charrnn.text.cache import Cache
from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import read_documents
from charrnn.text.holdout import hold_out_documents
from charrnn.text.store import StoredCorpus, Writer, data_hash
from charrnn.text.streams import Budget, SourceFile

ENCODING_VERSION = 3  # raise it when the same text and settings are encoded differently
_READ = 1 << 20  # bytes to hash at a time
# Settings that do not affect an entry: they are applied when it is used. A validation text does
# affect it, but as one more file.
_APPLIED_LATER = ("min_count", "max_vocab", "max_corpus_bytes", "val_text")

Files = tuple[SourceFile, ...]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, the number of bytes done, and the total number of bytes."""


def find_or_build(
    cache: Cache,
    workspace: Path,
    name: str,
    parts: tuple[Files, Files],
    config: CorpusConfig,
    on_progress: Progress,
) -> tuple[Path, StoredCorpus, list[str]]:
    """Return the folder of a corpus's entry, its metadata, and notices about its files.

    name: the name of the corpus. parts: its files, and those of its validation text, if any.
    """
    files = [*parts[0], *parts[1]]
    stamps = [_stamp(file.path) for file in files]
    key, notices = entry_key(parts, config, on_progress)
    if (entry := cache.find(key)) is not None:
        try:
            stored = StoredCorpus.load(entry)
            stored.verify(entry)
        except (OSError, ValueError):
            shutil.rmtree(entry, ignore_errors=True)  # damaged: build it again
        else:
            return entry, stored, notices + _renamed_notices(stored, files)
    built = workspace / "entry"
    built.mkdir()
    stored = _build(built, name, parts, config, on_progress)
    if stamps != [_stamp(file.path) for file in files]:
        raise CorpusError(
            "the corpus changed while it was being read; try again once it is complete"
        )
    return cache.commit(built, key), stored, notices + _renamed_notices(stored, files)


def stored_settings(config: CorpusConfig) -> dict[str, Any]:
    """Return the settings that decide what an entry contains."""
    settings = {k: v for k, v in asdict(config).items() if k not in _APPLIED_LATER}
    if not config.split_documents:
        del settings["val_fraction"]
    return settings


def entry_key(
    parts: tuple[Files, Files], config: CorpusConfig, on_progress: Progress
) -> tuple[str, list[str]]:
    """Hash the bytes of all files, and everything else that affects how they are encoded.

    Returns the key, and notices about files that do not have the expected hash.
    """
    affects = {
        "version": ENCODING_VERSION,
        "settings": stored_settings(config),
        "files": [[file.glob for file in part] for part in parts],
        "codecs": [unicodedata.unidata_version, *sys.version_info[:2]],
    }
    notices = []
    digest = hashlib.sha256(json.dumps(affects).encode())
    progress = _ByteProgress("checking", parts, on_progress)
    for file in (*parts[0], *parts[1]):
        file_digest = hashlib.sha256()
        try:
            with file.path.open("rb", buffering=0) as stream:
                while block := stream.read(_READ):
                    file_digest.update(block)
                    progress(len(block))
        except OSError as error:
            raise CorpusError(f"{file.name}: cannot be read ({error.strerror or error})") from error
        digest.update(file_digest.digest())
        if file.sha256 not in (None, file_digest.hexdigest()):
            notices.append(
                f"{file.path} is not the version of {file.name} that charrnn knows (its hash "
                "differs)"
            )
    return digest.hexdigest()[:40], notices


class _ByteProgress:
    """Adds up the bytes of one pass over all files."""

    def __init__(self, what: str, parts: tuple[Files, Files], on_progress: Progress) -> None:
        self._what, self._on_progress = what, on_progress
        self._total = sum(file.path.stat().st_size for part in parts for file in part)
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._on_progress(self._what, min(self._done, self._total), self._total)


def _build(
    folder: Path,
    name: str,
    parts: tuple[Files, Files],
    config: CorpusConfig,
    on_progress: Progress,
) -> StoredCorpus:
    """Write the ids and the metadata of all files into a folder; return the metadata."""
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
        files=[file.name for part in parts for file in part],
        notices=notices,
    )
    if config.split_documents:
        val_start = hold_out_documents(folder, stored, config.val_fraction)
        stored = replace(stored, val_start=val_start)
    stored = replace(stored, data_sha256=data_hash(folder))
    stored.save(folder)
    return stored


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
    return sha256, lengths[0] if len(lengths) > 1 else None, notices


def _renamed_notices(stored: StoredCorpus, files: list[SourceFile]) -> list[str]:
    """Return the notices of an entry, with the current names of its files."""
    notices = stored.notices
    for old_name, file in zip(stored.files, files, strict=True):
        notices = [notice.replace(old_name, file.name) for notice in notices]
    return notices


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
