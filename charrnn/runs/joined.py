"""The processes that train a run together, as a command joins them."""

from collections.abc import Iterator
from contextlib import contextmanager

from charrnn.training.group import ALONE, Group


@contextmanager
def joined(
    rank: int, size: int, address: str, port: int, *, listener: int | None, torchrun: bool
) -> Iterator[Group]:
    """Join the processes of a run for a block, and yield the `group` for `train` and `resume`.

    rank, size: of this process among them; size 1 is a process on its own. address, port: where the
    first one listens. listener: the descriptor of its socket there, if that is open already.
    torchrun: find the others as torchrun has arranged.
    Raises GroupError if they cannot be reached.
    """
    if size == 1:
        yield ALONE
        return
    from charrnn.training.processes import connected

    with connected(rank, size, address, port, listener=listener, torchrun=torchrun) as group:
        yield group
