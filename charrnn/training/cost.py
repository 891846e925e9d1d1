"""What a run will cost: its speed, measured on this machine, and its memory, estimated."""

import time
from collections.abc import Callable

import numpy as np
import torch

from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.training.allocation import freed_memory_kept
from charrnn.training.config import TrainingConfig
from charrnn.training.optimization import Optimizer, chunk_loss

SECONDS = 0.4
WARM_UP = 2


@freed_memory_kept()
def symbols_per_second(
    config: ModelConfig,
    training: TrainingConfig,
    vocabulary_size: int,
    device: torch.device,
    precision: torch.dtype,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Take steps on random ids for a moment; returns how many symbols a second they read.

    The fastest step counts, since other programs may slow down the rest.
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
        optimizer.backward(loss)
        optimizer.clip()  # waits for the device
        optimizer.update(training.peak_rate)
        if step >= WARM_UP:
            best = min(best, clock() - began)
        step += 1
    return training.batch_size * training.seq_length / best


def memory_estimate(model: LanguageModel, batch_size: int, seq_length: int) -> int:
    """Estimate the peak memory of training in bytes, without torch itself and the corpus.

    Weights, their gradients and two moments, and what backpropagation keeps of every time step:
    the embedding, about eight vectors of H a layer, and the output with its gradient. Of attention,
    its projections, its scores, and about three copies of its memory.
    """
    config = model.config
    weights = sum(p.numel() for p in model.parameters())
    inputs = config.embedding_size or model.vocabulary_size
    kept = inputs + (8 * config.num_layers + 2) * config.hidden_size
    memory = 6 * config.attention * config.attention_size
    if config.attention:
        kept += 3 * (config.attention + seq_length) + 5 * config.attention_size
    return np.dtype(np.float32).itemsize * (4 * weights + batch_size * (seq_length * kept + memory))
