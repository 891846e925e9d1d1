"""Files as streams of bytes: decompressed, archives member by member, damage told."""

import bz2
import fnmatch
import gzip
import io
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import BLOCK_BYTES, SNIFF_BYTES, why_no_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    import lzma
except ModuleNotFoundError:  # some builds of Python have none
    lzma = None  # type: ignore[assignment]

_GZIP, _ZSTD, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")  # the second is that of an empty archive
_NAMED = 3  # files of each kind that was left out
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_EMPTY_TAR = 1024  # NULs, at least, are a tar with nothing in it
_FOREIGN = {  # what is met in place of text, by its first bytes
    **dict.fromkeys(
        (_GZIP, _ZSTD, _XZ), "a compressed file within a compressed one; unpack it once"
    ),
    b"PK\3\4": "a zip archive within a compressed file; unpack it once",
    b"\x1f\x9d": "compressed in a way that is not read; unpack it first",
    b"\x5d\0\0": "compressed in a way that is not read; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, which is not read; unpack it first",
    b"Rar!\x1a": "a rar archive, which is not read; unpack it first",
    b"%PDF-": "a PDF; save its text as a plain text file first",
}
_OFFICE_MEMBER = "[Content_Types].xml"
# What the libraries raise for data that is not what it should be.
_DAMAGE: tuple[type[Exception], ...] = (
    zlib.error, zstd.ZstdError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError,
)  # fmt: skip
if lzma is not None:
    _DAMAGE += (lzma.LZMAError,)


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    name: what messages call it. path: where its bytes are. glob: which members to read where it is
    an archive; None for all that are text. sha256: what it is expected to be, where that is known.
    """

    name: str
    path: Path
    glob: str | None = None
    sha256: str | None = None


@dataclass
class LeftOut:
    """What was not read, and the first ones of each kind: told in a notice."""

    reasons: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one."""
        count, first = self.reasons.get(reason, (0, []))
        self.reasons[reason] = (count + 1, [*first, name][:_NAMED])

    def why(self, glob: str | None) -> str:
        """Say why nothing was found. glob: where nothing matched one."""
        if glob is not None:
            return f"nothing in it matches `glob={glob!r}`"
        return "; ".join(self.notices()) or "it is empty"

    def notices(self) -> list[str]:
        """Say how many of each kind were left out."""
        return [
            f"{count:,} left out as {reason}: {', '.join(first)}{', ...' * (count > len(first))}"
            for reason, (count, first) in self.reasons.items()
        ]


class Budget:
    """Counts the bytes of a text, and stops a text that is larger than it may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, count: int) -> None:
        """Count bytes; raises CorpusError once they are more than the limit."""
        self.spent += count
        if self.spent > self.limit:
            raise CorpusError(
                f"the text is larger than {self.limit:,} bytes; if that is meant, allow more with "
                "`max_corpus_bytes`"
            )


class _Counted(io.RawIOBase):
    """A stream whose bytes are counted, and whose failures are told in the user's words."""

    def __init__(self, inner: Any, name: str, count: Callable[[int], None]) -> None:
        super().__init__()
        self._inner, self._name, self._count = inner, name, count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._inner.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._inner.seek(offset, whence))

    def tell(self) -> int:
        return int(self._inner.tell())

    def readinto(self, buffer: Any) -> int:
        with _telling(self._name):
            size = int(self._inner.readinto(buffer))
        self._count(size)
        return size


def open_members(
    file: SourceFile,
    config: CorpusConfig,
    *,
    spend: Callable[[int], None],
    on_bytes: Callable[[int], None],
    left_out: LeftOut,
) -> Iterator[tuple[str, "io.BufferedReader[Any]"]]:
    """Yield the name and the bytes of a file, decompressed, or of each text in an archive.

    spend: called with the bytes after decompression, see `Budget`. on_bytes: called with the bytes
    read from the disk. left_out: takes what an archive holds besides text.
    Raises CorpusError for a file that is damaged, and for an archive without a text to read.
    """
    with _opened(file.path, file.name) as opened:
        raw = _buffered(opened, file.name, on_bytes)
        if raw.peek(4)[:4] in ZIP_MAGIC:
            members = _zip_members(raw, file.name, spend)
        else:
            stream = _buffered(_unpacked(raw, file.name), file.name, spend)
            if not _is_tar(stream):
                head = stream.peek(8)
                for magic, what in _FOREIGN.items():
                    if head.startswith(magic):
                        raise CorpusError(f"{file.name}: {what}")
                yield file.name, stream
                return
            members = _tar_members(stream, file.name, left_out)
        found = matched = False
        for name, member in members:
            shown = f"{file.name}/{name}"
            if any(part.startswith(".") and part.strip(".") for part in PurePosixPath(name).parts):
                left_out.add("hidden", shown)
                continue
            if file.glob is not None and not matches(name, file.glob):
                continue
            matched = True
            if why := _why_no_text(member.peek(SNIFF_BYTES)[:SNIFF_BYTES], config):
                left_out.add(why, shown)
            else:
                found = True
                yield shown, member
    if not found:
        why = left_out.why(None if matched else file.glob)
        raise CorpusError(f"{file.name}: no text in this archive ({why})")


def why_left_out(path: Path, config: CorpusConfig) -> str | None:
    """Say why a file is neither text nor an archive, by its first bytes; None where it is one.

    Raises CorpusError for one that cannot be read.
    """
    with _opened(path, str(path)) as opened:
        raw = _buffered(opened, str(path), _ignore)
        if raw.peek(4)[:4] in ZIP_MAGIC:
            with _telling(str(path)), zipfile.ZipFile(raw) as archive:
                if _OFFICE_MEMBER in archive.namelist():
                    return "an office document"
                locked = any(member.flag_bits & 1 for member in archive.infolist())
            return "locked by a password" if locked else None
        stream = _buffered(_unpacked(raw, str(path)), str(path), _ignore)
        return None if _is_tar(stream) else _why_no_text(stream.read(SNIFF_BYTES), config)


def _why_no_text(head: bytes, config: CorpusConfig) -> str | None:
    return "not text" if head.startswith(tuple(_FOREIGN)) else why_no_text(head, config)


def matches(path: str, glob: str) -> bool:
    """Whether the end of a path, part by part, matches a pattern; ** is any number of parts."""

    def end_matches(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
        if not patterns:
            return True
        if patterns[-1] == "**":
            lengths = range(len(parts) + 1)
            return any(end_matches(parts[:length], patterns[:-1]) for length in lengths)
        return (
            bool(parts)
            and fnmatch.fnmatchcase(parts[-1], patterns[-1])
            and end_matches(parts[:-1], patterns[:-1])
        )

    return end_matches(PurePosixPath(path).parts, PurePosixPath(glob).parts)


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Turn what libraries raise for a file into a CorpusError."""
    try:
        yield
    except CorpusError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise CorpusError(f"{name}: cannot be read ({error.strerror})") from error
        raise CorpusError(f"{name}: damaged or cut short ({error})") from error
    except _DAMAGE as error:
        raise CorpusError(f"{name}: damaged or cut short ({error})") from error


def _opened(path: Path, name: str) -> IO[bytes]:
    with _telling(name):
        return path.open("rb", buffering=0)


def _buffered(inner: Any, name: str, count: Callable[[int], None]) -> "io.BufferedReader[Any]":
    return io.BufferedReader(_Counted(inner, name, count), BLOCK_BYTES)


def _ignore(_size: int) -> None:
    """Count nothing."""


def _unpacked(raw: "io.BufferedReader[Any]", name: str) -> Any:
    """Return a stream of what a file holds, decompressed; which way is seen from its content."""
    head = raw.peek(10)[:10]
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):  # with text, and empty
        return bz2.BZ2File(raw)
    if head.startswith(_ZSTD):
        return zstd.ZstdFile(raw)
    if head.startswith(_XZ):
        if lzma is None:
            raise CorpusError(f"{name}: this Python has no lzma module; decompress the file first")
        return lzma.LZMAFile(raw)
    return raw


def _is_tar(stream: "io.BufferedReader[Any]") -> bool:
    head = stream.peek(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        return True
    return len(head) >= _EMPTY_TAR and not any(head)


def _tar_members(
    stream: "io.BufferedReader[Any]", name: str, left_out: LeftOut
) -> Iterator[tuple[str, "io.BufferedReader[Any]"]]:
    """Yield the files of a tar; their bytes were counted with the tar's."""
    with _telling(name), tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.issparse():  # its holes are no text, and are not in the tar
                left_out.add("sparse", f"{name}/{member.name}")
            elif member.isreg() and (content := archive.extractfile(member)) is not None:
                yield member.name, _buffered(content, f"{name}/{member.name}", _ignore)


def _zip_members(
    raw: "io.BufferedReader[Any]", name: str, spend: Callable[[int], None]
) -> Iterator[tuple[str, "io.BufferedReader[Any]"]]:
    with _telling(name), zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
                continue
            if member.filename == _OFFICE_MEMBER:
                raise CorpusError(f"{name}: an office document; save it as plain text first")
            try:
                content = archive.open(member)
            except (RuntimeError, NotImplementedError) as error:
                locked = member.flag_bits & 1
                problem = "is locked by a password" if locked else "is packed in an unknown way"
                raise CorpusError(
                    f"{name}: {member.filename} {problem}; unpack the archive first"
                ) from error
            with content:
                yield member.filename, _buffered(content, f"{name}/{member.filename}", spend)
