"""The cells of model/cells.py in plain numpy, one symbol at a time; tests hold the two equal.

Lanes are columns: arrays are (N, B), so that each gate is a contiguous block. All buffers are
allocated when a layer is bound to a state, so a step allocates nothing. A sigmoid is computed as
s(x) = tanh(x / 2) / 2 + 1/2, with the inner 1/2 multiplied into the weights beforehand: it cannot
overflow, and a single tanh serves all gates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.model.config import LEAKY_SLOPE, NORM_EPS, ModelConfig

Floats = NDArray[Any]  # float32, or float64 if the weights are
Weights = Mapping[str, Floats]
Product = Callable[[], Any]  # computes a matrix product between fixed buffers
MatrixKind = Callable[[Floats], "Matrix"]  # makes a Matrix of weights (N, K)
# Advances a layer's state by a step, given all gate inputs that do not come from the state itself,
# (gates, B).
Advance = Callable[[Floats], None]


class Matrix(Protocol):
    """Weights to multiply vectors by."""

    def into(self, x: Floats, out: Floats) -> Product:
        """Return a function that writes the product with x, (K, B), into out, (N, B)."""


class Dense:
    """A matrix of floats, (N, K)."""

    def __init__(self, matrix: Floats) -> None:
        self.matrix = matrix

    def into(self, x: Floats, out: Floats) -> Product:
        """See Matrix."""
        rows, inner = self.matrix.shape
        lanes = x.shape[1]
        if lanes == 1:
            return partial(self.matrix.dot, x[:, 0], out[:, 0])
        if lanes <= FEW_LANES and (block := _block(rows, inner * lanes)) < rows:
            blocks = self.matrix.reshape(rows // block, block, inner)
            parts = out.reshape(rows // block, block, lanes)
            return partial(np.matmul, blocks, x, parts)
        return partial(np.dot, self.matrix, x, out)


# A product with few lanes spends most of its time copying the matrix. On processors with AVX-512,
# OpenBLAS skips the copy for small matrices: splitting a matrix into blocks of this many
# multiplications is up to twice as fast there, and no slower on one thread elsewhere.
FEW_LANES = 16
BLOCK = 2**19


def _block(rows: int, a_row: int) -> int:
    """Return how many rows to multiply at once: a divisor of rows, halved until the block fits."""
    block = rows
    while block % 2 == 0 and block * a_row > BLOCK:
        block //= 2
    return block


@dataclass(frozen=True)
class Bound:
    """A layer with buffers for B lanes.

    step: advances by a symbol. For the first layer its argument is what `drive` returns; for the
    others it is the layer's `bias`, because they read the layer below themselves. read: the same,
    for an argument that includes the layer below. memory: the cell state c, (H, B), if any.
    """

    step: Advance
    read: Advance
    memory: Floats | None = None


class Layer(Protocol):
    """A layer's weights, prepared for steps."""

    bias: Floats  # (gates, 1)

    def drive(self, x: Floats) -> Floats:
        """Return the gate inputs that come from x, (N, I), with the bias: (N, gates)."""

    def bind(self, x: Floats, h: Floats) -> Bound:
        """Allocate the buffers for a state.

        h: the array that holds the layer's output, (H, B). x: the array of which h is the second
        half and the output of the layer below the first, (2H, B); for the first layer, just h.
        """


class LSTM:
    """See model.cells.LSTM and PeepholeLSTM. The order of the gates is o, i, f, g."""

    def __init__(self, w: Weights, hidden: int, kind: MatrixKind, *, first: bool) -> None:
        prefix, suffix = ("rnn.", "_l0") if "rnn.weight_hh_l0" in w else ("", "")
        prepare = _o_first(hidden)
        inputs = prepare(w[f"{prefix}weight_ih{suffix}"])
        recurrent = prepare(w[f"{prefix}weight_hh{suffix}"])
        self.input, self.fused, self.recurrent = _matrices(inputs, recurrent, kind, first=first)
        bias = w["bias"] if "bias" in w else w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"]
        self.bias = prepare(bias)[:, None]
        self.peephole = 0.5 * w["peephole"][:, None] if "peephole" in w else None

    def drive(self, x: Floats) -> Floats:
        """See Layer."""
        driven: Floats = x @ self.input.T + self.bias[:, 0]
        return driven

    def bind(self, x: Floats, h: Floats) -> Bound:
        """See Layer."""
        hidden, lanes = h.shape
        # c follows the gates in memory, so that i * g and f * c are one product of blocks.
        buffer = np.zeros((5 * hidden, lanes), h.dtype)
        gates, c = buffer[: 4 * hidden], buffer[4 * hidden :]
        advance = _lstm if self.peephole is None else self._peephole_lstm
        return Bound(
            step=advance(self.fused.into(x, gates), buffer, h),
            read=advance(self.recurrent.into(h, gates), buffer, h),
            memory=c,
        )

    def _peephole_lstm(self, product: Product, buffer: Floats, h: Floats) -> Advance:
        assert self.peephole is not None
        o, i, f, g, c = np.split(buffer, 5)
        p_i, p_f, p_o = np.split(self.peephole, 3)
        gates, rest = buffer[: -len(h)], buffer[len(h) : -len(h)]
        i_and_f = rest[: 2 * len(h)]
        seen, half = np.empty_like(h), _half(h)

        def advance(driven: Floats) -> None:
            product()
            np.add(gates, driven, gates)
            np.add(i, np.multiply(p_i, c, seen), i)
            np.add(f, np.multiply(p_f, c, seen), f)
            np.tanh(rest, rest)
            np.add(np.multiply(i_and_f, half, i_and_f), half, i_and_f)
            np.multiply(f, c, c)
            np.add(c, np.multiply(i, g, seen), c)
            np.add(o, np.multiply(p_o, c, seen), o)
            np.tanh(o, o)
            np.add(np.multiply(o, half, o), half, o)
            np.multiply(o, np.tanh(c, seen), h)

        return advance


def _lstm(product: Product, buffer: Floats, h: Floats) -> Advance:
    hidden = len(h)
    gates, sigmoids = buffer[: 4 * hidden], buffer[: 3 * hidden]
    o, i_and_f, g_and_c = buffer[:hidden], buffer[hidden : 3 * hidden], buffer[3 * hidden :]
    c = buffer[4 * hidden :]
    products, half = np.empty_like(g_and_c), _half(h)
    i_g, f_c = np.split(products, 2)
    squashed = np.empty_like(h)
    add, multiply, tanh = np.add, np.multiply, np.tanh

    def advance(driven: Floats) -> None:
        product()
        add(gates, driven, gates)
        tanh(gates, gates)
        multiply(sigmoids, half, sigmoids)
        add(sigmoids, half, sigmoids)
        multiply(i_and_f, g_and_c, products)
        add(i_g, f_c, c)
        tanh(c, squashed)
        multiply(o, squashed, h)

    return advance


class LayerNormLSTM:
    """See model.cells.LayerNormLSTM. The order of the gates is o, i, f, g."""

    def __init__(self, w: Weights, hidden: int, kind: MatrixKind) -> None:
        prepare, order = _o_first(hidden), _order(hidden)
        self.input = w["weight_ih"][order]
        self.below, self.recurrent = kind(self.input), kind(w["weight_hh"][order])
        self.gain_x = prepare(w["gain_ih"])[:, None]
        self.gain_h = prepare(w["gain_hh"])[:, None]
        self.bias = prepare(w["bias"])[:, None]
        self.gain_c, self.bias_c = w["gain_c"][:, None], w["bias_c"][:, None]

    def drive(self, x: Floats) -> Floats:
        """See Layer."""
        driven = self.input @ x.T
        _normalise(driven, self.gain_x)
        driven += self.bias
        rows: Floats = driven.T
        return rows

    def bind(self, x: Floats, h: Floats) -> Bound:
        """See Layer."""
        buffer = np.zeros((5 * len(h), h.shape[1]), h.dtype)
        gates, c = buffer[: -len(h)], buffer[-len(h) :]
        read = self._advance(self.recurrent.into(h, gates), buffer, h)
        if len(x) == len(h):  # the first layer
            return Bound(step=read, read=read, memory=c)
        inputs = np.empty_like(gates)
        take_in = self.below.into(x[: -len(h)], inputs)

        def step(bias: Floats) -> None:
            take_in()
            _normalise(inputs, self.gain_x)
            read(np.add(inputs, bias, inputs))

        return Bound(step=step, read=read, memory=c)

    def _advance(self, product: Product, buffer: Floats, h: Floats) -> Advance:
        gates = buffer[: -len(h)]
        squashed = np.empty_like(h)

        def normalised_gates() -> None:
            product()
            _normalise(gates, self.gain_h)

        lstm = _lstm(normalised_gates, buffer, h)
        o, c = buffer[: len(h)], buffer[-len(h) :]

        def advance(driven: Floats) -> None:
            lstm(driven)
            squashed[...] = c
            _normalise(squashed, self.gain_c)
            np.tanh(np.add(squashed, self.bias_c, squashed), squashed)
            np.multiply(o, squashed, h)

        return advance


class GRU:
    """See model.cells.GRU. Its gate n needs the products with x and with h separately."""

    def __init__(self, w: Weights, hidden: int, kind: MatrixKind, *, first: bool) -> None:
        w_ih, w_hh = w["rnn.weight_ih_l0"], w["rnn.weight_hh_l0"]
        bias_n, self.bias_recurrent_n = (
            w[f"rnn.bias_{part}_l0"][2 * hidden :, None] for part in ("ih", "hh")
        )
        bias = w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"]
        self.bias = np.concatenate([0.5 * bias[: 2 * hidden, None], bias_n])
        self.input_n = w_ih[2 * hidden :]
        self.below_n, self.recurrent_n = kind(self.input_n), kind(w_hh[2 * hidden :])
        inputs, recurrent = 0.5 * w_ih[: 2 * hidden], 0.5 * w_hh[: 2 * hidden]
        self.input, self.fused, self.recurrent = _matrices(inputs, recurrent, kind, first=first)

    def drive(self, x: Floats) -> Floats:
        """See Layer."""
        driven: Floats = np.concatenate([x @ self.input.T, x @ self.input_n.T], axis=1)
        driven += self.bias[:, 0]
        return driven

    def bind(self, x: Floats, h: Floats) -> Bound:
        """See Layer."""
        sigmoids = np.empty((2 * len(h), h.shape[1]), h.dtype)
        read = self._advance(self.recurrent.into(h, sigmoids), sigmoids, h, None)
        if len(x) == len(h):  # the first layer
            return Bound(step=read, read=read)
        product = self.fused.into(x, sigmoids)
        return Bound(step=self._advance(product, sigmoids, h, x[: -len(h)]), read=read)

    def _advance(
        self, product: Product, sigmoids: Floats, h: Floats, below: Floats | None
    ) -> Advance:
        hidden = len(h)
        r, z = np.split(sigmoids, 2)
        n, scratch, half = np.empty_like(h), np.empty_like(h), _half(h)
        recur_n = self.recurrent_n.into(h, n)
        take_in = None if below is None else self.below_n.into(below, scratch)
        bias_n = self.bias_recurrent_n
        add, multiply, tanh = np.add, np.multiply, np.tanh

        def advance(driven: Floats) -> None:
            product()
            recur_n()
            add(sigmoids, driven[: 2 * hidden], sigmoids)
            tanh(sigmoids, sigmoids)
            multiply(sigmoids, half, sigmoids)
            add(sigmoids, half, sigmoids)
            add(n, bias_n, n)
            multiply(r, n, n)
            add(n, driven[2 * hidden :], n)
            if take_in is not None:
                take_in()
                add(n, scratch, n)
            tanh(n, n)
            np.subtract(h, n, scratch)  # h = n + z (h - n)
            multiply(z, scratch, scratch)
            add(n, scratch, h)

        return advance


class RNN:
    """See model.cells.RNN."""

    def __init__(self, w: Weights, nonlinearity: str, kind: MatrixKind, *, first: bool) -> None:
        self.nonlinearity = nonlinearity
        inputs, recurrent = w["rnn.weight_ih_l0"], w["rnn.weight_hh_l0"]
        self.input, self.fused, self.recurrent = _matrices(inputs, recurrent, kind, first=first)
        self.bias = (w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"])[:, None]

    def drive(self, x: Floats) -> Floats:
        """See Layer."""
        with np.errstate(over="ignore", invalid="ignore"):  # reported when a symbol is drawn
            driven: Floats = x @ self.input.T + self.bias[:, 0]
            return driven

    def bind(self, x: Floats, h: Floats) -> Bound:
        """See Layer."""
        z = np.empty_like(h)
        return Bound(
            step=self._advance(self.fused.into(x, z), z, h),
            read=self._advance(self.recurrent.into(h, z), z, h),
        )

    def _advance(self, product: Product, z: Floats, h: Floats) -> Advance:
        slope = np.array({"relu": 0, "leaky-relu": LEAKY_SLOPE}.get(self.nonlinearity, 1), h.dtype)
        scratch = np.empty_like(h)

        def rectify(driven: Floats) -> None:
            with np.errstate(over="ignore", invalid="ignore"):
                product()
                np.add(z, driven, z)
                np.maximum(z, np.multiply(z, slope, scratch), out=h)

        def squash(driven: Floats) -> None:
            product()
            np.tanh(np.add(z, driven, z), h)

        return squash if self.nonlinearity == "tanh" else rectify


def make_layer(w: Weights, config: ModelConfig, kind: MatrixKind, *, first: bool) -> Layer:
    """Make a layer with the cell of a model.

    kind: makes the matrices that `step` multiplies by. first: whether the layer reads symbols.
    """
    match config.cell:
        case "lstm" | "peephole-lstm":
            return LSTM(w, config.hidden_size, kind, first=first)
        case "layernorm-lstm":
            return LayerNormLSTM(w, config.hidden_size, kind)
        case "gru":
            return GRU(w, config.hidden_size, kind, first=first)
        case "rnn":
            return RNN(w, config.nonlinearity, kind, first=first)


def _order(hidden: int) -> NDArray[np.integer[Any]]:
    """Return the indices that reorder the stacked gates (i, f, g, o) to (o, i, f, g)."""
    return np.roll(np.arange(4 * hidden), hidden)


def _o_first(hidden: int) -> Callable[[Floats], Floats]:
    """Return a function that reorders stacked gates and halves the rows of the sigmoids."""
    order = _order(hidden)

    def prepare(stacked: Floats) -> Floats:
        ordered: Floats = stacked[order]
        ordered[: 3 * hidden] *= 0.5
        return ordered

    return prepare


def _matrices(
    inputs: Floats, recurrent: Floats, kind: MatrixKind, *, first: bool
) -> tuple[Floats, Matrix, Matrix]:
    """Return matrices for the inputs, for inputs and state together, and for the state.

    The first is a view of the second. The third is a copy, because multiplying by a slice of each
    row takes three times as long. The first layer takes its inputs from a table.
    """
    if first:
        return inputs, kind(recurrent), Dense(recurrent)
    both = np.concatenate([inputs, recurrent], axis=1)
    return both[:, : inputs.shape[1]], kind(both), Dense(recurrent)


def _half(like: Floats) -> Floats:
    return np.array(0.5, like.dtype)


def _normalise(v: Floats, gain: Floats) -> None:
    """Normalise each column of v, (N, B), in place to mean 0 and variance 1, times gain, (N, 1)."""
    mean = np.full(len(v), 1 / len(v), v.dtype)
    v -= mean.dot(v)
    variance = mean.dot(np.square(v))
    v /= np.sqrt(variance + NORM_EPS, dtype=v.dtype)
    v *= gain
