"""Truncated BPTT: the corpus as B contiguous lanes, cut into chunks of T steps."""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charrnn.text.store import Symbols


@dataclass(frozen=True)
class Chunk:
    """One truncated-BPTT step's data.

    inputs, targets: ids, (T, B); a target is the input one symbol later. resets: (T, B), bool:
    where the state begins anew before the step, because an epoch or a document begins; None for
    nowhere. Elsewhere it is carried on, from chunk to chunk.
    """

    inputs: Tensor
    targets: Tensor
    resets: Tensor | None


class Lanes:
    """An endless sequence of chunks, epoch after epoch, whose position can be saved.

    An epoch has the same number of chunks each time, and starts at a random offset among those
    that leave room for them, so that the borders of chunks and lanes move between epochs.
    """

    def __init__(
        self, text: Symbols, batch_size: int, seq_length: int, generator: np.random.Generator
    ) -> None:
        """Lay B lanes of whole T-step chunks over N symbols; N - 1 >= B * T, see `fit`."""
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
    def epochs_done(self) -> float:
        """Passes over the corpus so far, the running one by its share."""
        return self.epoch + self.chunk / self.chunks_per_epoch

    def next(self) -> Chunk:
        """Cut the next chunk; past the last one of an epoch, the next epoch begins."""
        if self.chunk == self.chunks_per_epoch:
            self.epoch += 1
            self.chunk = 0
            self.offset = self._draw_offset()
        lane = self.chunks_per_epoch * self.seq_length
        starts = self.offset + lane * np.arange(self.batch_size) + self.chunk * self.seq_length
        ids = torch.from_numpy(self.text.columns(starts.tolist(), self.seq_length + 1))
        resets = self.text.resets(starts, self.seq_length)
        if self.chunk == 0:
            resets = (
                np.zeros((self.seq_length, self.batch_size), bool) if resets is None else resets
            )
            resets[0] = True
        self.chunk += 1
        return Chunk(ids[:-1], ids[1:], None if resets is None else torch.from_numpy(resets))

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and the generator's state, as JSON data."""
        return {
            "epoch": self.epoch,
            "chunk": self.chunk,
            "offset": self.offset,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position that `state_dict` returned for the same text, B and T.

        Raises KeyError, TypeError or ValueError for what is no such position.
        """
        epoch, chunk, offset = (operator.index(state[key]) for key in ("epoch", "chunk", "offset"))
        if epoch < 0 or not 0 <= chunk <= self.chunks_per_epoch or not 0 <= offset < self._offsets:
            raise ValueError(f"chunk {chunk} at offset {offset} is not in the corpus")
        self.epoch, self.chunk, self.offset = epoch, chunk, offset
        self.generator.bit_generator.state = state["generator"]

    def _draw_offset(self) -> int:
        return int(self.generator.integers(self._offsets))
