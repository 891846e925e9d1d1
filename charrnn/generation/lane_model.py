"""What sampling and beam search need of a language model."""

from typing import Any, Protocol, Self, TypeVar

from numpy.typing import NDArray

from charrnn.text.vocabulary import Ids


class LaneStates(Protocol):
    """A model's states in B lanes, one lane for each text."""

    def take(self, lanes: Ids) -> Self:
        """Return the states of these lanes, which may repeat or leave out some of them.

        The original may be overwritten and must not be used any more.
        """
        ...


S = TypeVar("S", bound=LaneStates)


class LaneModel(Protocol[S]):
    """A language model that reads one symbol at a time in each of B lanes.

    stepper.Stepper and torch_stepper.TorchStepper are such models.
    """

    @property
    def vocabulary_size(self) -> int:
        """The number of symbols, V."""
        ...

    def start(self, lanes: int) -> S:
        """Return the states before any symbol."""
        ...

    def step(self, ids: Ids, states: S) -> NDArray[Any]:
        """Read ids (B,), advance the states and return the logits of the next symbols, (B, V)."""
        ...

    def read(self, ids: Ids, states: S) -> NDArray[Any]:
        """Read ids (T, B), advance the states and return the last logits, (B, V)."""
        ...

    def read_all(self, ids: Ids, states: S) -> NDArray[Any]:
        """Read ids (T, B), advance the states and return the logits after each, (T, B, V)."""
        ...
