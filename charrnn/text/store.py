"""Ids on disk: written in one pass, mapped into memory, read slice by slice."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError
from charrnn.text.cache import META_FILE
from charrnn.text.corpus import Block, Offsets, surrogate_message
from charrnn.text.vocabulary import Ids, code_points, smallest_dtype

CODE_POINTS = 0x110000
IDS_FILE, ENDS_FILE = "ids.bin", "ends.bin"
BLOCK_SYMBOLS = 1 << 20  # symbols to copy at a time


class Symbols:
    """A part of a text as ids, which are read from disk when they are needed."""

    def __init__(
        self,
        stored: Ids,
        table: npt.NDArray[np.int64] | None = None,
        ends: Offsets | None = None,
        start: int = 0,
    ) -> None:
        """Describe the stored ids, (N,), and how to read them.

        table: the id for each stored id; None if they are the same.
        ends: the ends of all documents of the text, ascending. start: where this part begins in it.
        """
        self._stored = stored
        self._table = table
        self._ends = np.zeros(0, np.int64) if ends is None else ends
        self._start = start

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, part: slice) -> npt.NDArray[np.int64]:
        """Return the ids of a slice."""
        stored = self._stored[part]
        return stored.astype(np.int64) if self._table is None else self._table[stored]

    def cut(self, start: int, stop: int) -> "Symbols":
        """Return the symbols from start up to stop, without reading them."""
        return Symbols(self._stored[start:stop], self._table, self._ends, self._start + start)

    def blocks(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield all ids, a block at a time."""
        for start in range(0, len(self), BLOCK_SYMBOLS):
            yield self[start : start + BLOCK_SYMBOLS]

    def columns(self, starts: Iterable[int], steps: int) -> npt.NDArray[np.int64]:
        """Return the ids of `steps` symbols from each start, (steps, number of starts)."""
        return np.stack([self[start : start + steps] for start in starts], axis=1)

    def reset_positions(self) -> npt.NDArray[np.int64]:
        """Return the positions at which a model's state is reset, ascending, see `resets`."""
        first, last = np.searchsorted(self._ends, [self._start + 1, self._start + len(self) + 1])
        return self._ends[first:last] - self._start - 1

    def resets(self, starts: npt.ArrayLike, steps: int) -> npt.NDArray[np.bool_] | None:
        """Return where in the result of `columns` to reset a model's state, or None for nowhere.

        The state is reset before the model reads the last symbol of a document. By then that symbol
        has been predicted; from it alone, the model predicts the first symbol of the next document.
        """
        first = np.asarray(starts) + self._start + 1
        low = np.searchsorted(self._ends, first)
        high = np.searchsorted(self._ends, first + steps)
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
    settings: the settings it was encoded with.
    files: the names of its files at that time. notices: messages about them for the user.
    data_sha256: the hash of the files of ids and ends, see `data_hash`.
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
    files: list[str]
    notices: list[str]
    data_sha256: str = ""

    def save(self, folder: Path) -> None:
        """Write the metadata next to the ids."""
        (folder / META_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "StoredCorpus":
        """Read what `save` wrote. Raises ValueError or OSError if the folder is damaged."""
        try:
            stored = StoredCorpus(**json.loads((folder / META_FILE).read_text(encoding="utf-8")))
            symbols, counts = np.array(stored.symbols, np.int64), np.array(stored.counts, np.int64)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{folder}: written by another version") from error
        if symbols.shape != counts.shape or np.any((symbols < 0) | (symbols >= CODE_POINTS)):
            raise ValueError(f"{folder}: its symbols are not characters")
        sizes = [(folder / name).stat().st_size for name in (IDS_FILE, ENDS_FILE)]
        if sizes != [stored.length * stored.type.itemsize, stored.documents * 8]:
            raise ValueError(f"{folder}: its files have the wrong length")
        return stored

    def verify(self, folder: Path) -> None:
        """Read all data once. Raises ValueError if it is not what was stored."""
        if data_hash(folder) != self.data_sha256:
            raise ValueError(f"{folder}: damaged")

    @property
    def type(self) -> np.dtype[Any]:
        """The type of the stored ids."""
        return np.dtype(smallest_dtype(len(self.symbols)))

    def ids(self, folder: Path) -> Ids:
        """Return the stored ids, (length,), memory-mapped."""
        return _mapped(folder / IDS_FILE, self.type, self.length)

    def ends(self, folder: Path) -> Offsets:
        """Return the ends of the documents, (documents,), ascending, memory-mapped."""
        return _mapped(folder / ENDS_FILE, np.dtype(np.int64), self.documents)


def data_hash(folder: Path) -> str:
    """Return the SHA-256 of the files of ids and ends."""
    hashes = []
    for name in (IDS_FILE, ENDS_FILE):
        with (folder / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(hashes)


class Writer:
    """Writes a text as ids, which are numbered in the order in which characters first appear.

    The file uses the smallest type that fits the ids so far; it is rewritten if one does not fit.
    """

    def __init__(self, folder: Path, unit: str) -> None:
        """Create the files in a folder."""
        self._ids = (folder / IDS_FILE).open("w+b")
        self._ends = (folder / ENDS_FILE).open("w+b")
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


def _widen(file: BinaryIO, old: np.dtype[Any], new: np.dtype[Any]) -> None:
    """Rewrite a file of integers in place with a wider type, from the end to the beginning."""
    file.flush()
    length = file.seek(0, os.SEEK_END) // old.itemsize
    for start in reversed(range(0, length, BLOCK_SYMBOLS)):
        file.seek(start * old.itemsize)
        part = np.frombuffer(file.read(min(BLOCK_SYMBOLS, length - start) * old.itemsize), old)
        file.seek(start * new.itemsize)
        file.write(part.astype(new).data)
    file.seek(0, os.SEEK_END)


def _mapped(path: Path, kind: np.dtype[Any], length: int) -> npt.NDArray[Any]:
    if length == 0:  # an empty file cannot be mapped
        return np.zeros(0, kind)
    return np.asarray(np.memmap(path, dtype=kind, mode="r", shape=(length,)))
