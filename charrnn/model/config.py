"""Sizes and cell of a language model. Holds no torch, so that anything may read it."""

import math
from dataclasses import dataclass
from typing import Literal

from charrnn.errors import SettingsError
from charrnn.model.specs import CELL_SPECS, CellName, Shapes, StatePart, StateSpec
from charrnn.settings import CHOSEN, check, setting

LEAKY_SLOPE = 0.01  # of leaky relu, for negative values
NORM_EPS = 1e-5  # added to the variance in layer normalization
# Of the clusters of an adaptive softmax (Grave et al. 2017, section 4.3); for the growth, see
# docs/research/experiments.md. No row is shorter than NARROWEST: characters that are rare here may
# be frequent in a text to fine-tune on.
CLUSTER_GROWTH = 2
NARROWEST = 8
# Numbers in a query, a key and a value of the attention; a smaller layer has as many as units.
ATTENTION_SIZE = 64

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
    adaptive_softmax: int = setting(
        0,
        ge=0,
        le=65_536,
        help="Give so many of the most frequent characters a full row in the output layer, and the "
        "rarer ones shorter rows, for a fast softmax over thousands of characters; 0 gives a full "
        "row to each.",
        shown=CHOSEN,
    )
    attention: int = setting(
        0,
        ge=0,
        le=4096,
        help="Attention: how many steps back the model looks, at the outputs of its last layer, to "
        "find what its state has forgotten; 0 turns it off.",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.tie_embeddings and self.adaptive_softmax:
            raise SettingsError(
                "`tie_embeddings` and `adaptive_softmax`: choose one; an adaptive softmax has no "
                "row of full length to share with rare characters"
            )
        if self.tie_embeddings and self.embedding_size != self.hidden_size:
            raise SettingsError(
                f"`tie_embeddings` needs `embedding_size` ({self.embedding_size}) "
                f"to equal `hidden_size` ({self.hidden_size})"
            )
        if self.nonlinearity != "tanh" and self.cell != "rnn":
            raise SettingsError(f"`nonlinearity` is for `cell=rnn`, not {self.cell}")

    @property
    def state(self) -> StateSpec:
        """The state that a model of this configuration carries.

        Each layer's arrays, stacked; then the memory of the attention, see model.attention.
        """
        layers = (self.num_layers, self.hidden_size)
        shapes: Shapes = dict.fromkeys(CELL_SPECS[self.cell].state, layers)
        if self.attention:
            shapes["memory"] = (self.attention, 2 * self.attention_size)
            shapes["filled"] = (self.attention,)
        return StateSpec(tuple(StatePart(name, s, batch_axis=1) for name, s in shapes.items()))

    @property
    def attention_size(self) -> int:
        """How many numbers a query, a key or a value of the attention has, A."""
        return min(ATTENTION_SIZE, self.hidden_size)


@dataclass(frozen=True)
class Cluster:
    """Symbols of an adaptive softmax that share a projection to `width` numbers.

    Their ids are those from start up to stop.
    """

    start: int
    stop: int
    width: int

    @property
    def size(self) -> int:
        """The number of symbols."""
        return self.stop - self.start


def clusters(config: ModelConfig, vocabulary_size: int) -> list[Cluster]:
    """Return the clusters of an adaptive softmax; none if every symbol is in its head.

    Together with all before it, each has CLUSTER_GROWTH times as many symbols as those before it,
    with so much shorter rows.
    """
    found: list[Cluster] = []
    start, width = config.adaptive_softmax, config.hidden_size
    while 0 < start < vocabulary_size:
        stop = min(start * CLUSTER_GROWTH, vocabulary_size)
        width = min(max(width // CLUSTER_GROWTH, NARROWEST), config.hidden_size)
        found.append(Cluster(start, stop, width))
        start = stop
    return found


def parameter_shapes(config: ModelConfig, vocabulary_size: int) -> Shapes:
    """Name every weight of a language model and its shape, without making the model.

    A checkpoint's weights are checked against this before anything is computed with them.
    """
    hidden = config.hidden_size
    shapes: Shapes = {}
    if config.embedding_size:
        shapes["embedding.weight"] = (vocabulary_size, config.embedding_size)
    for layer in range(config.num_layers):
        inputs = hidden if layer else config.embedding_size or vocabulary_size
        cell = CELL_SPECS[config.cell].shapes(inputs, hidden)
        shapes |= {f"cells.{layer}.{name}": shape for name, shape in cell.items()}
    if config.attention:
        shapes["attention.weight_in"] = (3 * config.attention_size, hidden)
        shapes["attention.weight_out"] = (hidden, config.attention_size)
        shapes["attention.bias"] = (config.attention,)
    rest = clusters(config, vocabulary_size)
    rows = config.adaptive_softmax + len(rest) if rest else vocabulary_size
    if not config.tie_embeddings:
        shapes["output.weight"] = (rows, hidden)
    shapes["output.bias"] = (rows,)
    for i, cluster in enumerate(rest):
        prefix = f"output.clusters.{i}."
        shapes[f"{prefix}down"] = (cluster.width, hidden)
        shapes[f"{prefix}weight"] = (cluster.size, cluster.width)
        shapes[f"{prefix}bias"] = (cluster.size,)
    return shapes


def multiplied_weights(config: ModelConfig, vocabulary_size: int) -> int:
    """Count the weights that each symbol is multiplied by: the matrices without the embedding."""
    shapes = parameter_shapes(config, vocabulary_size)
    if config.tie_embeddings:
        shapes["output.weight"] = shapes["embedding.weight"]
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if len(shape) == 2 and name != "embedding.weight"
    )
