"""The files of a corpus as streams of bytes: which to read, which to skip, and how much."""

import fnmatch
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from charrnn.errors import CorpusError
from charrnn.text import unpacking
from charrnn.text.config import CorpusConfig
from charrnn.text.contents import CheckedFile, Content
from charrnn.text.decoding import SNIFF_BYTES, reason_not_text

_LONGEST_NAME = 4_096  # characters of a member's path; no system could unpack a longer one
_EXAMPLES = 3  # skipped files that a notice names, per reason


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    name: its name in messages. path: where its bytes are.
    glob: which members to read if it is an archive; None for all text files.
    sha256: the expected hash, if known. content: what it must still hold when it is read.
    """

    name: str
    path: Path
    glob: str | None = None
    sha256: str | None = None
    content: Content | None = None


@dataclass
class Skipped:
    """Counts what was not read, by reason, and keeps a few examples for the notices."""

    reasons: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one file, row or folder."""
        count, examples = self.reasons.get(reason, (0, []))
        self.reasons[reason] = (count + 1, [*examples, name][:_EXAMPLES])

    def explanation(self, unmatched_glob: str | None) -> str:
        """Explain why there is nothing to read. unmatched_glob: a glob that matched no file."""
        if unmatched_glob is not None:
            return f"nothing in it matches `glob={unmatched_glob!r}`"
        return "; ".join(self.notices()) or "it is empty"

    def notices(self) -> list[str]:
        """Return one notice for each reason."""
        return [
            f"skipped {count:,} ({reason}): {', '.join(names)}{', ...' * (count > len(names))}"
            for reason, (count, names) in self.reasons.items()
        ]


class Budget:
    """Counts the bytes of a text, and refuses more than a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, count: int) -> None:
        """Count bytes. Raises CorpusError once they exceed the limit."""
        self.spent += count
        if self.spent > self.limit:
            raise CorpusError(
                f"the text is larger than {self.limit:,} bytes; if that is intended, raise "
                "`max_corpus_bytes`"
            )


def open_members(
    file: SourceFile,
    config: CorpusConfig,
    *,
    spend: Callable[[int], None],
    on_bytes: Callable[[int], None],
    skipped: Skipped,
) -> unpacking.Members:
    """Yield the name and the decompressed bytes of a file, or of each text file in an archive.

    spend: called with the number of bytes after decompression, see `Budget`.
    on_bytes: called with the number of bytes read from disk.
    skipped: counts the members of an archive that are not text.
    Raises CorpusError if the file is damaged, or is an archive without a text to read.
    """
    with unpacking.opened(file.path, file.name) as opened:
        checked = opened if file.content is None else CheckedFile(opened, file.name, file.content)
        raw = unpacking.buffered(checked, file.name, on_bytes)
        if unpacking.is_zip(raw):
            members = unpacking.zip_members(raw, file.name, spend)
        else:
            stream = unpacking.buffered(unpacking.unpacked(raw, file.name), file.name, spend)
            if not unpacking.is_tar(stream):
                _check_plain(stream, file.name)
                yield file.name, stream
                return
            members = unpacking.tar_members(stream, file.name, skipped.add)
        yield from _texts(members, file, config, skipped)


def _texts(
    members: unpacking.Members, file: SourceFile, config: CorpusConfig, skipped: Skipped
) -> unpacking.Members:
    """Yield the members of an archive that are text; raise CorpusError if there are none."""
    found = matched = False
    for name, member in members:
        shown = f"{file.name}/{name[:_LONGEST_NAME]}"
        if len(name) > _LONGEST_NAME:
            skipped.add("name too long", shown)
            continue
        if any(part.startswith(".") and part.strip(".") for part in PurePosixPath(name).parts):
            skipped.add("hidden", shown)
            continue
        if file.glob is not None and not matches(name, file.glob):
            continue
        matched = True
        if reason := _reason_not_text(member.peek(SNIFF_BYTES)[:SNIFF_BYTES], config):
            skipped.add(reason, shown)
        else:
            found = True
            yield shown, member
    if not found:
        explanation = skipped.explanation(None if matched else file.glob)
        raise CorpusError(f"{file.name}: this archive contains no text ({explanation})")


def reason_to_skip(path: Path, config: CorpusConfig) -> str | None:
    """Return why a file in a folder is neither text nor an archive, or None if it is one of them.

    The first bytes decide. Raises CorpusError if the file cannot be read.
    """
    name = str(path)
    with unpacking.opened(path, name) as opened:
        raw = unpacking.buffered(opened, name, unpacking.ignore)
        if unpacking.is_zip(raw):
            return unpacking.reason_to_skip_zip(raw, name)
        stream = unpacking.buffered(unpacking.unpacked(raw, name), name, unpacking.ignore)
        if unpacking.is_tar(stream):
            return None
        return _reason_not_text(stream.read(SNIFF_BYTES), config)


def matches(path: str, glob: str) -> bool:
    """Return whether the last parts of a path match a pattern; ** matches any number of parts."""
    parts = PurePosixPath(path).parts
    # How many of the last parts the patterns that have been compared may match.
    reached = {0}
    for pattern in reversed(PurePosixPath(glob).parts):
        if pattern == "**":
            reached = set(range(min(reached), len(parts) + 1))
        else:
            reached = {
                count + 1
                for count in reached
                if count < len(parts) and fnmatch.fnmatchcase(parts[-1 - count], pattern)
            }
        if not reached:
            return False
    return True


def _check_plain(stream: "io.BufferedReader[Any]", name: str) -> None:
    """Raise CorpusError for common files that are not text."""
    head = stream.peek(8)
    for magic, problem in unpacking.NOT_TEXT.items():
        if head.startswith(magic):
            raise CorpusError(f"{name}: {problem}")


def _reason_not_text(head: bytes, config: CorpusConfig) -> str | None:
    if head.startswith(tuple(unpacking.NOT_TEXT)):
        return "not text"
    return reason_not_text(head, config)
