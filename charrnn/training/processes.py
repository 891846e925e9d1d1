"""Several processes that train one run, connected by torch.distributed."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from charrnn.errors import CharrnnError, GroupError
from charrnn.training.group import Group

Result = TypeVar("Result")

# Each process shows that it lives every BEAT seconds. One that does not for SILENCE seconds counts
# as gone: its host may have lost its network, so that no connection breaks.
BEAT, SILENCE = 2.0, 20.0
LEFT = "left"  # the last beat of a process that has ended in good order
# A process may wait for as long as the first one encodes a corpus; the beats tell if that died.
PATIENCE, WAIT = timedelta(days=7), timedelta(seconds=60)
REMEDY = "continue from the last checkpoint: charrnn resume"


class Processes(Group):
    """A process among several; see Group."""

    def __init__(self, beats: Store) -> None:
        """Take a process group that torch has made. beats: where processes show that they live."""
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._host = socket.gethostname()
        self._peers: list[tuple[str, int]] = []
        self._peers = self.collect((self._host, os.getpid()))
        self._heard = [time.monotonic()] * self.size
        self._closed = threading.Event()
        # One thread may be held up by a store that does not answer; the other one notices that.
        self._threads = [
            threading.Thread(target=self._beat, args=(beats,), daemon=True),
            threading.Thread(target=self._judge, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Leave the group. Nothing else may be called after this."""
        self._closed.set()
        for thread in self._threads:
            thread.join(timeout=BEAT)
        dist.destroy_process_group()

    def add_up(self, vector: Tensor) -> None:
        """Exchange with the neighbour, then with that of the neighbour's pair, and so on.

        Both add the same two numbers, and a + b is b + a, so all end with the same bits.
        """
        received, distance = torch.empty_like(vector), 1
        while distance < self.size:
            other = self.rank ^ distance
            exchange = [
                dist.P2POp(dist.isend, vector, other),
                dist.P2POp(dist.irecv, received, other),
            ]
            with self._reported():
                for work in dist.batch_isend_irecv(exchange):
                    work.wait()
            vector += received
            distance *= 2

    def collect(self, value: Result) -> list[Result]:
        """See Group."""
        found: list[Any] = [None] * self.size
        with self._reported():
            dist.all_gather_object(found, value)
        return found

    def from_first(self, make: Callable[[], Result]) -> Result:
        """See Group. An error of another kind than CharrnnError ends the first process only."""
        made: list[Any] = [None, None]
        if self.rank == 0:
            try:
                made[0] = make()
            except CharrnnError as error:
                made[1] = error
        with self._reported():
            dist.broadcast_object_list(made)
        if made[1] is not None:
            raise self._of_first(made[1])
        result: Result = made[0]
        return result

    def in_turn(self, make: Callable[[], Result]) -> Result:
        """See Group. What each process makes, it keeps."""
        made: list[Result] = []
        for turn in (self.rank == 0, self.rank > 0):
            found: CharrnnError | None = None
            if turn:
                try:
                    made.append(make())
                except CharrnnError as error:
                    found = error
            for process, failure in enumerate(self.collect(found)):
                if failure is None:
                    continue
                own = GroupError(f"process {process}: {failure}") if process else failure
                raise self._of_first(own)
        return made[0]

    def any(self, flag: bool) -> bool:
        """See Group."""
        found = torch.tensor(int(flag))
        with self._reported():
            dist.all_reduce(found)
        return bool(found)

    def clock(self) -> float:
        """See Group."""
        now = torch.tensor(time.perf_counter(), dtype=torch.float64)
        with self._reported():
            dist.broadcast(now, 0)
        return float(now)

    def _of_first(self, error: CharrnnError) -> CharrnnError:
        """Return an error that all processes have; only the first one has to report it."""
        error.reported = self.rank > 0
        return error

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise GroupError, which says which process is gone, if an exchange fails."""
        try:
            yield
        except (RuntimeError, ConnectionError) as error:
            gone = self._gone()
            place = "another process of the run"
            if gone is not None:
                place = f"process {gone} of {self.size} (PID {self._peers[gone][1]})"
            lost = GroupError(f"{place} is gone; {REMEDY}")
            lost.reported = not self._reports(gone)
            raise lost from error

    def _gone(self) -> int | None:
        """Return which process of this host is gone; it may take a moment to show."""
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for process, (host, number) in enumerate(self._peers):
                if host == self._host and not _lives(number):
                    return process
            time.sleep(0.05)
        return None

    def _reports(self, gone: int | None) -> bool:
        """Return whether it is for this process to say what happened: one does on each host."""
        own = [k for k, (host, _) in enumerate(self._peers) if host == self._host and k != gone]
        return self.rank == min(own)

    def _beat(self, beats: Store) -> None:
        """Show that this process lives, and look whether the others do."""
        seen, count = [b""] * self.size, 0
        while True:
            ended = self._closed.is_set()
            try:
                beats.set(f"beat/{self.rank}", LEFT if ended else str(count))
                for process in range(self.size):
                    key = f"beat/{process}"
                    value = beats.get(key) if beats.check([key]) else b""
                    if value != seen[process] or value == LEFT.encode():
                        seen[process], self._heard[process] = value, time.monotonic()
            except RuntimeError:  # the host that keeps the beats does not answer
                time.sleep(BEAT)
            if ended:
                return
            count += 1
            self._closed.wait(BEAT)

    def _judge(self) -> None:
        """End this process once another one has been silent for too long."""
        while not self._closed.wait(BEAT):
            for process, heard in enumerate(self._heard):
                if time.monotonic() - heard < SILENCE or process == self.rank:
                    continue
                host, number = self._peers[process]
                if self._reports(process):
                    sys.stderr.write(
                        f"error: process {process} of {self.size} (PID {number} on {host}) does "
                        f"not answer; {REMEDY}\n"
                    )
                    sys.stderr.flush()
                os._exit(1)  # the main thread waits for that process and cannot be woken


@contextmanager
def connected(
    rank: int,
    size: int,
    address: str,
    port: int,
    *,
    listener: int | None = None,
    torchrun: bool = False,
) -> Iterator[Processes]:
    """Connect this process with the others of a run, for a block.

    address, port: where the first process listens. listener: the descriptor of its socket there, if
    that is open already. torchrun: find the others as torchrun has arranged.
    Raises GroupError if they cannot be reached.
    """
    try:
        if torchrun:
            store, _, _ = next(rendezvous("env://", timeout=WAIT))
        else:
            store = TCPStore(
                address, port, size, rank == 0, timeout=WAIT, master_listen_fd=listener
            )
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=rank, world_size=size,
            timeout=PATIENCE,
        )  # fmt: skip
        processes = Processes(PrefixStore("beats", store.clone()))
    except (RuntimeError, ValueError) as error:
        raise GroupError(
            f"process {rank} of {size} cannot reach the first one at {address}:{port} "
            f"({str(error).splitlines()[0][:120]})"
        ) from error
    try:
        yield processes
    finally:
        processes.close()


def _lives(number: int) -> bool:
    """Return whether a process of this host is there, and not a zombie."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # one that nobody has waited for yet still has its number
        with open(f"/proc/{number}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return True
