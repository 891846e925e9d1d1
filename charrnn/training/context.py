"""Where a run executes, and what all of its processes must agree on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from charrnn.training.group import ALONE, Group


@dataclass(frozen=True)
class ExecutionContext:
    """Device and threads of a process, and the decisions that all processes agree on.

    group: the processes of the run; the first one commits the checkpoints. stop: asked after each
    step whether to save and end the run here. clock: seconds since an arbitrary moment. Neither
    differs between processes.
    """

    device: torch.device
    threads: int
    group: Group = ALONE
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = ALONE.clock
