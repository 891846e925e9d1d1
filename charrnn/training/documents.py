"""Truncated BPTT over short documents: those of similar lengths begin together, side by side."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.model.language_model import PADDING
from charrnn.text.store import Symbols
from charrnn.training.group import ALL, Share
from charrnn.training.lanes import Chunk, Lanes
from charrnn.training.progress import LanePosition

# Chunks of the mean document up to which documents count as short; longer ones are cut there.
SHORT = 16
# Lengths that differ by less than this fraction share a group; the shorter ones are padded.
WIDTH = 1 / 8
BLOCK = 2**20  # documents that are shuffled together, to bound the memory
_SEEDS = 2**31
Longs = NDArray[np.int64]


def has_short_documents(text: Symbols, seq_length: int) -> bool:
    """Return whether the documents of a text are short enough for DocumentLanes."""
    return text.documents > 1 and len(text) <= SHORT * seq_length * text.documents


def reader_of(
    text: Symbols, batch_size: int, seq_length: int, generator: np.random.Generator
) -> "Lanes | DocumentLanes":
    """Return what reads a text: DocumentLanes if its documents are short."""
    kind = DocumentLanes if has_short_documents(text, seq_length) else Lanes
    return kind(text, batch_size, seq_length, generator)


@dataclass(frozen=True)
class _Group:
    """Documents that are read side by side: where each begins, and its symbols, (B,).

    They are read in so many chunks of so many steps.
    """

    starts: Longs
    lengths: Longs
    chunks: int
    steps: int


class DocumentLanes:
    """An endless sequence of chunks in which whole documents begin together; see Lanes.

    Each document is read once an epoch, in random order. A document of more than `seq_length`
    symbols takes several chunks and carries its state; one of more than SHORT * seq_length is cut
    into parts that are documents of their own. As far as documents of similar lengths can be found,
    a chunk has as many symbols as batch_size * seq_length.
    """

    def __init__(
        self, text: Symbols, batch_size: int, seq_length: int, generator: np.random.Generator
    ) -> None:
        self.text = text
        self.batch_size = batch_size
        self.seq_length = seq_length
        self.generator = generator
        self._block_chunks = np.array(
            [
                sum(group.chunks for group in self._groups(block, None))
                for block in range(-(-text.documents // BLOCK))
            ]
        )
        self.chunks_per_epoch = int(self._block_chunks.sum())
        self._first_end = int(text.document_bounds(0, 1)[1])
        self.epoch = 0
        self.chunk = 0
        self._begin_epoch()

    @property
    def epochs_done(self) -> float:
        """Passes over the corpus so far, the unfinished one included as a fraction."""
        return self.epoch + self.chunk / self.chunks_per_epoch

    @property
    def carried(self) -> int:
        """The number of lanes whose state the next chunk may continue."""
        group, _ = self._at(max(self.chunk - 1, 0))
        return len(group.starts)

    def next(self, share: Share = ALL) -> Chunk:
        """Cut the next chunk, or a share of its lanes; after the last one, a new epoch begins."""
        if self.chunk == self.chunks_per_epoch:
            self.epoch += 1
            self.chunk = 0
            self._begin_epoch()
        group, done = self._at(self.chunk)
        self.chunk += 1
        own = share.lanes(len(group.starts))
        starts = group.starts[own] + done * group.steps - 1
        ids = torch.from_numpy(self._columns(starts, group.steps))
        left = group.lengths - done * group.steps
        padding = torch.arange(group.steps)[:, None] >= torch.from_numpy(left[own])
        targets = ids[1:].masked_fill(padding, PADDING)
        symbols = int(left.clip(0, group.steps).sum())
        return Chunk(ids[:-1], targets, None, symbols, fresh=done == 0)

    def position(self) -> LanePosition:
        """Return the position, to be saved; its offset is the seed of the epoch."""
        state = dict(self.generator.bit_generator.state)
        return LanePosition(self.epoch, self.chunk, self._seed, state)

    def move_to(self, position: LanePosition) -> None:
        """Go to a position that `position` returned for the same text and chunks.

        Raises KeyError, TypeError or ValueError for a position that is not in the text, or one of
        Lanes, as earlier versions read short documents.
        """
        epoch, chunk, seed = position.epoch, position.chunk, position.offset
        if epoch < 0 or not 0 <= chunk <= self.chunks_per_epoch or not 0 <= seed < _SEEDS:
            raise ValueError(f"chunk {chunk} of order {seed} is not in the corpus")
        if seed != _last_draw(position.generator):
            raise ValueError(f"order {seed} is not one of documents")
        self.generator.bit_generator.state = position.generator
        self.epoch, self.chunk = epoch, chunk
        self._shuffle(seed)

    def _begin_epoch(self) -> None:
        self._shuffle(int(self.generator.integers(_SEEDS)))

    def _shuffle(self, seed: int) -> None:
        """Put the blocks of documents in the order of an epoch."""
        self._seed = seed
        self._order = np.random.default_rng(seed).permutation(len(self._block_chunks))
        self._block_ends = self._block_chunks[self._order].cumsum()
        self._loaded = -1

    def _at(self, chunk: int) -> tuple[_Group, int]:
        """Return the group that a chunk of this epoch is in, and its chunks before this one."""
        place = int(self._block_ends.searchsorted(chunk, "right"))
        if place != self._loaded:
            block = int(self._order[place])
            rng = np.random.default_rng((self._seed, block))
            groups = list(self._groups(block, rng))
            self._shuffled = [groups[i] for i in rng.permutation(len(groups))]
            self._group_ends = np.cumsum([group.chunks for group in self._shuffled])
            self._loaded = place
        within = chunk - int(self._block_ends[place] - self._group_ends[-1])
        index = int(self._group_ends.searchsorted(within, "right"))
        group = self._shuffled[index]
        return group, within - int(self._group_ends[index]) + group.chunks

    def _groups(self, block: int, rng: np.random.Generator | None) -> Iterator[_Group]:
        """Arrange the documents of a block, in random order or as they are.

        Their numbers and shapes are the same for every order.
        """
        starts, lengths = self._documents(block)
        padded = _padded(lengths)
        if rng is not None:
            order = rng.permutation(len(starts))
            starts, lengths, padded = starts[order], lengths[order], padded[order]
        order = np.argsort(padded, kind="stable")
        values, first = np.unique(padded[order], return_index=True)
        members = np.split(order, first[1:])
        waiting = order[:0]
        for i, (length, own) in enumerate(zip(values.tolist(), members, strict=True)):
            chunks = math.ceil(length / self.seq_length)
            steps = math.ceil(length / chunks)
            mean = lengths[own].mean()
            size = max(1, round(self.batch_size * self.seq_length * chunks / mean))
            found = np.concatenate([waiting, own])
            whole = len(found) // size * size
            for part in np.split(found[:whole], whole // size) if whole else []:
                yield _Group(starts[part], lengths[part], chunks, steps)
            waiting = found[whole:]
            # Too few of a length wait for longer ones, unless these are much longer.
            last = i + 1 == len(values) or values[i + 1] > 2 * length
            if last and len(waiting):
                yield _Group(starts[waiting], lengths[waiting], chunks, steps)
                waiting = waiting[:0]

    def _documents(self, block: int) -> tuple[Longs, Longs]:
        """Return the starts and lengths of a block's documents, those too long in parts."""
        bounds = self.text.document_bounds(block * BLOCK, (block + 1) * BLOCK)
        longest = SHORT * self.seq_length
        parts = -(-np.diff(bounds) // longest)
        starts = np.repeat(bounds[:-1], parts)
        number = np.arange(len(starts)) - np.repeat(np.cumsum(parts) - parts, parts)
        starts = starts + number * longest
        ends = np.minimum(starts + longest, np.repeat(bounds[1:], parts))
        return starts, ends - starts

    def _columns(self, starts: Longs, steps: int) -> Longs:
        """Return steps + 1 symbols from each start, (steps + 1, B).

        Before the first symbol of the text comes the end of a document, as before all others. What
        would be behind the end of the text does not matter.
        """
        width = min(steps + 1, len(self.text))
        base = np.clip(starts, 0, len(self.text) - width)
        ids = self.text.columns(base.tolist(), width)
        if width <= steps:
            ids = np.pad(ids, ((0, steps + 1 - width), (0, 0)))
        for lane in np.flatnonzero(base != starts):
            rows = np.arange(steps + 1) + starts[lane] - base[lane]
            ids[:, lane] = ids[rows.clip(0, steps), lane]
            if starts[lane] < 0:
                ids[0, lane] = self.text[self._first_end - 1 : self._first_end][0]
        return ids


def _last_draw(state: Any) -> int:
    """Return the seed of an epoch that a generator in this state drew last."""
    bits = np.random.PCG64()
    bits.state = state
    draws = 2 - bits.state["has_uint32"]  # the generator gives two at a time, and keeps the second
    bits.advance(-1)
    return int(np.random.Generator(bits).integers(_SEEDS, size=draws)[-1])


def _padded(lengths: Longs) -> Longs:
    """Return the lengths rounded up, so that at most WIDTH of the result is padding."""
    step = np.maximum(2 ** np.floor(np.log2(np.maximum(lengths, 1))).astype(np.int64) * WIDTH, 1)
    rounded: Longs = (np.ceil(lengths / step) * step).astype(np.int64)
    return rounded
