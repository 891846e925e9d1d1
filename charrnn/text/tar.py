"""The files in a tar archive as a stream, in little memory whatever the archive claims.

Python's tarfile reads long names and pax headers at the size that they state, remembers every
member, and follows chains of headers by recursion: an archive of 2 MB can take gigabytes. Here a
header that is too large is an error, and what is not a file is passed over unread.

Understood are the formats of POSIX.1-1988 (ustar), of POSIX.1-2001 (pax) and of GNU tar.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

MAX_HEADER = 1 << 24  # bytes of a long name or a pax header; the attributes of a file can be large
MAX_HEADERS = 5_000_000  # of members and of what belongs to them; they take minutes
_BLOCK = 512
_MOST_DIGITS = 20
_PIECE = 1 << 16  # bytes to pass over at a time
# Kinds of members, by the letter in their header.
_FILES = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders and pipes
_LONG_NAME, _LONG_LINK, _GNU_SPARSE = b"L", b"K", b"S"
_PAX, _PAX_OF_ALL = (b"x", b"X"), b"g"


class DamagedTarError(ValueError):
    """The bytes are not those of a tar archive."""


class Stream(Protocol):
    """What an archive is read from; it returns fewer bytes than asked for only at its end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Header:
    """is_extended: more of a sparse file's map follows."""

    name: str
    kind: bytes
    size: int
    is_extended: bool


@dataclass(frozen=True)
class _Pax:
    """What a pax header says of the member after it."""

    path: str = ""
    size: int | None = None
    is_sparse: bool = False


class TarFile(io.RawIOBase):
    """The content of a file in an archive."""

    def __init__(self, stream: Stream, size: int) -> None:
        super().__init__()
        self._stream, self._size, self._left = stream, size, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises DamagedTarError if the archive ends before the file does."""
        data = _read(self._stream, min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def finish(self) -> None:
        """Pass over what has not been read."""
        _pass(self._stream, self._left, _padding(self._size))
        self._left = 0


def tar_files(stream: Stream, skip: Callable[[str, str], None]) -> Iterator[tuple[str, TarFile]]:
    """Yield the name and the content of each file; read the content before asking for the next.

    skip: called with a reason and a name for files that are not stored as they are.
    Raises DamagedTarError.
    """
    long_name, pax, count = "", _Pax(), 0
    while (header := _next_header(stream)) is not None:
        count += 1
        if count > MAX_HEADERS:
            raise DamagedTarError(f"more than {MAX_HEADERS:,} headers")
        if header.kind == _LONG_NAME:
            long_name = _text(_read_small(stream, header.size))
            continue
        if header.kind in _PAX:
            pax = _parsed_pax(_read_small(stream, header.size))
            continue
        if header.kind in (_LONG_LINK, _PAX_OF_ALL):
            _pass(stream, header.size, _padding(header.size))
            continue
        name = pax.path or long_name or header.name
        is_file = header.kind in _FILES and not name.endswith("/")  # in old archives, a folder
        if header.kind == _GNU_SPARSE or (is_file and pax.is_sparse):
            skip("sparse file", name)  # its holes are not text, and are not stored
            _pass_map(stream, header)
            is_file = False
        size = header.size if pax.size is None else pax.size
        content = TarFile(stream, 0 if header.kind in _WITHOUT_DATA else size)
        if is_file:
            yield name, content
        content.finish()
        long_name, pax = "", _Pax()


def _next_header(stream: Stream) -> _Header | None:
    """Read the header of the next member; None at the end of the archive."""
    block = stream.read(_BLOCK)
    if not any(block):
        return None
    if len(block) < _BLOCK:
        raise DamagedTarError("unexpected end of data")
    counted = block[:148] + b" " * 8 + block[156:]
    difference = sum(counted) - _number(block[148:156], 8)
    # Some old programs add signed bytes.
    if difference and difference != 256 * sum(byte > 127 for byte in counted):
        raise DamagedTarError("the checksum of a header is wrong")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    return _Header(name, block[156:157], _size(block[124:136]), bool(block[482]))


def _parsed_pax(data: bytes) -> _Pax:
    """Read records such as "19 path=folder/a.md" and a line feed; each begins with its length."""
    found: dict[bytes, bytes] = {}
    is_sparse = False
    at = 0
    while at < len(data):
        digits = data[at : at + _MOST_DIGITS].split(b" ", 1)[0]
        end = at + _number(digits, 10)
        key, equals, value = data[at + len(digits) + 1 : end].partition(b"=")
        if end > len(data) or not equals or not value.endswith(b"\n"):
            raise DamagedTarError("a header has a wrong record")
        if key in (b"path", b"size", b"GNU.sparse.name"):
            found[key] = value[:-1]
        is_sparse = is_sparse or key.startswith(b"GNU.sparse.")
        at = end
    path = found.get(b"GNU.sparse.name", found.get(b"path", b""))
    size = found.get(b"size")
    return _Pax(_text(path), None if size is None else _number(size, 10), is_sparse)


def _pass_map(stream: Stream, header: _Header) -> None:
    """Pass over what follows the header of a sparse file in the format of GNU tar."""
    more = header.kind == _GNU_SPARSE and header.is_extended
    while more:
        more = bool(_read(stream, _BLOCK)[504])


def _size(field: bytes) -> int:
    """Return the number in a field: octal digits, or bytes of base 256 after a set bit."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return _number(field, 8) if field.strip(b" \0") else 0


def _number(field: bytes, base: int) -> int:
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if (
        not digits.isdigit()
        or len(digits) > _MOST_DIGITS
        or (base == 8 and set(digits) & set(b"89"))
    ):
        raise DamagedTarError("a header has a wrong number")
    return int(digits, base)


def _read_small(stream: Stream, size: int) -> bytes:
    if size > MAX_HEADER:
        raise DamagedTarError(f"a header has {size:,} bytes")
    data = _read(stream, size)
    _pass(stream, 0, _padding(size))
    return data


def _pass(stream: Stream, size: int, padding: int) -> None:
    """Pass over data, and over what fills its last block, which may be missing at the end."""
    while size:
        size -= len(_read(stream, min(size, _PIECE)))
    stream.read(padding)


def _padding(size: int) -> int:
    return -size % _BLOCK


def _read(stream: Stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise DamagedTarError("unexpected end of data")
    return data


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
