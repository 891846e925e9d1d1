"""Unpack the xz format with a limit to its memory, which Python's LZMAFile does not have.

The file states how large its dictionary is, up to 4 GiB.
"""

import io
import lzma
from typing import Any

from charrnn.errors import CorpusError
from charrnn.text.decoding import BLOCK_BYTES

MAGIC = b"\xfd7zXZ\0"
MAX_DICTIONARY = 1 << 28  # bytes; xz -9 asks for 2**26
_OVERHEAD = 1 << 20  # of the memory that a dictionary needs


def check_dictionary(name: str, size: int) -> None:
    """Raise CorpusError if a dictionary takes too much memory."""
    if size > MAX_DICTIONARY:
        raise CorpusError(
            f"{name}: needs more than {MAX_DICTIONARY >> 20} MiB of memory to be unpacked; unpack "
            "it first"
        )


class XzFile(io.RawIOBase):
    """What is packed in an xz file, of one stream or several, maybe with NUL bytes between them."""

    def __init__(self, raw: "io.BufferedReader[Any]", name: str) -> None:
        """Unpack a file. name: how errors call it."""
        super().__init__()
        self._raw, self._name = raw, name
        self._unpacker = _unpacker()
        self._packed = b""  # read, but not unpacked yet
        self._has_ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises LZMAError and EOFError for damage, CorpusError if it needs too much memory."""
        data = b""
        while not data and self._has_more():
            try:
                data = self._unpacker.decompress(self._packed, len(buffer))
            except lzma.LZMAError as error:
                if "emory" in str(error):  # a limit was reached
                    check_dictionary(self._name, MAX_DICTIONARY + 1)
                raise
            self._packed = b""
        buffer[: len(data)] = data
        return len(data)

    def _has_more(self) -> bool:
        """Read what is to be unpacked next; return False at the end."""
        if self._has_ended:
            return False
        if self._unpacker.eof:
            packed = self._unpacker.unused_data.lstrip(b"\0")
            while not packed and (block := self._raw.read(BLOCK_BYTES)):
                packed = block.lstrip(b"\0")
            self._packed = packed
            self._has_ended = not packed or packed[0] != MAGIC[0]  # something else may follow
            self._unpacker = _unpacker()
        elif self._unpacker.needs_input:
            self._packed = self._raw.read(BLOCK_BYTES)
            if not self._packed:
                raise EOFError("unexpected end of data")
        return not self._has_ended


def _unpacker() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY + _OVERHEAD)
