"""Hold out whole documents for validation, chosen at random."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError
from charrnn.text.corpus import Offsets
from charrnn.text.integers import SortedFile
from charrnn.text.private import create_private_file
from charrnn.text.store import BLOCK_SYMBOLS, ENDS_FILE, IDS_FILE, StoredCorpus, StoredData

_GROUP = 1 << 20  # documents to choose from at a time


def hold_out_documents(folder: Path, stored: StoredCorpus, fraction: float) -> int:
    """Move randomly chosen documents behind the others; return where they begin.

    fraction: the largest share of the symbols to hold out; at least one document is held out.
    The choice depends only on the lengths of the documents.
    Raises CorpusError if there is only one document.
    """
    if stored.documents < 2:
        raise CorpusError(
            f"{stored.name}: `split_documents` needs at least two documents, but the corpus is one "
            "document; use several files, or `lines`, `paragraphs`, `column` or `field`"
        )
    data = StoredData(folder, stored.type)
    ids, ends = data.ids, data.ends
    groups = range(0, len(ends), _GROUP)
    held_out = np.concatenate([_choose(_lengths(ends, first), fraction) for first in groups])
    reordered = [folder / f"{name}.reordered" for name in (IDS_FILE, ENDS_FILE)]
    with (
        create_private_file(reordered[0]) as ids_file,
        create_private_file(reordered[1]) as ends_file,
    ):
        val_start = position = 0
        for chosen in (~held_out, held_out):
            val_start = position
            for start in range(0, len(ids), BLOCK_SYMBOLS):
                block = ids[start : start + BLOCK_SYMBOLS]
                ids_file.write(block[_in_chosen(ends, chosen, start, start + len(block))].data)
            for first in groups:
                lengths = _lengths(ends, first)[chosen[first : first + _GROUP]]
                new_ends = position + np.cumsum(lengths)
                ends_file.write(new_ends.data)
                position = int(new_ends[-1]) if len(new_ends) else position
        for file in (ids_file, ends_file):
            file.flush()
            os.fsync(file.fileno())
    data.close()
    for path in reordered:
        path.replace(path.with_suffix(""))
    return val_start


def _lengths(ends: Offsets | SortedFile, first: int) -> Offsets:
    """Return the lengths of the documents in the group that begins with document `first`."""
    start = ends[first - 1 : first] if first else [0]
    return np.diff(ends[first : first + _GROUP], prepend=start)


def _choose(lengths: Offsets, fraction: float) -> npt.NDArray[np.bool_]:
    """Choose documents of a group in random order, each one that still fits into the fraction."""
    chosen = np.zeros(len(lengths), dtype=bool)
    room = fraction * int(lengths.sum())
    for i in np.random.default_rng(0).permutation(len(lengths)).tolist():
        if lengths[i] <= room:
            room -= int(lengths[i])
            chosen[i] = True
    if not chosen.any():
        chosen[lengths.argmin()] = True
    return chosen


def _in_chosen(
    ends: Offsets | SortedFile, chosen: npt.NDArray[np.bool_], start: int, stop: int
) -> npt.NDArray[np.bool_]:
    """Return which symbols of a block are in a chosen document, (stop - start,)."""
    first = int(ends.searchsorted(start + 1))
    last = int(ends.searchsorted(stop)) + 1
    lengths = np.diff(np.minimum(ends[first:last], stop), prepend=start)
    return np.repeat(chosen[first:last], lengths)
