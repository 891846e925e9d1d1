"""A language model in plain numpy, one symbol at a time, close to the speed of its products."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from threadpoolctl import threadpool_limits

from charrnn.errors import MissingExtraError, SettingsError, shortened
from charrnn.generation.attention import Attention
from charrnn.generation.layers import Advance, Dense, Floats, MatrixKind, Weights, make_layer
from charrnn.generation.request import MAX_LANES
from charrnn.generation.softmax import Softmax, make_softmax
from charrnn.model.config import ModelConfig
from charrnn.settings import check_threads
from charrnn.text.vocabulary import Ids

TABLE_BYTES = 64 * 2**20  # largest table of the first layer's gate inputs for each symbol
COLUMNS_BYTES = 8 * 2**20  # in a larger table, several columns take longer to read than rows
READ_STEPS = 128  # symbols of a prompt that go through one layer before the next

WORTH_THREADS = 2**19  # number of weights below which threads cost more than they gain
TRIALS = 3
CLEARLY_FASTER = 0.9  # of the time


class Stepper:
    """A language model in numpy; see lane_model.LaneModel."""

    def __init__(self, weights: Weights, config: ModelConfig, kind: MatrixKind = Dense) -> None:
        """Prepare the weights, named as in model.config.parameter_shapes.

        kind: makes the matrices to multiply by, such as int8.Int8.
        """
        self.config = config
        self.dtype = weights["output.bias"].dtype
        self.embedding = weights.get("embedding.weight")
        self.softmax = make_softmax(weights, config, kind)
        self.vocabulary_size = self.softmax.size
        self.layers = [
            make_layer(_part(weights, f"cells.{layer}."), config, kind, first=layer == 0)
            for layer in range(config.num_layers)
        ]
        self.attention = Attention(_part(weights, "attention.")) if config.attention else None
        self.kind = kind
        gates = len(self.layers[0].bias)
        self.table = None
        if self.vocabulary_size * gates * self.dtype.itemsize <= TABLE_BYTES:
            self.table = self._driven(np.arange(self.vocabulary_size))[:, :, None]

    def with_softmax(self, softmax: Softmax) -> "Stepper":
        """Return this stepper with another softmax, which decides what its logits are."""
        twin = copy.copy(self)
        twin.softmax = softmax
        return twin

    def start(self, lanes: int) -> "NumpyStates":
        """Return the states before any symbol: zeros in each of B lanes."""
        return NumpyStates(self, lanes)

    def step(self, ids: Ids, states: "NumpyStates") -> Floats:
        """Read one symbol in each lane, ids (B,), and advance the states.

        Returns the logits of the next symbols, (B, V), which the next step overwrites.
        """
        if self.table is not None and len(ids) == 1:
            driven = self.table[ids.item(0)]
        elif self.table is not None and self.table.nbytes <= COLUMNS_BYTES:
            driven = self._columns.take(ids, axis=1)
        else:
            driven = self._driven(ids).T
        for advance, bias in states.steps:
            advance(driven if bias is None else bias)
        return states.predict()

    def read(self, ids: Ids, states: "NumpyStates") -> Floats:
        """Read ids (T, B), T at least 1, and return the last logits, (B, V).

        Does what `step` does for each row, but faster: a layer's input products are computed for
        READ_STEPS symbols at once.
        """
        assert len(ids)
        if self.kind is not Dense:  # another kind of matrix would round the products differently
            return [self.step(row, states) for row in ids][-1]
        for start in range(0, len(ids), READ_STEPS):
            self._outputs(ids[start : start + READ_STEPS], states)
        return states.predict()

    def read_all(self, ids: Ids, states: "NumpyStates") -> Floats:
        """Read ids (T, B) and return the logits after each symbol, (T, B, V).

        logits[t] predicts the symbol after ids[t]. The result takes T * B * V numbers, and little
        memory is used besides: read a long text in parts, as the states carry over. Overflow gives
        NaN or infinity.
        """
        logits = np.empty((*ids.shape, self.vocabulary_size), self.dtype)
        if self.kind is not Dense:
            for row, out in zip(ids, logits, strict=True):
                out[...] = self.step(row, states)
            return logits
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(ids), READ_STEPS):
                part = logits[start : start + READ_STEPS].reshape(-1, self.vocabulary_size)
                outputs = self._outputs(ids[start : start + READ_STEPS], states)
                self.softmax.read(outputs, part)
        return logits

    def _outputs(self, ids: Ids, states: "NumpyStates") -> Floats:
        """Read ids (T, B), and return the outputs of the last layer, (T * B, H).

        With those of the attention, if it is on.
        """
        lanes = ids.shape[1]
        outputs = np.empty((0, 0))
        for i, (layer, advance) in enumerate(zip(self.layers, states.reads, strict=True)):
            driven = layer.drive(outputs) if i else self._driven(ids.ravel())
            h = states.output if i == len(self.layers) - 1 else states.hidden(i)
            outputs = np.empty((len(ids) * lanes, len(h)), h.dtype)
            columns = driven.reshape(len(ids), lanes, -1).swapaxes(1, 2)
            for column, out in zip(columns, outputs.reshape(len(ids), lanes, -1), strict=True):
                advance(column)
                out[...] = h.T
        return outputs

    @cached_property
    def _columns(self) -> Floats:
        """The table with a column for each symbol, (gates, V), to look up several at once."""
        assert self.table is not None
        return np.ascontiguousarray(self.table[:, :, 0].T)

    def _driven(self, ids: Ids) -> Floats:
        """Return the gate inputs of the first layer for ids (N,): (N, gates)."""
        first = self.layers[0]
        if self.table is not None:
            row: Floats = self.table[ids, :, 0]
            return row
        if self.embedding is not None:
            return first.drive(self.embedding[ids])
        one_hot = np.zeros((len(ids), self.vocabulary_size), self.dtype)
        one_hot[np.arange(len(ids)), ids] = 1
        return first.drive(one_hot)


def matrix_kind(weights: str) -> MatrixKind:
    """Return what makes the matrices of a stepper for `weights`: float32, or int8 with numba.

    Raises SettingsError for any other name, and if numba is missing or cannot work.
    """
    if weights == "float32":
        return Dense
    if weights != "int8":
        raise SettingsError(f"`weights={shortened(weights)}`: choose one of float32, int8")
    try:
        from charrnn.generation.int8 import Int8
    except ImportError as error:
        raise MissingExtraError("weights=int8", "numba", "fast") from error
    except RuntimeError as error:  # numba found no place for its cache
        raise SettingsError(
            f"`weights=int8`: {error}; set NUMBA_CACHE_DIR to a writable folder"
        ) from error
    return Int8


def fastest_threads(stepper: Stepper, lanes: int = 1) -> int | None:
    """Measure whether one thread is faster than all; return 1, or None to leave them all on.

    Threads wait for each other after each product. If products are short or another process is
    busy, one thread is faster, sometimes by far. Small models always get one, without measuring.
    """
    gates = sum(layer.bias.size for layer in stepper.layers)
    if gates * stepper.config.hidden_size < WORTH_THREADS:
        return 1
    lanes = min(lanes, MAX_LANES)
    states, ids = stepper.start(lanes), np.zeros(lanes, dtype=int)
    seconds: dict[int | None, float] = {1: math.inf, None: math.inf}
    for _ in range(TRIALS):
        for threads in seconds:
            with blas_threads(threads):
                stepper.step(ids, states)  # wakes the threads
                began = time.perf_counter()
                stepper.step(ids, states)
                seconds[threads] = min(seconds[threads], time.perf_counter() - began)
    return None if seconds[None] < CLEARLY_FASTER * seconds[1] else 1


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of numpy's matrix products within a block; None sets no limit.

    Raises SettingsError for a number out of bounds.
    """
    check_threads(threads)
    with threadpool_limits(threads, user_api="blas"):
        yield


class NumpyStates:
    """A model's states in B lanes, and the buffers for a step.

    h: the outputs of all layers stacked, (L * H, B), so that what a layer reads, the output of the
    layer below and its own, is one block. memories: the cell states, L times (H, B). attention: its
    memory, if it is on. output: what the softmax reads, (H, B).
    """

    def __init__(self, stepper: Stepper, lanes: int) -> None:
        self._stepper = stepper
        hidden, dtype = stepper.config.hidden_size, stepper.dtype
        self.h = np.zeros((stepper.config.num_layers * hidden, lanes), dtype)
        bound = [
            layer.bind(self.h[max(i - 1, 0) * hidden : (i + 1) * hidden], self.hidden(i))
            for i, layer in enumerate(stepper.layers)
        ]
        self.memories = [b.memory for b in bound if b.memory is not None]
        self.reads = [b.read for b in bound]
        self.steps = [
            (b.step, layer.bias.repeat(lanes, axis=1) if i else None)
            for i, (b, layer) in enumerate(zip(bound, stepper.layers, strict=True))
        ]
        self.attention, self.output = None, self.hidden(-1)
        if stepper.attention is not None:
            self.attention = stepper.attention.bind(self.output)
            self.output = self.attention.output
            self.reads[-1] = self._attending(self.reads[-1])
            step, bias = self.steps[-1]
            self.steps[-1] = self._attending(step), bias
        self.predict = self._make_predict()

    @property
    def lanes(self) -> int:
        """The number of lanes, B."""
        return self.h.shape[1]

    def hidden(self, layer: int) -> Floats:
        """Return the output of a layer, (H, B), without attention."""
        hidden: Floats = np.split(self.h, len(self._stepper.layers))[layer]
        return hidden

    def _make_predict(self) -> Callable[[], Floats]:
        """Return a function that computes the logits of the next symbols, (B, V), in a buffer."""
        predict = self._stepper.softmax.bind(self.output)

        def predict_quietly() -> Floats:
            with np.errstate(over="ignore", invalid="ignore"):
                return predict()

        # Without a bound on h it may overflow, which is reported when a symbol is drawn.
        return predict if self._stepper.config.nonlinearity == "tanh" else predict_quietly

    def take(self, lanes: Ids) -> "NumpyStates":
        """See lane_model.LaneStates."""
        after = self if len(lanes) == self.lanes else NumpyStates(self._stepper, len(lanes))
        after.h[...] = self.h.take(lanes, axis=1)
        for mine, its in zip(self.memories, after.memories, strict=True):
            its[...] = mine.take(lanes, axis=1)
        if self.attention is not None and after.attention is not None:
            after.attention.take(self.attention, lanes)
        return after

    def _attending(self, advance: Advance) -> Advance:
        """Return a step of the last layer that ends with one of the attention."""
        assert self.attention is not None
        attend = self.attention.step

        def advance_and_attend(driven: Floats) -> None:
            advance(driven)
            attend()

        return advance_and_attend


def _part(weights: Weights, prefix: str) -> dict[str, Floats]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
