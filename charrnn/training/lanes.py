"""Truncated BPTT: the corpus as B contiguous lanes, cut into chunks of T steps."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from charrnn.text.store import Symbols
from charrnn.training.group import ALL, Share
from charrnn.training.progress import LanePosition


@dataclass(frozen=True)
class Chunk:
    """One truncated-BPTT step's data.

    inputs, targets: ids, (T, B); a target is the input one symbol later, or PADDING if it does not
    count. resets: (T, B), bool: whether a lane's state is reset before the step; None if no lane
    is. Otherwise the state is carried on, from chunk to chunk, unless all lanes start afresh.
    symbols: the number of targets that count, in all lanes of the chunk, also if these are only
    some of them.
    """

    inputs: Tensor
    targets: Tensor
    resets: Tensor | None
    symbols: int
    fresh: bool = False

    def part(self, lanes: slice) -> "Chunk":
        """Return some of the lanes."""
        resets = None if self.resets is None else self.resets[:, lanes]
        return replace(
            self, inputs=self.inputs[:, lanes], targets=self.targets[:, lanes], resets=resets
        )


class ChunkReader(Protocol):
    """An endless sequence of chunks, epoch after epoch, whose position can be saved."""

    batch_size: int
    seq_length: int
    chunks_per_epoch: int

    @property
    def epochs_done(self) -> float:
        """Passes over the corpus so far, the unfinished one included as a fraction."""
        ...

    @property
    def carried(self) -> int:
        """The number of lanes whose state the next chunk may continue."""
        ...

    def next(self, share: Share = ALL) -> Chunk:
        """Cut the next chunk, or that share of its lanes."""
        ...

    def position(self) -> LanePosition:
        """Return the position, to be saved."""
        ...

    def move_to(self, position: LanePosition) -> None:
        """Go to a position that `position` returned for the same text and chunks."""
        ...


class Lanes:
    """An endless sequence of chunks, epoch after epoch, whose position can be saved.

    Every epoch has the same number of chunks. It starts at a random offset that leaves room for
    them, so that the borders of chunks and lanes move from epoch to epoch.
    """

    def __init__(
        self, text: Symbols, batch_size: int, seq_length: int, generator: np.random.Generator
    ) -> None:
        """Lay B lanes of whole T-step chunks over N symbols, with N - 1 >= B * T; see `fit`."""
        targets = len(text) - 1
        assert targets >= batch_size * seq_length, "fit() the lanes to the text first"
        self.text = text
        self.batch_size = batch_size
        self.seq_length = seq_length
        # With T symbols to spare the offset is always free to move, by a chunk at least.
        self.chunks_per_epoch = max(1, (targets - seq_length) // (batch_size * seq_length))
        self._offsets = len(text) - self.chunks_per_epoch * batch_size * seq_length
        self.generator = generator
        self.epoch = 0
        self.chunk = 0
        self.offset = self._draw_offset()

    @property
    def carried(self) -> int:
        """The number of lanes whose state the next chunk may continue."""
        return self.batch_size

    @property
    def epochs_done(self) -> float:
        """Passes over the corpus so far, the unfinished one included as a fraction."""
        return self.epoch + self.chunk / self.chunks_per_epoch

    def next(self, share: Share = ALL) -> Chunk:
        """Cut the next chunk, or a share of its lanes; after the last one, a new epoch begins."""
        if self.chunk == self.chunks_per_epoch:
            self.epoch += 1
            self.chunk = 0
            self.offset = self._draw_offset()
        lane = self.chunks_per_epoch * self.seq_length
        starts = self.offset + lane * np.arange(self.batch_size) + self.chunk * self.seq_length
        starts = starts[share.lanes(self.batch_size)]
        ids = torch.from_numpy(self.text.columns(starts.tolist(), self.seq_length + 1))
        resets = self.text.resets(starts, self.seq_length)
        if self.chunk == 0:
            resets = np.zeros((self.seq_length, len(starts)), bool) if resets is None else resets
            resets[0] = True
        self.chunk += 1
        symbols = self.batch_size * self.seq_length
        return Chunk(
            ids[:-1], ids[1:], None if resets is None else torch.from_numpy(resets), symbols
        )

    def position(self) -> LanePosition:
        """Return the position, to be saved."""
        state = dict(self.generator.bit_generator.state)
        return LanePosition(self.epoch, self.chunk, self.offset, state)

    def move_to(self, position: LanePosition) -> None:
        """Go to a position that `position` returned for the same text, B and T.

        Raises KeyError, TypeError or ValueError for a position that is not in the text.
        """
        epoch, chunk, offset = position.epoch, position.chunk, position.offset
        if epoch < 0 or not 0 <= chunk <= self.chunks_per_epoch or not 0 <= offset < self._offsets:
            raise ValueError(f"chunk {chunk} at offset {offset} is not in the corpus")
        self.epoch, self.chunk, self.offset = epoch, chunk, offset
        self.generator.bit_generator.state = position.generator

    def _draw_offset(self) -> int:
        return int(self.generator.integers(self._offsets))
