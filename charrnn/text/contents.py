"""The content of a file as hashes of its blocks, which every block is held against when it is read.

A corpus is read twice: hashed, to look it up in the cache, and encoded if it is not there. Between
the two a file may change, and its size and times can be set back. What is encoded is therefore
hashed again, block by block as it is read, in whatever order an archive is read.
"""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from charrnn.errors import CorpusError

CHANGED = "changed while it was being read; try again once it is complete"
BLOCK_BYTES = 1 << 20
_HASH_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Content:
    """length: in bytes. hashes: the SHA-256 of each block of BLOCK_BYTES, one after the other."""

    length: int
    hashes: bytes

    @property
    def digest(self) -> bytes:
        """The SHA-256 of all of it."""
        return hashlib.sha256(self.hashes + self.length.to_bytes(8, "big")).digest()


def content_of(file: Any, on_bytes: Callable[[int], None], whole: Any = None) -> Content:
    """Hash what is left of an unbuffered file. whole: a hash to update with all bytes as well.

    on_bytes: called with the number of bytes read. Raises OSError.
    """
    hashes, length = bytearray(), 0
    while block := _read_block(file, BLOCK_BYTES):
        hashes += hashlib.sha256(block).digest()
        length += len(block)
        if whole is not None:
            whole.update(block)
        on_bytes(len(block))
        if len(block) < BLOCK_BYTES:
            break
    return Content(length, bytes(hashes))


class CheckedFile(io.RawIOBase):
    """A file whose blocks are compared with a content as they are read."""

    def __init__(self, file: Any, name: str, content: Content) -> None:
        """Read an unbuffered file. name: how errors call it."""
        super().__init__()
        self._file, self._name, self._content = file, name, content
        self._position = 0
        self._number, self._block = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.length}
        if base[whence] + offset < 0:
            raise ValueError("a position before the beginning of the file")
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read bytes of one block. Raises CorpusError if the block has changed."""
        if self._position >= self._content.length:
            return 0
        number, start = divmod(self._position, BLOCK_BYTES)
        if number != self._number:
            self._block, self._number = self._checked(number), number
        part = self._block[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _checked(self, number: int) -> bytes:
        self._file.seek(number * BLOCK_BYTES)
        size = min(BLOCK_BYTES, self._content.length - number * BLOCK_BYTES)
        block = _read_block(self._file, size)
        at = number * _HASH_BYTES
        if hashlib.sha256(block).digest() != self._content.hashes[at : at + _HASH_BYTES]:
            raise CorpusError(f"{self._name}: {CHANGED}")
        return block


def _read_block(file: Any, size: int) -> bytes:
    """Read a whole block; only the last one of a file is shorter."""
    block: bytes = file.read(size)
    while block and len(block) < size and (rest := file.read(size - len(block))):
        block += rest
    return block
