"""Recurrent layers: torch's fused kernels where it has them, an explicit recurrence elsewhere.

All have one signature. x is (T, B, I). A layer's state is a tuple of (B, H), in the order of
model/specs.py: (h, c) for the LSTMs, (h,) for the others. resets is (T, B), on the CPU: whether a
lane's state is reset to 0 before the step; None if no lane is reset. A layer returns the outputs
h_1..h_T, (T, B, H), and the state after step T.

In the equations s is the logistic sigmoid, * the elementwise product, W are input matrices (H, I),
U recurrent matrices (H, H). Gates that are stacked into one matrix are in torch's order: i, f, g, o
for the LSTMs; r, z, n for the GRU. torch's kernels have two biases, one beside W and one beside U;
the equations show one b if only their sum matters.

To add a cell: declare it in model/specs.py; write a class here with `initialise` and `forward`, and
its row in CELLS; then its numpy step in generation/layers.py. See CONTRIBUTING.md.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charrnn.model.config import LEAKY_SLOPE, NORM_EPS, ModelConfig
from charrnn.model.gru import gru_recurrence

State = tuple[Tensor, ...]


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i_t = s(W_i x_t + U_i h_{t-1} + b_i)
    f_t = s(W_f x_t + U_f h_{t-1} + b_f)
    g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)
    o_t = s(W_o x_t + U_o h_{t-1} + b_o)
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)
    """

    def __init__(self, input_size: int, config: ModelConfig) -> None:
        super().__init__()
        self.rnn = nn.LSTM(input_size, config.hidden_size)

    def initialise(self, generator: torch.Generator, fan_in: int) -> None:
        """Draw the weights; the forget gate starts open, with a bias of 1.

        fan_in: how many inputs of a step are not 0; 1 for a one-hot vector.
        """
        _initialise(self, generator, fan_in)
        _open_forget_gate(self.rnn.all_weights[0][2])

    def forward(
        self, x: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see the module's docstring for the shapes."""
        return _fused(self.rnn, x, state, resets)


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014), in the variant of torch and cuDNN.

    r_t = s(W_r x_t + U_r h_{t-1} + b_r)
    z_t = s(W_z x_t + U_z h_{t-1} + b_z)
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + d_n))
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    The reset gate r acts after the product with U_n, and on its bias d_n; in the paper it acts on
    h_{t-1} before the product.
    """

    def __init__(self, input_size: int, config: ModelConfig) -> None:
        super().__init__()
        self.rnn = nn.GRU(input_size, config.hidden_size)

    def initialise(self, generator: torch.Generator, fan_in: int) -> None:
        """Draw the weights; biases start at 0."""
        _initialise(self, generator, fan_in)

    def forward(
        self, x: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see the module's docstring for the shapes."""
        if x.device.type != "cpu":  # cuDNN has a fast kernel; torch for CPUs has not
            return _fused(self.rnn, x, state, resets)
        weight_ih, weight_hh, bias_ih, bias_hh = _weights(self.rnn)
        gates = 2 * self.rnn.hidden_size  # r and z, whose two biases are added up
        bias = bias_ih + F.pad(bias_hh[:gates], (0, self.rnn.hidden_size))
        driven = F.linear(x, weight_ih, bias)
        fresh = list(_fresh(x, resets))
        outputs, last = gru_recurrence(driven, state[0], weight_hh, bias_hh[gates:], fresh)
        return outputs, (last,)


class RNN(nn.Module):
    """Simple recurrent network (Elman 1990): h_t = f(W x_t + U h_{t-1} + b).

    f is tanh, relu, or leaky relu with slope 0.01 for negative values. Leaky relu has no fused
    kernel and runs step by step on the same parameters.
    """

    def __init__(self, input_size: int, config: ModelConfig) -> None:
        super().__init__()
        self.leaky = config.nonlinearity == "leaky-relu"
        fused = "tanh" if config.nonlinearity == "tanh" else "relu"
        self.rnn = nn.RNN(input_size, config.hidden_size, nonlinearity=fused)

    def initialise(self, generator: torch.Generator, fan_in: int) -> None:
        """Draw the weights; biases start at 0."""
        _initialise(self, generator, fan_in)

    def forward(
        self, x: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see the module's docstring for the shapes."""
        if self.leaky:
            return self._leaky_forward(x, state, resets)
        return _fused(self.rnn, x, state, resets)

    def _leaky_forward(
        self, x: Tensor, state: State, resets: Tensor | None
    ) -> tuple[Tensor, State]:
        weight_ih, weight_hh, bias_ih, bias_hh = self.rnn.all_weights[0]
        driven = F.linear(x, weight_ih, bias_ih + bias_hh)
        outputs = []
        for driven_t, fresh in zip(driven.unbind(0), _fresh(x, resets), strict=True):
            (h,) = _after_reset(state, fresh)
            state = (F.leaky_relu(driven_t + F.linear(h, weight_hh), LEAKY_SLOPE),)
            outputs.append(state[0])
        return torch.stack(outputs), state


class PeepholeLSTM(nn.Module):
    """LSTM whose gates see the memory cell (Gers & Schmidhuber 2000; Graves 2013, eq. 7-11).

    i_t = s(W_i x_t + U_i h_{t-1} + p_i * c_{t-1} + b_i)
    f_t = s(W_f x_t + U_f h_{t-1} + p_f * c_{t-1} + b_f)
    c_t = f_t * c_{t-1} + i_t * tanh(W_g x_t + U_g h_{t-1} + b_g)
    o_t = s(W_o x_t + U_o h_{t-1} + p_o * c_t + b_o)
    h_t = o_t * tanh(c_t)
    """

    def __init__(self, input_size: int, config: ModelConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        self.peephole = nn.Parameter(torch.empty(3 * hidden))  # p_i, p_f, p_o

    def initialise(self, generator: torch.Generator, fan_in: int) -> None:
        """Draw the weights; the forget gate starts open, the peepholes shut."""
        _initialise(self, generator, fan_in)
        _open_forget_gate(self.bias)
        nn.init.zeros_(self.peephole)

    def forward(
        self, x: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see the module's docstring for the shapes."""
        p_i, p_f, p_o = self.peephole.chunk(3)
        outputs = []
        driven_by = F.linear(x, self.weight_ih, self.bias).unbind(0)
        for driven, fresh in zip(driven_by, _fresh(x, resets), strict=True):
            h, c = _after_reset(state, fresh)
            i, f, g, o = (driven + F.linear(h, self.weight_hh)).chunk(4, dim=1)
            i, f = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            outputs.append(h)
            state = (h, c)
        return torch.stack(outputs), state


class LayerNormLSTM(nn.Module):
    """Layer-normalised LSTM (Ba, Kiros & Hinton 2016, eq. 20-22).

    (i, f, g, o)_t = N(U h_{t-1}; a_h) + N(W x_t; a_x) + b
    c_t = s(f_t) * c_{t-1} + s(i_t) * tanh(g_t)
    h_t = s(o_t) * tanh(N(c_t; a_c) + b_c)

    N(v; a) = a * (v - mean v) / sqrt(var v + 1e-5) over the whole vector: all 4 H stacked gates for
    the first two, H for the third. The paper gives the first two a shift each; their sum is b.
    """

    def __init__(self, input_size: int, config: ModelConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        self.gain_ih = nn.Parameter(torch.empty(4 * hidden))
        self.gain_hh = nn.Parameter(torch.empty(4 * hidden))
        self.gain_c = nn.Parameter(torch.empty(hidden))
        self.bias_c = nn.Parameter(torch.empty(hidden))

    def initialise(self, generator: torch.Generator, fan_in: int) -> None:
        """Draw the weights; the forget gate starts open, the gains at 1."""
        _initialise(self, generator, fan_in)
        _open_forget_gate(self.bias)
        for gain in (self.gain_ih, self.gain_hh, self.gain_c):
            nn.init.ones_(gain)

    def forward(
        self, x: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see the module's docstring for the shapes."""
        (gates,), (hidden,) = self.gain_ih.shape, self.gain_c.shape
        x_norm = F.layer_norm(
            F.linear(x, self.weight_ih), (gates,), self.gain_ih, self.bias, NORM_EPS
        )
        outputs = []
        for driven, fresh in zip(x_norm.unbind(0), _fresh(x, resets), strict=True):
            h, c = _after_reset(state, fresh)
            recurrent = F.linear(h, self.weight_hh)
            recurrent = F.layer_norm(recurrent, (gates,), self.gain_hh, None, NORM_EPS)
            i, f, g, o = (driven + recurrent).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            c_norm = F.layer_norm(c, (hidden,), self.gain_c, self.bias_c, NORM_EPS)
            h = torch.sigmoid(o) * torch.tanh(c_norm)
            outputs.append(h)
            state = (h, c)
        return torch.stack(outputs), state


CELLS: dict[str, type[nn.Module]] = {
    "lstm": LSTM,
    "gru": GRU,
    "rnn": RNN,
    "peephole-lstm": PeepholeLSTM,
    "layernorm-lstm": LayerNormLSTM,
}


_KERNELS = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


def _fused(
    rnn: nn.LSTM | nn.GRU | nn.RNN, x: Tensor, state: State, resets: Tensor | None
) -> tuple[Tensor, State]:
    """Run one of torch's own layers; its kernels cannot reset, so each reset needs another call.

    If documents are longer than a chunk that costs nothing, and with ten symbols a document up to
    three times the step. Cutting the lanes into packed sequences costs three times in both cases.
    """
    if resets is None:
        return _kernel(rnn, x, state)
    starts = resets.any(dim=1).nonzero().squeeze(1).tolist()
    borders = sorted({0, len(x), *starts})
    fresh = list(_fresh(x, resets))
    outputs = []
    for start, stop in itertools.pairwise(borders):
        y, state = _kernel(rnn, x[start:stop], _after_reset(state, fresh[start]))
        outputs.append(y)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state


def _kernel(rnn: nn.RNNBase, x: Tensor, state: State) -> tuple[Tensor, State]:
    weights = _weights(rnn)
    parts = tuple(part.unsqueeze(0) for part in state)
    kernel: Any = _KERNELS[rnn.mode]
    learning = torch.is_grad_enabled()
    start = parts if len(parts) > 1 else parts[0]
    # One layer with biases; no dropout of torch's own, one direction, time-major.
    y, *after = kernel(x, start, weights, True, 1, 0.0, learning, False, False)
    return y, tuple(part.squeeze(0) for part in after)


def _weights(rnn: nn.RNNBase) -> list[Tensor]:
    """Return the weights that one of torch's layers has at this moment.

    The module also keeps a list of its weights, which would still hold the raw ones while dropped
    ones replace them (see LanguageModel.forward).
    """
    weights: list[Any] = [rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0]
    return weights


def _fresh(x: Tensor, resets: Tensor | None) -> Iterator[Tensor | None]:
    """Yield for each step which lanes are reset before it, (B, 1); None if no lane is."""
    if resets is None:
        yield from [None] * len(x)
    else:
        lanes = resets.to(x.device).unsqueeze(2)
        some = resets.any(dim=1).tolist()
        yield from (lanes[t] if some[t] else None for t in range(len(x)))


def _after_reset(state: State, fresh: Tensor | None) -> State:
    return state if fresh is None else tuple(part.masked_fill(fresh, 0) for part in state)


def _initialise(cell: nn.Module, generator: torch.Generator, fan_in: int) -> None:
    """Draw input matrices with variance 1 / fan_in, and each gate's U orthogonal; the rest is 0.

    The first gives each unit an input of variance 1 (LeCun et al. 1998, sec. 4.6); the second keeps
    the norm of gradients that flow back through time (Saxe et al. 2014).
    """
    for name, parameter in cell.named_parameters():
        if "weight_hh" in name:
            hidden = parameter.shape[1]
            for gate in parameter.detach().split(hidden):
                nn.init.orthogonal_(gate, generator=generator)
        elif "weight_ih" in name:
            uniform(parameter, fan_in, generator)
        else:
            nn.init.zeros_(parameter)


def uniform(matrix: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Fill a matrix with uniform numbers of mean 0 and variance 1 / fan_in."""
    bound = (3 / fan_in) ** 0.5
    nn.init.uniform_(matrix, -bound, bound, generator=generator)


def _open_forget_gate(bias: Tensor) -> None:
    """Set the forget gate's part of a stacked (i, f, g, o) bias to 1 (Gers et al. 2000)."""
    nn.init.ones_(bias.detach().chunk(4)[1])
