"""Integers on disk, read slice by slice through an open file.

They are read, not mapped into memory: if somebody shortens the file or its disk fails, a read is an
error in one line, while the memory of a map is gone, which ends the process with a bus error.
"""

import hashlib
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError
from charrnn.text.private import NotPrivateError, check_own, tighten

_BLOCK_BYTES = 1 << 20
_STEP = 1 << 8  # integers between those that a sorted file keeps in memory
_RECENT = 1 << 12  # parts of _STEP integers that it keeps for a while, at most 8 MiB
MOST_IN_MEMORY = 1 << 20  # integers that are read as a whole


class OwnFile:
    """An open file of the cache: a regular one, the user's own, that others cannot change.

    It stays readable if its name is removed, and is closed with the object.
    """

    def __init__(self, path: Path) -> None:
        """Open a file. Raises OSError, NotPrivateError among them."""
        # A pipe must not be waited for, and a link not be followed.
        flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | flags | getattr(os, "O_BINARY", 0))
        self.close = weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivateError(f"{path} is not a file")
        check_own(path, status)
        tighten(path)
        self.size = status.st_size

    def read(self, start: int, size: int) -> bytes:
        """Return the bytes from start on. Raises CorpusError if there are fewer."""
        data = bytearray(size)
        self.read_into(memoryview(data), start)
        return bytes(data)

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill a buffer with the bytes from start on. Raises CorpusError if there are fewer."""
        done = 0
        while done < len(buffer):
            try:
                count = _read_at(self._descriptor, buffer[done:] if done else buffer, start + done)
            except OSError as error:
                raise CorpusError(
                    f"{self.path}: the encoded corpus cannot be read ({error.strerror or error})"
                ) from error
            if count == 0:
                raise CorpusError(
                    f"{self.path}: the encoded corpus was cut short while it was in use; run the "
                    "command again to encode it anew, or resume the run"
                )
            done += count

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes, a block at a time."""
        for start in range(0, self.size, _BLOCK_BYTES):
            yield self.read(start, min(_BLOCK_BYTES, self.size - start))

    def sha256(self) -> str:
        """Hash all bytes."""
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        return digest.hexdigest()


class IntegerFile:
    """The integers of a file, (N,). A slice of them is read when it is asked for."""

    def __init__(self, file: OwnFile, kind: np.dtype[Any]) -> None:
        self._file, self._kind = file, kind
        self._length = file.size // kind.itemsize

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        start, stop, step = part.indices(self._length)
        assert step == 1, "only what lies side by side is read at once"
        return self.rows([start], max(stop - start, 0)).reshape(-1)

    def rows(self, starts: Sequence[int], steps: int) -> npt.NDArray[Any]:
        """Return `steps` integers from each start, (number of starts, steps)."""
        found = np.empty((len(starts), steps), self._kind)
        size, width = steps * self._kind.itemsize, self._kind.itemsize
        bytes_of_all = found.data.cast("B") if found.size else memoryview(b"")
        for i, start in enumerate(starts):
            self._file.read_into(bytes_of_all[i * size : (i + 1) * size], start * width)
        return found


class SortedFile(IntegerFile):
    """Ascending integers of a file, which are found without reading all of them.

    Every 256th is kept in memory; the part between two of them is read when it is searched.
    """

    def __init__(self, file: OwnFile, kind: np.dtype[Any]) -> None:
        """Read the file once."""
        super().__init__(file, kind)
        per_block = _BLOCK_BYTES // kind.itemsize
        assert per_block % _STEP == 0
        kept = [np.frombuffer(block, kind)[::_STEP] for block in file.blocks()]
        self._kept = np.concatenate(kept) if kept else np.zeros(0, kind)
        self._recent: dict[int, npt.NDArray[Any]] = {}

    def searchsorted(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the index of the first integer that is at least as large as each value."""
        values = np.asarray(values)
        flat = values.reshape(-1, 1)
        numbers = np.maximum(self._kept.searchsorted(flat[:, 0]) - 1, 0)
        parts = np.concatenate([self._part(number) for number in numbers.tolist()])
        smaller = (parts.reshape(len(flat), _STEP) < flat).sum(axis=1)
        found: npt.NDArray[np.int64] = numbers * _STEP + smaller
        return found.reshape(values.shape)

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        start, stop, _ = part.indices(len(self))
        number = start // _STEP
        if start < stop <= (number + 1) * _STEP:  # a few, most likely just searched
            return self._part(number)[start - number * _STEP : stop - number * _STEP]
        return super().__getitem__(part)

    def _part(self, number: int) -> npt.NDArray[Any]:
        """Return _STEP integers; after the last one of the file come the largest there are."""
        if (part := self._recent.get(number)) is None:
            if len(self._recent) == _RECENT:
                self._recent.clear()
            part = np.full(_STEP, np.iinfo(self._kind).max, self._kind)
            found = super().__getitem__(slice(number * _STEP, (number + 1) * _STEP))
            part[: len(found)] = found
            self._recent[number] = part
        return part


def sorted_integers(file: OwnFile, kind: np.dtype[Any]) -> npt.NDArray[Any] | SortedFile:
    """Return the ascending integers of a file: in memory, unless there are very many."""
    if file.size <= MOST_IN_MEMORY * kind.itemsize:
        return np.frombuffer(file.read(0, file.size), kind)
    return SortedFile(file, kind)


def _read_at(descriptor: int, buffer: memoryview, start: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], start)
    if hasattr(os, "pread"):
        data = os.pread(descriptor, len(buffer), start)
    else:  # Windows, where only one thread reads a corpus
        os.lseek(descriptor, start, os.SEEK_SET)
        data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)
