"""What a language model looks like to sampling and to beam search."""

from typing import Any, Protocol, Self, TypeVar

from numpy.typing import NDArray

from charrnn.text.vocabulary import Ids


class LaneState(Protocol):
    """What a model has in mind in each of B lanes."""

    def take(self, lanes: Ids) -> Self:
        """Return the state with these lanes, repeated or left out, in place of its own."""
        ...


S = TypeVar("S", bound=LaneState)


class LaneModel(Protocol[S]):
    """A language model that reads a symbol in each lane at a time, as stepper.Stepper does."""

    @property
    def vocabulary_size(self) -> int:
        """The number of symbols, V."""
        ...

    def start(self, lanes: int) -> S:
        """Return the state before any symbol."""
        ...

    def step(self, ids: Ids, state: S) -> NDArray[Any]:
        """Read ids (B,), move the state on and return logits (B, V)."""
        ...

    def read(self, ids: Ids, state: S) -> NDArray[Any]:
        """Read ids (T, B), move the state on and return the last logits (B, V)."""
        ...

    def read_all(self, ids: Ids, state: S) -> NDArray[Any]:
        """Read ids (T, B), move the state on and return the logits after each, (T, B, V)."""
        ...
