"""Ids on disk: written in one pass, described by sealed metadata, read slice by slice."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError
from charrnn.text.cache import META_FILE
from charrnn.text.corpus import Block, Offsets, surrogate_message
from charrnn.text.integers import IntegerFile, OwnFile, SortedFile, sorted_integers
from charrnn.text.private import check_own_folder, create_private_file
from charrnn.text.sealing import sealed, unsealed
from charrnn.text.vocabulary import code_points, smallest_dtype

CODE_POINTS = 0x110000
IDS_FILE, ENDS_FILE = "ids.bin", "ends.bin"
BLOCK_SYMBOLS = 1 << 20  # symbols to copy at a time
MAX_META = 1 << 26  # bytes; with every code point and its count there are 32 million
_NO_ENDS: Offsets = np.zeros(0, np.int64)


class StoredIds(Protocol):
    """Ids in memory or on disk, (N,)."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> npt.NDArray[Any]: ...


class Symbols:
    """A part of a text as ids, which are read from disk when they are needed."""

    def __init__(
        self,
        stored: StoredIds,
        table: npt.NDArray[np.int64] | None = None,
        ends: Offsets | SortedFile = _NO_ENDS,
    ) -> None:
        """Describe the stored ids, (N,), and how to read them.

        table: the id for each stored id; None if they are the same.
        ends: the ends of all documents of the text, ascending.
        """
        self._stored = stored
        self._table = table
        self._ends = ends
        self._start, self._stop = 0, len(stored)  # of this part in the text

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> npt.NDArray[np.int64]:
        """Return the ids of a slice. Raises CorpusError if they can no longer be read from disk."""
        start, stop, step = part.indices(len(self))
        return self._ids(self._stored[self._start + start : self._start + max(start, stop) : step])

    def _ids(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return stored.astype(np.int64) if self._table is None else self._table[stored]

    def cut(self, start: int, stop: int) -> "Symbols":
        """Return the symbols from start up to stop, without reading them."""
        start, stop, _ = slice(start, stop).indices(len(self))
        part = Symbols(self._stored, self._table, self._ends)
        part._start, part._stop = self._start + start, self._start + max(start, stop)
        return part

    def blocks(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield all ids, a block at a time."""
        for start in range(0, len(self), BLOCK_SYMBOLS):
            yield self[start : start + BLOCK_SYMBOLS]

    def columns(self, starts: Iterable[int], steps: int) -> npt.NDArray[np.int64]:
        """Return the ids of `steps` symbols from each start, (steps, number of starts)."""
        stored = self._stored
        if isinstance(stored, IntegerFile):
            rows = stored.rows([self._start + start for start in starts], steps)
        else:
            rows = np.stack([stored[self._start + start :][:steps] for start in starts])
        return np.ascontiguousarray(self._ids(rows.T))

    @property
    def documents(self) -> int:
        """The number of documents, of which the first and the last may be cut off."""
        first, last = self._ends_until(self._stop)
        return last - first + 1 if len(self) else 0

    def document_bounds(self, first: int, stop: int) -> npt.NDArray[np.int64]:
        """Return where the documents from `first` up to `stop` begin, and where the last one ends.

        There are at least `first` documents, and possibly fewer than `stop`.
        """
        before, behind = self._ends_until(self._stop)
        stop = min(stop, behind - before + 1)
        inner = self._ends[before + max(first - 1, 0) : min(before + stop, behind)] - self._start
        parts = [[0] if first == 0 else [], inner, [len(self)] if before + stop > behind else []]
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])

    def count_ends(self) -> int:
        """Return how many documents end in this part."""
        first, last = self._ends_until(self._stop + 1)
        return last - first

    def _ends_until(self, position: int) -> tuple[int, int]:
        """Return which ends are behind the start of this part and before a position of the text."""
        first, last = self._ends.searchsorted([self._start + 1, position]).tolist()
        return first, last

    def reset_positions(self) -> npt.NDArray[np.int64]:
        """Return the positions at which a model's state is reset, ascending, see `resets`."""
        first, last = self._ends_until(self._stop + 1)
        return self._ends[first:last] - self._start - 1

    def resets(self, starts: npt.ArrayLike, steps: int) -> npt.NDArray[np.bool_] | None:
        """Return where in the result of `columns` to reset a model's state, or None for nowhere.

        The state is reset before the model reads the last symbol of a document. By then that symbol
        has been predicted; from it alone, the model predicts the first symbol of the next document.
        """
        first = np.asarray(starts) + self._start + 1
        low = self._ends.searchsorted(first)
        high = self._ends.searchsorted(first + steps)
        if np.array_equal(low, high):
            return None
        found = np.zeros((steps, len(first)), dtype=bool)
        for lane in np.flatnonzero(high > low):
            found[self._ends[low[lane] : high[lane]] - first[lane], lane] = True
        return found


@dataclass(frozen=True)
class StoredCorpus:
    """The metadata of a text on disk.

    symbols: code points, or bytes, in the order of their ids. counts: how often each occurs.
    length: the number of symbols. bytes: the size of the text after decompression.
    val_start: where the validation part begins, if that is fixed.
    sha256: the hash of the text and the ends of its documents.
    settings: the settings it was encoded with. notices: messages about its files for the user.
    files: the names, at that time, of the files that notices mention, by their number.
    data_sha256: the hashes of the files of ids and ends.
    """

    name: str
    symbols: list[int]
    counts: list[int]
    length: int
    bytes: int
    documents: int
    characters: int
    val_start: int | None
    sha256: str
    settings: dict[str, Any]
    files: dict[str, str]
    notices: list[str]
    data_sha256: list[str]

    def save(self, folder: Path, key: str) -> None:
        """Write the metadata next to the ids. key: of the entry, which the metadata is bound to."""
        with create_private_file(folder / META_FILE) as file:
            file.write(sealed({"key": key, "corpus": asdict(self)}))
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def load(folder: Path) -> "StoredCorpus":
        """Read what `save` wrote into the folder of an entry, which is named by its key.

        Raises OSError or ValueError if the folder is damaged or of another version, or if it or
        its metadata are not the user's alone.
        """
        check_own_folder(folder)
        file = OwnFile(folder / META_FILE)
        if file.size > MAX_META:
            raise ValueError(f"{folder}: its metadata are too large")
        try:
            content = unsealed(file.read(0, file.size))
            if content["key"] != folder.name:
                raise ValueError(f"{folder}: of another corpus")
            return StoredCorpus(**content["corpus"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{folder}: written by another version") from error

    @property
    def type(self) -> np.dtype[Any]:
        """The type of the stored ids."""
        return np.dtype(smallest_dtype(len(self.symbols)))


class StoredData:
    """The open files of a text on disk, which stay readable if the entry is removed.

    ids: (length,), of type `StoredCorpus.type`. ends: of the documents, (documents,), ascending.
    """

    def __init__(self, folder: Path, kind: np.dtype[Any]) -> None:
        """Open the files. Raises OSError, also if they are not the user's alone."""
        self._files = [OwnFile(folder / name) for name in (IDS_FILE, ENDS_FILE)]
        self.ids = IntegerFile(self._files[0], kind)
        self.ends = sorted_integers(self._files[1], np.dtype(np.int64))

    def sha256(self) -> list[str]:
        """Read all data once; return the hash of each file."""
        return [file.sha256() for file in self._files]

    def verify(self, stored: StoredCorpus) -> None:
        """Read all data once. Raises ValueError if it is not what was stored."""
        if self.sha256() != stored.data_sha256:
            raise ValueError("damaged")

    def moved_to(self, folder: Path) -> None:
        """Name the files in errors as they are called now."""
        for file in self._files:
            file.path = folder / file.path.name

    def close(self) -> None:
        """Close the files, which happens by itself once nothing refers to them."""
        for file in self._files:
            file.close()


class Writer:
    """Writes a text as ids, which are numbered in the order in which characters first appear.

    The file uses the smallest type that fits the ids so far; it is rewritten if one does not fit.
    """

    def __init__(self, folder: Path, unit: str) -> None:
        """Create the files in a folder."""
        self._ids = create_private_file(folder / IDS_FILE)
        self._ends = create_private_file(folder / ENDS_FILE)
        self._type: np.dtype[Any] = np.dtype(np.uint8)
        self._table = np.full(CODE_POINTS, -1, dtype=np.int32)
        self._last_end = 0
        self._unit = unit
        self.symbols: list[int] = []
        self.counts = np.zeros(256, dtype=np.int64)
        self.length = self.characters = self.documents = 0
        if unit == "byte":
            self._add_symbols(np.arange(256))

    def add(self, block: Block) -> bytes:
        """Write a block; return its text in UTF-8. Raises CorpusError for lone surrogates."""
        try:
            utf8 = block.text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(surrogate_message("the text", error)) from error
        ends = block.ends
        if len(utf8) == len(block.text) or self._unit == "byte":
            codes: npt.NDArray[Any] = np.frombuffer(utf8, dtype=np.uint8)
            if len(utf8) > len(block.text) and len(ends):
                ends = _in_bytes(block.text, ends)
        else:
            codes = code_points(block.text)
        ids = self._table[codes]
        if len(ids) and ids.min() < 0:
            new, first = np.unique(codes[ids < 0], return_index=True)
            self._add_symbols(new[np.argsort(first)])
            ids = self._table[codes]
        self.counts += np.bincount(ids, minlength=len(self.counts))
        self._ids.write(ids.astype(self._type).data)
        self._write_ends(ends + self.length)
        self.length += len(ids)
        self.characters += len(block.text)
        return utf8

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()
        self._ends.close()

    def finish(self) -> str:
        """Flush everything to disk; return the SHA-256 of the documents' ends."""
        self._ends.seek(0)
        digest = hashlib.file_digest(self._ends, "sha256").hexdigest()
        for file in (self._ids, self._ends):
            file.flush()
            os.fsync(file.fileno())
        return digest

    def _add_symbols(self, codes: npt.NDArray[Any]) -> None:
        self._table[codes] = np.arange(len(self.symbols), len(self.symbols) + len(codes))
        self.symbols += codes.tolist()
        if len(self.symbols) > len(self.counts):
            grown = np.zeros(2 * len(self.symbols), dtype=np.int64)
            grown[: len(self.counts)] = self.counts
            self.counts = grown
        needed = np.dtype(smallest_dtype(len(self.symbols)))
        if needed.itemsize > self._type.itemsize:
            _widen(self._ids, self._type, needed)
            self._type = needed

    def _write_ends(self, ends: Offsets) -> None:
        ends = ends[np.diff(ends, prepend=self._last_end) > 0]  # drops empty documents
        if len(ends):
            self._ends.write(ends.astype(np.int64).tobytes())
            self._last_end = int(ends[-1])
            self.documents += len(ends)


def _in_bytes(text: str, ends: Offsets) -> Offsets:
    codes = code_points(text)
    widths = 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)
    return np.concatenate([[0], np.cumsum(widths)])[ends]


def _widen(file: BufferedRandom, old: np.dtype[Any], new: np.dtype[Any]) -> None:
    """Rewrite a file of integers in place with a wider type, from the end to the beginning."""
    file.flush()
    length = file.seek(0, os.SEEK_END) // old.itemsize
    for start in reversed(range(0, length, BLOCK_SYMBOLS)):
        file.seek(start * old.itemsize)
        part = np.frombuffer(file.read(min(BLOCK_SYMBOLS, length - start) * old.itemsize), old)
        file.seek(start * new.itemsize)
        file.write(part.astype(new).data)
    file.seek(0, os.SEEK_END)
