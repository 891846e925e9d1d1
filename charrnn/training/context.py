"""Where a run executes, and what all of its processes must agree on."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ExecutionContext:
    """Device, threads and rank of a process, and the decisions that all processes agree on.

    rank: of this process among those of the run; rank 0 commits the checkpoints. stop: asked after
    each step whether to save and end the run here. clock: seconds since an arbitrary moment.
    reduce: adds up the gradients of all processes; a single process has nothing to add.
    """

    device: torch.device
    threads: int
    rank: int = 0
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.perf_counter
    reduce: Callable[[Iterable[Tensor]], None] = lambda _parameters: None

    @property
    def writes(self) -> bool:
        """Whether this process commits the checkpoints of the run."""
        return self.rank == 0
