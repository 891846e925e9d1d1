"""Sizes and kind of a language model. Holds no torch, so that anything may read it."""

import math
from dataclasses import dataclass
from typing import Literal

from charrnn.errors import SettingsError
from charrnn.settings import CHOSEN, check, setting

LEAKY_SLOPE = 0.01  # of the leaky relu, for negative values
NORM_EPS = 1e-5  # added to the variance by layer normalisation

# Settings that act in training alone; weights fit whatever they are.
REGULARISERS = ("dropout", "input_dropout", "weight_dropout")

CellName = Literal["lstm", "gru", "rnn", "peephole-lstm", "layernorm-lstm"]


@dataclass(frozen=True)
class ModelConfig:
    """The architecture: everything besides the vocabulary that decides the weights' shapes."""

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
    def state_names(self) -> tuple[str, ...]:
        """What a state consists of: ("h", "c") for an LSTM of any kind, ("h",) otherwise."""
        return ("h", "c") if self.cell.endswith("lstm") else ("h",)


def parameter_shapes(config: ModelConfig, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """Name every weight of a language model and its shape, without making the model.

    What is read from a checkpoint is held against this before anything is computed with it.
    """
    hidden = config.hidden_size
    gates = {"rnn": 1, "gru": 3}.get(config.cell, 4) * hidden
    shapes: dict[str, tuple[int, ...]] = {}
    if config.embedding_size:
        shapes["embedding.weight"] = (vocabulary_size, config.embedding_size)
    for layer in range(config.num_layers):
        inputs = hidden if layer else config.embedding_size or vocabulary_size
        cell: dict[str, tuple[int, ...]]
        if config.cell == "peephole-lstm":
            cell = {"weight_ih": (gates, inputs), "weight_hh": (gates, hidden), "bias": (gates,)}
            cell |= {"peephole": (3 * hidden,)}
        elif config.cell == "layernorm-lstm":
            cell = {"weight_ih": (gates, inputs), "weight_hh": (gates, hidden), "bias": (gates,)}
            cell |= {"gain_ih": (gates,), "gain_hh": (gates,)}
            cell |= {"gain_c": (hidden,), "bias_c": (hidden,)}
        else:
            cell = {"rnn.weight_ih_l0": (gates, inputs), "rnn.weight_hh_l0": (gates, hidden)}
            cell |= {"rnn.bias_ih_l0": (gates,), "rnn.bias_hh_l0": (gates,)}
        shapes |= {f"cells.{layer}.{name}": shape for name, shape in cell.items()}
    if not config.tie_embeddings:
        shapes["output.weight"] = (vocabulary_size, hidden)
    shapes["output.bias"] = (vocabulary_size,)
    return shapes


def multiplied_weights(config: ModelConfig, vocabulary_size: int) -> int:
    """Count the weights that each symbol is multiplied with: the matrices, but no embedding."""
    shapes = parameter_shapes(config, vocabulary_size)
    shapes["output.weight"] = (vocabulary_size, config.hidden_size)  # also where it is shared
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if len(shape) == 2 and name != "embedding.weight"
    )
