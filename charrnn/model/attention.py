"""Attention of the last layer over its own past outputs: what a state has forgotten is found again.

It adds a window of W steps to what the recurrent state keeps. h is (T, B, H), the outputs of the
last layer; A is the size of a query, a key and a value. The layer's state is (memory, filled):
memory, (W, B, 2 A), has the keys and values of the W steps before, the latest last; filled, (W, B),
is 1 for those that exist and 0 for the others, which are before the first symbol or a reset.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from charrnn.model.cells import State, uniform
from charrnn.model.config import ModelConfig

# Steps that look back at once, at least: their keys are shared, but more of them are out of reach.
BLOCK = 64


class Attention(nn.Module):
    """A single head, added to the outputs of the last layer.

    (q_t, k_t, v_t) = P h_t                                 the rows of P in this order
    e_tj = exp(q_t . k_j / sqrt(A) + b_{t-j})               for t - W <= j < t
    y_t  = h_t + O (sum_j e_tj v_j) / (1 + sum_j e_tj)

    Keys and values of a window of past outputs are from Daniluk et al. 2017 (arXiv:1702.04521, sec.
    3), a single head that is added to an LSTM's output from Merity 2019 (arXiv:1911.11423), the
    scaled product from Vaswani et al. 2017 (eq. 1), a bias for each distance from Raffel et al.
    2020 (sec. 2.1). The 1 lets a step look at nothing, as the first step has to. The sum keeps the
    size of what the softmax reads, so that the embedding can still be tied to it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, size = config.hidden_size, config.attention_size
        self.weight_in = nn.Parameter(torch.empty(3 * size, hidden))
        self.weight_out = nn.Parameter(torch.empty(hidden, size))
        self.bias = nn.Parameter(torch.empty(config.attention))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights; O starts at 0, so a new model computes what it would without."""
        uniform(self.weight_in, self.weight_in.shape[1], generator)
        nn.init.zeros_(self.weight_out)
        nn.init.zeros_(self.bias)

    def forward(
        self, h: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Return y, (T, B, H), and the state after step T. resets: see model.cells."""
        memory, filled = state
        size, window, steps = self.weight_out.shape[1], len(self.bias), len(h)
        query, entries = F.linear(h, self.weight_in).split([size, 2 * size], dim=2)
        memory = torch.cat([memory, entries.to(memory.dtype)])
        text = _texts(filled, steps, resets)
        queries = query.transpose(0, 1) / math.sqrt(size)
        keys, values = memory.transpose(0, 1).split(size, dim=2)
        block = max(window, BLOCK)
        contexts = []
        for start in range(0, steps, block):
            asking = slice(start, min(start + block, steps))
            seen = slice(start, asking.stop + window - 1)
            own = text[:, window:][:, asking, None] if resets is not None else 0
            scores = torch.baddbmm(
                self._biases(asking.stop - start), queries[:, asking], keys[:, seen].mT
            ).masked_fill(text[:, None, seen] != own, -math.inf)
            shares = F.pad(scores, (1, 0)).softmax(dim=2)[:, :, 1:]  # exp(0) = 1 is for nothing
            contexts.append(shares @ values[:, seen])
        y = h + F.linear(torch.cat(contexts, dim=1).transpose(0, 1), self.weight_out)
        filled = (text[:, -window:] == text[:, -1:]).t().to(filled.dtype)
        return y, (memory[-window:], filled)

    def _biases(self, steps: int) -> Tensor:
        """Return b_{t-j} for S steps and the S + W - 1 before the last; -inf out of the window."""
        padding = self.bias.new_full((steps,), -math.inf)
        row = torch.cat([self.bias.flip(0), padding])
        width = len(row) - 1  # a column less than the row has: each row starts one further right
        return row.repeat(steps)[: steps * width].view(steps, width)


def _texts(filled: Tensor, steps: int, resets: Tensor | None) -> Tensor:
    """Number what each step belongs to, (B, W + T): steps of one number may see each other.

    0 goes on from the memory, each reset begins the next; -1 is for what does not exist.
    """
    numbers = filled.new_zeros(steps, filled.shape[1])
    if resets is not None:
        numbers += resets.to(filled.device).cumsum(dim=0)
    return torch.cat([filled - 1, numbers]).t()
