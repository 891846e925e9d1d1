"""One symbol at a time in plain numpy: the layers of model/cells.py, without gradients or torch.

The equations, letters and gate orders are those of model/cells.py; tests hold the two equal.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.model.config import LEAKY_SLOPE, NORM_EPS, ModelConfig

Floats = NDArray[Any]  # float32, or float64 where the weights are
State = tuple[Floats, ...]
Weights = Mapping[str, Floats]
CellStep = Callable[[Weights, ModelConfig, Floats, State], State]


class Stepper:
    """A language model as a function from a symbol and a state to logits and a state."""

    def __init__(self, weights: Weights, config: ModelConfig) -> None:
        """Take the weights by the names of model.config.parameter_shapes."""
        self.config = config
        self.bias = weights["output.bias"]
        self.embedding = weights.get("embedding.weight")
        self.output = weights["embedding.weight" if config.tie_embeddings else "output.weight"]
        self.step_cell = STEPS[config.cell]
        self.layers = [_part(weights, f"cells.{layer}.") for layer in range(config.num_layers)]

    @property
    def vocabulary_size(self) -> int:
        """The number of symbols, V."""
        return len(self.bias)

    def start(self, batch_size: int) -> State:
        """Return the state before any symbol: zeros, a tuple of (L, B, H)."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_size)
        return tuple(np.zeros(shape, self.bias.dtype) for _ in self.config.state_names)

    def step(self, ids: NDArray[np.integer[Any]], state: State) -> tuple[Floats, State]:
        """Read one symbol in each lane: ids (B,), state a tuple of (L, B, H).

        Returns the logits of the symbol behind it, (B, V), and the state after it.
        """
        y = self._embed(ids)
        after: list[State] = []
        for layer, weights in enumerate(self.layers):
            before = tuple(part[layer] for part in state)
            after.append(self.step_cell(weights, self.config, y, before))
            y = after[-1][0]
        logits: Floats = y @ self.output.T + self.bias
        return logits, tuple(np.stack(parts) for parts in zip(*after, strict=True))

    def _embed(self, ids: NDArray[np.integer[Any]]) -> Floats:
        if self.embedding is not None:
            row: Floats = self.embedding[ids]
            return row
        one_hot = np.zeros((len(ids), self.vocabulary_size), self.bias.dtype)
        one_hot[np.arange(len(ids)), ids] = 1
        return one_hot


def sigmoid(x: Floats) -> Floats:
    """Logistic sigmoid, by way of tanh, which cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def layer_norm(x: Floats, gain: Floats) -> Floats:
    """Normalise each row of x, (B, N), to mean 0 and variance 1, times a gain (N,)."""
    centred = x - x.mean(axis=1, keepdims=True)
    variance = np.square(centred).mean(axis=1, keepdims=True)
    normalised: Floats = centred / np.sqrt(variance + NORM_EPS) * gain
    return normalised


def lstm(w: Weights, _: ModelConfig, x: Floats, state: State) -> State:
    """See model.cells.LSTM."""
    h, c = state
    gates = x @ w["rnn.weight_ih_l0"].T + w["rnn.bias_ih_l0"]
    gates = gates + h @ w["rnn.weight_hh_l0"].T + w["rnn.bias_hh_l0"]
    i, f, g, o = np.split(gates, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(w: Weights, _: ModelConfig, x: Floats, state: State) -> State:
    """See model.cells.GRU."""
    (h,) = state
    driven = np.split(x @ w["rnn.weight_ih_l0"].T + w["rnn.bias_ih_l0"], 3, axis=1)
    recurrent = np.split(h @ w["rnn.weight_hh_l0"].T + w["rnn.bias_hh_l0"], 3, axis=1)
    r, z = (sigmoid(a + b) for a, b in zip(driven[:2], recurrent[:2], strict=True))
    n = np.tanh(driven[2] + r * recurrent[2])
    return ((1 - z) * n + z * h,)


def rnn(w: Weights, config: ModelConfig, x: Floats, state: State) -> State:
    """See model.cells.RNN."""
    (h,) = state
    z = x @ w["rnn.weight_ih_l0"].T + w["rnn.bias_ih_l0"]
    z = z + h @ w["rnn.weight_hh_l0"].T + w["rnn.bias_hh_l0"]
    match config.nonlinearity:
        case "tanh":
            return (np.tanh(z),)
        case "relu":
            return (np.maximum(z, 0),)
        case "leaky-relu":
            return (np.where(z > 0, z, LEAKY_SLOPE * z),)


def peephole_lstm(w: Weights, _: ModelConfig, x: Floats, state: State) -> State:
    """See model.cells.PeepholeLSTM."""
    h, c = state
    p_i, p_f, p_o = np.split(w["peephole"], 3)
    gates = x @ w["weight_ih"].T + w["bias"] + h @ w["weight_hh"].T
    i, f, g, o = np.split(gates, 4, axis=1)
    i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
    c = f * c + i * np.tanh(g)
    return sigmoid(o + p_o * c) * np.tanh(c), c


def layernorm_lstm(w: Weights, _: ModelConfig, x: Floats, state: State) -> State:
    """See model.cells.LayerNormLSTM."""
    h, c = state
    gates = layer_norm(x @ w["weight_ih"].T, w["gain_ih"]) + w["bias"]
    gates = gates + layer_norm(h @ w["weight_hh"].T, w["gain_hh"])
    i, f, g, o = np.split(gates, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(layer_norm(c, w["gain_c"]) + w["bias_c"]), c


STEPS: dict[str, CellStep] = {
    "lstm": lstm,
    "gru": gru,
    "rnn": rnn,
    "peephole-lstm": peephole_lstm,
    "layernorm-lstm": layernorm_lstm,
}


def _part(weights: Weights, prefix: str) -> dict[str, Floats]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
