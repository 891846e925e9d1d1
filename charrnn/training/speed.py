"""How fast a machine trains, measured before a run begins."""

import time
from collections.abc import Callable

import torch

from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig
from charrnn.training.optimization import Optimizer, chunk_loss

SECONDS = 0.4
WARM_UP = 2


def symbols_per_second(
    config: ModelConfig,
    training: TrainingConfig,
    vocabulary_size: int,
    device: torch.device,
    precision: torch.dtype,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Take steps on random ids for a moment; returns the symbols that they read in a second.

    The best step counts, since other programs slow down the others.
    """
    model = LanguageModel(config, vocabulary_size).to(device)
    optimizer = Optimizer(model, training)
    shape = (training.seq_length + 1, training.batch_size)
    ids = torch.randint(vocabulary_size, shape, generator=torch.Generator()).to(device)
    rng = torch.Generator(device)
    state = model.start(training.batch_size)
    best, step, end = float("inf"), 0, clock() + SECONDS
    while step <= WARM_UP or clock() < end:
        began = clock()
        loss, _ = chunk_loss(model, ids[:-1], ids[1:], state, rng, None, precision)
        optimizer.step(loss, training.peak_rate)  # waits for the device
        if step >= WARM_UP:
            best = min(best, clock() - began)
        step += 1
    return training.batch_size * training.seq_length / best
