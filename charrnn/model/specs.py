"""What a cell is made of, apart from its equations: its state and its weights. Holds no torch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

CellName = Literal["lstm", "gru", "rnn", "peephole-lstm", "layernorm-lstm"]

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class StatePart:
    """One array of a model's carried state, such as the h of all layers.

    shape: its sizes without the batch axis. batch_axis: where the B lanes go. initial: the value
    that every element has before the first symbol, and again after a reset.
    """

    name: str
    shape: tuple[int, ...]
    batch_axis: int
    initial: float = 0.0

    def with_lanes(self, lanes: int) -> tuple[int, ...]:
        """Return the shape for B lanes."""
        return (*self.shape[: self.batch_axis], lanes, *self.shape[self.batch_axis :])

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape is this part for some number of lanes."""
        return len(shape) == len(self.shape) + 1 and shape == self.with_lanes(
            shape[self.batch_axis]
        )


@dataclass(frozen=True)
class StateSpec:
    """The state that a model carries from symbol to symbol, part by part.

    Everything that makes, saves, checks or resets a state follows this declaration.
    """

    parts: tuple[StatePart, ...]

    @property
    def size(self) -> int:
        """The number of elements in each lane."""
        return sum(math.prod(part.shape) for part in self.parts)

    def named(self, name: str) -> StatePart | None:
        """Return the part of this name, or None."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True)
class CellSpec:
    """A cell's declaration.

    state: the names of the (B, H) arrays that each layer carries. shapes: the weights of a layer
    with I inputs and H units, called as shapes(I, H).
    """

    state: tuple[str, ...]
    shapes: Callable[[int, int], Shapes]


def _fused(gates: int) -> Callable[[int, int], Shapes]:
    """Return the shapes of torch's own layers, whose two biases are added up."""

    def shapes(inputs: int, hidden: int) -> Shapes:
        rows = gates * hidden
        return {
            "rnn.weight_ih_l0": (rows, inputs),
            "rnn.weight_hh_l0": (rows, hidden),
            "rnn.bias_ih_l0": (rows,),
            "rnn.bias_hh_l0": (rows,),
        }

    return shapes


def _stacked_lstm(inputs: int, hidden: int) -> Shapes:
    rows = 4 * hidden
    return {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden), "bias": (rows,)}


def _peephole_lstm(inputs: int, hidden: int) -> Shapes:
    return _stacked_lstm(inputs, hidden) | {"peephole": (3 * hidden,)}


def _layernorm_lstm(inputs: int, hidden: int) -> Shapes:
    norms = {"gain_ih": (4 * hidden,), "gain_hh": (4 * hidden,)}
    return _stacked_lstm(inputs, hidden) | norms | {"gain_c": (hidden,), "bias_c": (hidden,)}


CELL_SPECS: dict[CellName, CellSpec] = {
    "lstm": CellSpec(("h", "c"), _fused(4)),
    "gru": CellSpec(("h",), _fused(3)),
    "rnn": CellSpec(("h",), _fused(1)),
    "peephole-lstm": CellSpec(("h", "c"), _peephole_lstm),
    "layernorm-lstm": CellSpec(("h", "c"), _layernorm_lstm),
}
