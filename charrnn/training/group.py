"""The processes that train one run together, and what all of them must agree on."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")


@dataclass(frozen=True)
class Share:
    """Some of the shards of a run: those from `first` up to `last`, of so many.

    The lanes of a chunk are divided among the shards in their order, as evenly as they can be.
    """

    first: int = 0
    last: int = 1
    of: int = 1

    def lanes(self, number: int) -> slice:
        """Return which of so many lanes belong to these shards."""
        return slice(number * self.first // self.of, number * self.last // self.of)

    def each(self) -> "list[Share]":
        """Return these shards one by one."""
        return [Share(k, k + 1, self.of) for k in range(self.first, self.last)]


ALL = Share()


class Group:
    """The processes of a run. This one is on its own; see training.processes for several.

    Every method but `rank` and `size` has to be called by all processes in the same order.
    """

    rank = 0
    size = 1

    def share(self, shards: int) -> Share:
        """Return the shards of this process, out of so many."""
        return Share(shards * self.rank // self.size, shards * (self.rank + 1) // self.size, shards)

    def add_up(self, vector: "Tensor") -> None:
        """Add the vectors of all processes, in place, in the order of `pairwise_sum`."""

    def collect(self, value: Result) -> list[Result]:
        """Return the values of all processes, in their order."""
        return [value]

    def from_first(self, make: Callable[[], Result]) -> Result:
        """Let the first process make something, and return it in all, or raise its error."""
        return make()

    def in_turn(self, make: Callable[[], Result]) -> Result:
        """Let the first process make something, then all others; raise the error of any in all."""
        return make()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return flag

    def clock(self) -> float:
        """Return the time of the first process, in seconds since an arbitrary moment."""
        return time.perf_counter()


ALONE = Group()


def pairwise_sum(vectors: "Iterable[Tensor]") -> "Tensor":
    """Add 2^k vectors: neighbours first, then the sums of neighbours, and so on; changes them.

    The order does not depend on which process has which of them, if each has 2^j neighbours.
    At most k + 1 of them are held at a time.
    """
    waiting: list[tuple[int, Tensor]] = []
    for vector in vectors:
        size, total = 1, vector
        while waiting and waiting[-1][0] == size:
            total = waiting.pop()[1].add_(total)
            size *= 2
        waiting.append((size, total))
    ((_, total),) = waiting
    return total
