"""Compressed files and archives as streams of bytes; damage becomes a CorpusError."""

import bz2
import gzip
import io
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from charrnn.errors import CorpusError
from charrnn.text import tar
from charrnn.text.decoding import BLOCK_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    import lzma

    from charrnn.text import xz
except ModuleNotFoundError:  # some builds of Python lack it
    lzma = None  # type: ignore[assignment]

_GZIP, _ZSTD, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
ZIP_BEGINNINGS = (b"PK\3\4", b"PK\5\6")  # the second one starts an empty archive
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_EMPTY_TAR = 1024  # an empty tar consists of at least this many NUL bytes
_OFFICE_MEMBER = "[Content_Types].xml"
# A list of members of this size has some 700,000, which take a gigabyte of memory.
MAX_ZIP_LIST = 1 << 26
_LOCAL_HEADER = 30  # bytes before a member of a zip, besides its name
_LZMA_HEADER = struct.Struct("<4xBL")  # at the beginning of a member: versions, then the dictionary

# Common files that are not text, by their first bytes.
NOT_TEXT = {
    **dict.fromkeys((_GZIP, _ZSTD, _XZ), "compressed twice; unpack it once"),
    b"PK\3\4": "a zip archive inside a compressed file; unpack it once",
    b"\x1f\x9d": "compressed in a format that charrnn cannot read; unpack it first",
    b"\x5d\0\0": "compressed in a format that charrnn cannot read; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, which charrnn cannot read; unpack it first",
    b"Rar!\x1a": "a rar archive, which charrnn cannot read; unpack it first",
    b"%PDF-": "a PDF; save it as plain text first",
}

# What the libraries raise for damaged data.
_DAMAGE: tuple[type[Exception], ...] = (
    zlib.error, zstd.ZstdError, zipfile.BadZipFile, struct.error, EOFError, ValueError,
    OverflowError, LookupError, NotImplementedError,
)  # fmt: skip
if lzma is not None:
    _DAMAGE += (lzma.LZMAError,)

Members = Iterator[tuple[str, "io.BufferedReader[Any]"]]
"""Names and contents of the files in an archive. Read each one before asking for the next."""


class _CountingStream(io.RawIOBase):
    """A stream that counts the bytes read, and raises CorpusError if it is damaged."""

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
        with _corpus_errors(self._name):
            size = int(self._inner.readinto(buffer))
        self._count(size)
        return size


@contextmanager
def _corpus_errors(name: str) -> Iterator[None]:
    """Turn the exceptions that libraries raise for a file into CorpusError."""
    try:
        yield
    except CorpusError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise CorpusError(f"{name}: cannot be read ({error.strerror})") from error
        raise CorpusError(f"{name}: damaged or truncated ({error})") from error
    except _DAMAGE as error:
        raise CorpusError(f"{name}: damaged or truncated ({error})") from error


def opened(path: Path, name: str) -> IO[bytes]:
    """Open a file for `buffered`. Raises CorpusError."""
    with _corpus_errors(name):
        return path.open("rb", buffering=0)


def buffered(inner: Any, name: str, count: Callable[[int], None]) -> "io.BufferedReader[Any]":
    """Return a buffered stream; count is called with the number of bytes it reads."""
    return io.BufferedReader(_CountingStream(inner, name, count), BLOCK_BYTES)


def ignore(_size: int) -> None:
    """Count nothing."""


def unpacked(raw: "io.BufferedReader[Any]", name: str) -> Any:
    """Return the decompressed stream of a file. Its content decides, not its name."""
    head = raw.peek(10)[:10]
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):  # with data, and empty
        return bz2.BZ2File(raw)
    if head.startswith(_ZSTD):
        return zstd.ZstdFile(raw)
    if head.startswith(_XZ):
        if lzma is None:
            raise CorpusError(f"{name}: this Python has no lzma module; unpack the file first")
        return xz.XzFile(raw, name)
    return raw


def is_zip(raw: "io.BufferedReader[Any]") -> bool:
    """Return whether a stream starts like a zip archive."""
    return raw.peek(4)[:4] in ZIP_BEGINNINGS


def is_tar(stream: "io.BufferedReader[Any]") -> bool:
    """Return whether a decompressed stream starts like a tar archive."""
    head = stream.peek(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        return True
    return len(head) >= _EMPTY_TAR and not any(head)


def tar_members(
    stream: "io.BufferedReader[Any]", name: str, skip: Callable[[str, str], None]
) -> Members:
    """Yield the files in a tar. Their bytes are already counted with those of the tar.

    skip: called with a reason and a name for members that are never text.
    """
    with _corpus_errors(name):
        for member, content in tar.tar_files(stream, lambda why, it: skip(why, f"{name}/{it}")):
            yield member, buffered(content, f"{name}/{member}", ignore)


def zip_members(raw: "io.BufferedReader[Any]", name: str, spend: Callable[[int], None]) -> Members:
    """Yield the files in a zip archive. spend: called with their bytes after decompression.

    Raises CorpusError for an office document and for members that cannot be unpacked.
    """
    with _corpus_errors(name), zipfile.ZipFile(_ZipStream(raw)) as archive:
        _check_overlap(archive)
        for member in archive.infolist():
            if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
                continue
            if member.filename == _OFFICE_MEMBER:
                raise CorpusError(f"{name}: an office document; save it as plain text first")
            shown = f"{name}/{member.filename}"
            if lzma is not None and member.compress_type == zipfile.ZIP_LZMA:
                xz.check_dictionary(shown, _lzma_dictionary(raw, member))
            try:
                content = archive.open(member)
            except (RuntimeError, NotImplementedError) as error:
                locked = member.flag_bits & 1
                problem = "is password-protected" if locked else "uses unsupported compression"
                raise CorpusError(
                    f"{name}: {member.filename} {problem}; unpack the archive first"
                ) from error
            with content:
                yield member.filename, buffered(content, shown, spend)


def reason_to_skip_zip(raw: "io.BufferedReader[Any]", name: str) -> str | None:
    """Return why a zip archive in a folder cannot be read as text, or None if it can."""
    with _corpus_errors(name), zipfile.ZipFile(_ZipStream(raw)) as archive:
        if _OFFICE_MEMBER in archive.namelist():
            return "office document"
        locked = any(member.flag_bits & 1 for member in archive.infolist())
        return "password-protected" if locked else None


class _ZipStream(io.BufferedIOBase):
    """A stream for ZipFile, which reads the list of all members at once."""

    def __init__(self, raw: "io.BufferedReader[Any]") -> None:
        super().__init__()
        self._raw = raw

    def read(self, size: int | None = -1, /) -> bytes:
        """Raises BadZipFile if too much is asked for."""
        if size is not None and size > MAX_ZIP_LIST:
            raise zipfile.BadZipFile(f"its list of members has {size:,} bytes")
        return self._raw.read(size)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()


def _check_overlap(archive: zipfile.ZipFile) -> None:
    """Raise BadZipFile if members share their bytes, as in archives that unpack to far too much.

    Some versions of Python check this, too, but only for the members that are read.
    """
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    starts = [member.header_offset for member in members[1:]] + [archive.start_dir]
    for member, following in zip(members, starts, strict=False):  # no member: one start
        if member.header_offset + _LOCAL_HEADER + member.compress_size > following:
            raise zipfile.BadZipFile("its members overlap")


def _lzma_dictionary(raw: "io.BufferedReader[Any]", member: zipfile.ZipInfo) -> int:
    """Return the size of the dictionary that a member needs, in bytes."""
    raw.seek(member.header_offset + _LOCAL_HEADER - 4)
    name, extra = struct.unpack("<2H", raw.read(4))
    raw.seek(name + extra, io.SEEK_CUR)
    return int(_LZMA_HEADER.unpack(raw.read(_LZMA_HEADER.size))[1])
