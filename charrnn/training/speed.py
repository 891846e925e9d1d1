"""How fast a machine trains, measured before a run begins."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn import functional as F

from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig
from charrnn.training.optimization import Optimizer

SECONDS = 0.4
HIDDEN_SIZE = {"cuda": 1024}  # of the model that is timed: a GPU is idle with a small one
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
    state = model.start(training.batch_size)
    best, step, end = float("inf"), 0, clock() + SECONDS
    while step <= WARM_UP or clock() < end:
        began = clock()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits, _ = model(ids[:-1], state)
            loss = F.cross_entropy(logits.flatten(0, 1), ids[1:].flatten())
        optimizer.step(loss, training.learning_rate)  # waits for the device
        if step >= WARM_UP:
            best = min(best, clock() - began)
        step += 1
    return training.batch_size * training.seq_length / best


def probe(config: ModelConfig, device: torch.device) -> ModelConfig:
    """Return a configuration of its kind with a size that is quick to time."""
    size = HIDDEN_SIZE.get(device.type, 256)
    return replace(config, hidden_size=size, tie_embeddings=False)
