"""The language model: embedding, stacked recurrent layers, logits."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from charrnn.model.attention import Attention
from charrnn.model.cells import CELLS, State, uniform
from charrnn.model.config import ModelConfig
from charrnn.model.softmax import make_softmax
from charrnn.model.specs import CELL_SPECS

PADDING = -1  # in place of a target that does not count


class LanguageModel(nn.Module):
    """p(next symbol | all symbols so far), for a vocabulary of V symbols.

    x_t   = the embedding of symbol t, or its one-hot vector if embedding_size is 0
    y_t   = the output of the L recurrent layers, each of which reads the one below; with what
            model.attention adds to it, if it is on
    p_t   = softmax(D y_t + b), where D is the embedding if tie_embeddings; see model.softmax for
            the adaptive softmax

    A model's state is a tuple of tensors, the parts of ModelConfig.state: (L, B, H) for the cells.
    It is passed in and returned, never stored.
    """

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, generator: torch.Generator | None = None
    ) -> None:
        """Make a model with fresh weights.

        generator: draws the weights, on the CPU; seeded with 0 by default.
        """
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        input_size = config.embedding_size or vocabulary_size
        self.embedding = (
            nn.Embedding(vocabulary_size, config.embedding_size) if config.embedding_size else None
        )
        sizes = [input_size] + [config.hidden_size] * (config.num_layers - 1)
        self.cells = nn.ModuleList(CELLS[config.cell](size, config) for size in sizes)
        self.attention = Attention(config) if config.attention else None
        self.output = make_softmax(config, vocabulary_size)
        if config.tie_embeddings and self.embedding is not None:
            self.output.weight = self.embedding.weight
        self._initialise(generator or torch.Generator().manual_seed(0))

    def start(self, batch_size: int) -> State:
        """Return the state before any symbol, one tensor for each part of ModelConfig.state."""
        return tuple(
            self.output.weight.new_full(part.with_lanes(batch_size), part.initial)
            for part in self.config.state.parts
        )

    def take(self, state: State, lanes: Tensor) -> State:
        """Return a copy of the state in these lanes, (N,), which are on the model's device."""
        return tuple(
            own.index_select(part.batch_axis, lanes)
            for part, own in zip(self.config.state.parts, state, strict=True)
        )

    def forward(
        self,
        ids: Tensor,
        state: State,
        dropout_rng: torch.Generator | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return logits (T, B, V) and the state after the last step.

        ids: (T, B). state: from `start` or from the call before.
        resets: (T, B), bool, on the CPU: whether a lane's state is reset before the step.
        dropout_rng: draws the dropout masks; without it there is no dropout.
        """
        y, after = self._outputs(ids, state, dropout_rng, resets)
        return self.output.logits(y), after

    def read(self, ids: Tensor, state: State, resets: Tensor | None = None) -> State:
        """Return the state after reading ids, (T, B); see `forward`."""
        return self._outputs(ids, state, None, resets)[1]

    def nats(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State,
        dropout_rng: torch.Generator | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """Return the sum of -ln p of the targets, each of them, (N,), and the state.

        targets: the symbols that follow ids, (T, B); PADDING for those that do not count. N: the
        number of the others, in the order of the flattened targets. Only the sum has a gradient.
        For the rest see `forward`, which needs more memory.
        """
        y, after = self._outputs(ids, state, dropout_rng, resets)
        y, wanted = y.flatten(0, 1), targets.flatten()
        counted = (wanted != PADDING).nonzero().squeeze(1)
        if len(counted) < len(wanted):
            y, wanted = y.index_select(0, counted), wanted[counted]
        return *self.output.nats(y, wanted), after

    def _outputs(
        self,
        ids: Tensor,
        state: State,
        dropout_rng: torch.Generator | None,
        resets: Tensor | None,
    ) -> tuple[Tensor, State]:
        config = self.config
        parts = len(CELL_SPECS[config.cell].state)
        y = _dropout(self._embed(ids), config.input_dropout, dropout_rng)
        states = []
        for layer, cell in enumerate(self.cells):
            if layer > 0:
                y = _dropout(y, config.dropout, dropout_rng)
            before = tuple(part[layer] for part in state[:parts])
            if dropout_rng is None or config.weight_dropout == 0:
                y, after = cell(y, before, resets)
            else:
                weights = _dropped_weights(cell, config.weight_dropout, dropout_rng)
                y, after = functional_call(cell, weights, (y, before, resets))
            states.append(after)
        carried = tuple(torch.stack(layers) for layers in zip(*states, strict=True))
        if self.attention is not None:
            y, memory = self.attention(y, state[parts:], resets)
            carried += memory
        return _dropout(y, config.dropout, dropout_rng), carried

    def _embed(self, ids: Tensor) -> Tensor:
        if self.embedding is not None:
            embedded: Tensor = self.embedding(ids)
            return embedded
        return F.one_hot(ids, self.vocabulary_size).to(self.output.weight.dtype)

    def _initialise(self, generator: torch.Generator) -> None:
        hidden = self.config.hidden_size
        for layer, cell in enumerate(self.cells):
            fan_in = hidden if layer else self.config.embedding_size or 1  # 1: a one-hot vector
            cell.initialise(generator, fan_in)  # type: ignore[operator]
        for parameter in self.output.parameters():
            if parameter.ndim == 2:
                uniform(parameter, parameter.shape[1], generator)
            else:
                nn.init.zeros_(parameter)
        if self.embedding is not None and not self.config.tie_embeddings:
            nn.init.normal_(self.embedding.weight, generator=generator)
        if self.attention is not None:
            self.attention.initialise(generator)


def _dropout(y: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Locked dropout (Gal & Ghahramani 2016): one mask for all steps of a chunk, per lane.

    Inverted: what is kept is scaled by 1 / (1 - rate), so nothing needs doing without an rng.
    """
    if rng is None or rate == 0:
        return y
    keep = 1 - rate
    return y * torch.empty_like(y[:1]).bernoulli_(keep, generator=rng) / keep


def _dropped_weights(cell: nn.Module, rate: float, rng: torch.Generator) -> dict[str, Tensor]:
    """Return the recurrent matrices with some weights dropped (Merity et al. 2018, sec. 3).

    One mask for all steps and lanes of a chunk, so that the fused kernels can be used.
    """
    keep = 1 - rate
    return {
        name: weight * torch.empty_like(weight).bernoulli_(keep, generator=rng) / keep
        for name, weight in cell.named_parameters()
        if "weight_hh" in name
    }


def load_weights(model: LanguageModel, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy saved weights into a model of the same configuration.

    The model's vocabulary may be larger than that of the weights: symbols keep their rows, and the
    rows of added symbols keep their initial values.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            part = torch.tensor(weights[name])
            parameter[tuple(slice(size) for size in part.shape)].copy_(part)


def export_weights(model: LanguageModel) -> dict[str, NDArray[Any]]:
    """Return the weights as numpy arrays; a shared matrix appears once, as the embedding."""
    return {name: p.detach().cpu().numpy() for name, p in model.named_parameters()}
