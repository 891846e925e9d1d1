"""Ids on disk: written in one pass, mapped into memory, read a stretch at a time."""

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
_IDS_FILE, _ENDS_FILE = "ids.bin", "ends.bin"
_COPY = 1 << 20  # symbols that are copied at a time
_GROUP = 1 << 20  # documents that are split at a time


class Symbols:
    """A stretch of a text as ids, which are read from the disk as they are asked for."""

    def __init__(
        self,
        stored: Ids,
        table: npt.NDArray[np.int64] | None = None,
        ends: Offsets | None = None,
        start: int = 0,
    ) -> None:
        """Take the stored ids, (N,), and how to read them.

        table: the id that stands for each stored one; None where they are the same.
        ends: where documents end, ascending, counted from `start` symbols before this stretch.
        """
        self._stored = stored
        self._table = table
        self._ends = np.zeros(0, np.int64) if ends is None else ends
        self._start = start

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, part: slice) -> npt.NDArray[np.int64]:
        """Return the ids of a part of the stretch."""
        stored = self._stored[part]
        return stored.astype(np.int64) if self._table is None else self._table[stored]

    def cut(self, start: int, stop: int) -> "Symbols":
        """Return a part of the stretch."""
        return Symbols(self._stored[start:stop], self._table, self._ends, self._start + start)

    def blocks(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield all ids, some at a time."""
        for start in range(0, len(self), _COPY):
            yield self[start : start + _COPY]

    def columns(self, starts: Iterable[int], steps: int) -> npt.NDArray[np.int64]:
        """Return the ids of `steps` symbols from each start on, (steps, number of starts)."""
        return np.stack([self[start : start + steps] for start in starts], axis=1)

    def resets(self, starts: npt.ArrayLike, steps: int) -> npt.NDArray[np.bool_] | None:
        """Return where, in what `columns` returns, a model's state begins anew; None for nowhere.

        That is at the last symbol of a document: its own prediction is over, and what it predicts
        is the first symbol of the next. So this one, too, is predicted from a fresh state.
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
class Stored:
    """A text on disk.

    symbols: code points, or bytes, in the order of their ids. counts: how often each occurs.
    length: symbols in all. bytes: of the text, decompressed. val_start: where the validation part
    begins, if it is fixed.
    sha256: of the text and the ends of its documents. settings: what it was encoded with.
    files: what they were called. notices: what the user should know of them.
    data_sha256: of the files of ids and ends, see `data_hash`.
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
        """Write this beside the ids."""
        (folder / META_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "Stored":
        """Read what `save` wrote; raises ValueError, or OSError, where the folder is damaged."""
        try:
            stored = Stored(**json.loads((folder / META_FILE).read_text(encoding="utf-8")))
            symbols, counts = np.array(stored.symbols, np.int64), np.array(stored.counts, np.int64)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{folder}: not of this version") from error
        if symbols.shape != counts.shape or np.any((symbols < 0) | (symbols >= CODE_POINTS)):
            raise ValueError(f"{folder}: its symbols are no characters")
        sizes = [(folder / name).stat().st_size for name in (_IDS_FILE, _ENDS_FILE)]
        if sizes != [stored.length * stored.type.itemsize, stored.documents * 8]:
            raise ValueError(f"{folder}: not as long as it should be")
        return stored

    def verify(self, folder: Path) -> None:
        """Read the ids once; raises ValueError where they are not what was stored."""
        if data_hash(folder) != self.data_sha256:
            raise ValueError(f"{folder}: damaged")

    @property
    def type(self) -> np.dtype[Any]:
        """The type of the stored ids."""
        return np.dtype(smallest_dtype(len(self.symbols)))

    def ids(self, folder: Path) -> Ids:
        """Return the stored ids, (length,), mapped."""
        return _mapped(folder / _IDS_FILE, self.type, self.length)

    def ends(self, folder: Path) -> Offsets:
        """Return the ends of the documents, (documents,), ascending, mapped."""
        return _mapped(folder / _ENDS_FILE, np.dtype(np.int64), self.documents)


def data_hash(folder: Path) -> str:
    """Return the SHA-256 of the files of ids and ends."""
    hashes = []
    for name in (_IDS_FILE, _ENDS_FILE):
        with (folder / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(hashes)


class Writer:
    """Writes a text as ids, given out in the order in which characters first appear.

    The file has the smallest type that holds the ids so far; it is rewritten when one does not fit.
    """

    def __init__(self, folder: Path, unit: str) -> None:
        """Begin the files in a folder."""
        self._ids = (folder / _IDS_FILE).open("w+b")
        self._ends = (folder / _ENDS_FILE).open("w+b")
        self._type: np.dtype[Any] = np.dtype(np.uint8)
        self._table = np.full(CODE_POINTS, -1, dtype=np.int32)
        self._last_end = 0
        self._unit = unit
        self.symbols: list[int] = []
        self.counts = np.zeros(256, dtype=np.int64)
        self.length = self.characters = self.documents = 0
        if unit == "byte":
            self._learn(np.arange(256))

    def add(self, block: Block) -> bytes:
        """Write a block; returns its text in UTF-8. Raises CorpusError for what has none."""
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
            self._learn(new[np.argsort(first)])
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
        """Bring everything to the disk; returns the SHA-256 of the documents' ends."""
        self._ends.seek(0)
        digest = hashlib.file_digest(self._ends, "sha256").hexdigest()
        for file in (self._ids, self._ends):
            file.flush()
            os.fsync(file.fileno())
        return digest

    def _learn(self, codes: npt.NDArray[Any]) -> None:
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
        ends = ends[np.diff(ends, prepend=self._last_end) > 0]  # an empty document is none
        if len(ends):
            self._ends.write(ends.astype(np.int64).tobytes())
            self._last_end = int(ends[-1])
            self.documents += len(ends)


def _in_bytes(text: str, ends: Offsets) -> Offsets:
    codes = code_points(text)
    widths = 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)
    return np.concatenate([[0], np.cumsum(widths)])[ends]


def _widen(file: BinaryIO, old: np.dtype[Any], new: np.dtype[Any]) -> None:
    """Rewrite a file of integers in place with a wider type, from its end to its beginning."""
    file.flush()
    length = file.seek(0, os.SEEK_END) // old.itemsize
    for start in reversed(range(0, length, _COPY)):
        file.seek(start * old.itemsize)
        part = np.frombuffer(file.read(min(_COPY, length - start) * old.itemsize), old)
        file.seek(start * new.itemsize)
        file.write(part.astype(new).data)
    file.seek(0, os.SEEK_END)


def hold_out_documents(folder: Path, stored: Stored, share: float) -> int:
    """Move documents chosen at random behind the others; returns where they begin.

    share: of the symbols that shall be held out, at most, but one document at least. The choice
    depends on the documents' lengths alone. Raises CorpusError where there is one document.
    """
    if stored.documents < 2:
        raise CorpusError(
            f"{stored.name}: `split_documents` needs at least two documents, this is one; give "
            "several files, or `lines`, `column` or `field`"
        )
    ids, ends = stored.ids(folder), stored.ends(folder)
    groups = range(0, len(ends), _GROUP)
    held = np.concatenate([_chosen(_lengths(ends, at), share) for at in groups])
    moved = [folder / f"{name}.moved" for name in (_IDS_FILE, _ENDS_FILE)]
    with moved[0].open("wb") as ids_file, moved[1].open("wb") as ends_file:
        val_start = position = 0
        for chosen in (~held, held):
            val_start = position
            for start in range(0, len(ids), _COPY):
                block = ids[start : start + _COPY]
                ids_file.write(block[_members(ends, chosen, start, start + len(block))].data)
            for at in groups:
                after = position + np.cumsum(_lengths(ends, at)[chosen[at : at + _GROUP]])
                ends_file.write(after.data)
                position = int(after[-1]) if len(after) else position
        for file in (ids_file, ends_file):
            file.flush()
            os.fsync(file.fileno())
    del ids, ends
    for path in moved:
        path.replace(path.with_suffix(""))
    return val_start


def _lengths(ends: Offsets, at: int) -> Offsets:
    """Return the lengths of the documents of the group that begins with document `at`."""
    return np.diff(ends[at : at + _GROUP], prepend=ends[at - 1] if at else 0)


def _chosen(lengths: Offsets, share: float) -> npt.NDArray[np.bool_]:
    """Choose documents of a group at random: each that fits into what is left of the share."""
    held = np.zeros(len(lengths), dtype=bool)
    room = share * int(lengths.sum())
    for i in np.random.default_rng(0).permutation(len(lengths)).tolist():
        if lengths[i] <= room:
            room -= int(lengths[i])
            held[i] = True
    if not held.any():
        held[lengths.argmin()] = True
    return held


def _members(
    ends: Offsets, chosen: npt.NDArray[np.bool_], start: int, stop: int
) -> npt.NDArray[np.bool_]:
    """Return which symbols of a block are of a chosen document, (stop - start,)."""
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(ends, stop, side="left")) + 1
    lengths = np.diff(np.minimum(ends[first:last], stop), prepend=start)
    return np.repeat(chosen[first:last], lengths)


def _mapped(path: Path, kind: np.dtype[Any], length: int) -> npt.NDArray[Any]:
    if length == 0:  # nothing to map
        return np.zeros(0, kind)
    return np.asarray(np.memmap(path, dtype=kind, mode="r", shape=(length,)))
