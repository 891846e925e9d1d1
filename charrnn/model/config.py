"""Sizes and cell of a language model. Holds no torch, so that anything may read it."""

import math
from dataclasses import dataclass
from typing import Literal

from charrnn.errors import SettingsError
from charrnn.model.specs import CELL_SPECS, CellName, StatePart, StateSpec
from charrnn.settings import CHOSEN, check, setting

LEAKY_SLOPE = 0.01  # of leaky relu, for negative values
NORM_EPS = 1e-5  # added to the variance in layer normalization

# Settings that act in training only: the same weights fit any of their values.
REGULARISERS = ("dropout", "input_dropout", "weight_dropout")


@dataclass(frozen=True)
class ModelConfig:
    """The architecture: what decides the shapes of the weights, apart from the vocabulary."""

    cell: CellName = setting("lstm", help="Recurrent cell.", panel="Model")
    num_layers: int = setting(1, ge=1, le=64, help="Number of recurrent layers.")
    hidden_size: int = setting(
        512, ge=1, le=65_536, help="Units per recurrent layer.", shown=CHOSEN
    )
    embedding_size: int = setting(
        64, ge=0, le=65_536, help="Size of the input embedding; 0 feeds one-hot vectors instead."
    )
    nonlinearity: Literal["tanh", "relu", "leaky-relu"] = setting(
        "tanh", help="Activation of the rnn cell (only for `cell=rnn`)."
    )
    dropout: float = setting(
        0.2,
        ge=0,
        lt=1,
        help="Locked dropout (one mask per chunk) between layers and before the output layer.",
        shown=CHOSEN,
    )
    input_dropout: float = setting(
        0.1,
        ge=0,
        lt=1,
        help="Locked dropout of the embedding, or of the one-hot input.",
        shown=CHOSEN,
    )
    weight_dropout: float = setting(
        0.0,
        ge=0,
        lt=1,
        help="Dropout of the recurrent weights, with one mask per chunk (weight drop).",
    )
    tie_embeddings: bool = setting(
        False,
        help="Share the embedding with the output layer "
        "(`embedding_size` must equal `hidden_size`).",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.tie_embeddings and self.embedding_size != self.hidden_size:
            raise SettingsError(
                f"`tie_embeddings` needs `embedding_size` ({self.embedding_size}) "
                f"to equal `hidden_size` ({self.hidden_size})"
            )
        if self.nonlinearity != "tanh" and self.cell != "rnn":
            raise SettingsError(f"`nonlinearity` is for `cell=rnn`, not {self.cell}")

    @property
    def state(self) -> StateSpec:
        """The state that a model of this configuration carries: each layer's arrays, stacked."""
        parts = CELL_SPECS[self.cell].state
        shape = (self.num_layers, self.hidden_size)
        return StateSpec(tuple(StatePart(name, shape, batch_axis=1) for name in parts))


def parameter_shapes(config: ModelConfig, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """Name every weight of a language model and its shape, without making the model.

    A checkpoint's weights are checked against this before anything is computed with them.
    """
    hidden = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    if config.embedding_size:
        shapes["embedding.weight"] = (vocabulary_size, config.embedding_size)
    for layer in range(config.num_layers):
        inputs = hidden if layer else config.embedding_size or vocabulary_size
        cell = CELL_SPECS[config.cell].shapes(inputs, hidden)
        shapes |= {f"cells.{layer}.{name}": shape for name, shape in cell.items()}
    if not config.tie_embeddings:
        shapes["output.weight"] = (vocabulary_size, hidden)
    shapes["output.bias"] = (vocabulary_size,)
    return shapes


def multiplied_weights(config: ModelConfig, vocabulary_size: int) -> int:
    """Count the weights that each symbol is multiplied by: the matrices without the embedding."""
    shapes = parameter_shapes(config, vocabulary_size)
    shapes["output.weight"] = (vocabulary_size, config.hidden_size)  # a shared matrix counts, too
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if len(shape) == 2 and name != "embedding.weight"
    )
