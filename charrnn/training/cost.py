"""What a run will cost: its speed, measured on this machine, and its memory, estimated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.model.config import ModelConfig
from charrnn.model.device import resolve_precision
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig
from charrnn.training.optimization import Optimizer, chunk_loss

SECONDS = 0.4
WARM_UP = 2


@dataclass(frozen=True)
class TrialText:
    """What trial steps read: ids of the text to train on, (N,), of V symbols.

    They are real ones, since the time of an adaptive softmax depends on how frequent they are.
    """

    ids: NDArray[Any]
    vocabulary_size: int

    def chunk(self, steps: int, lanes: int) -> torch.Tensor:
        """Return ids, (T, B); the text is repeated if it is shorter."""
        return torch.from_numpy(np.resize(self.ids, (lanes, steps)).T.astype(np.int64))


class TrialSteps:
    """Training steps to be timed. The model is not that of a run. symbols: that a step reads."""

    def __init__(
        self,
        config: ModelConfig,
        training: TrainingConfig,
        text: TrialText,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Make a model and a chunk. clock: seconds since an arbitrary moment."""
        self.symbols = training.batch_size * training.seq_length
        self.clock = clock
        self._model = LanguageModel(config, text.vocabulary_size).to(device)
        self._optimizer = Optimizer(self._model, training)
        self._rate = training.peak_rate
        self._ids = text.chunk(training.seq_length + 1, training.batch_size).to(device)
        self._rng = torch.Generator(device)
        self._state = self._model.start(training.batch_size)
        self._precision = resolve_precision(training.precision, device, config.hidden_size)

    def seconds(self) -> float:
        """Take a step; returns how long it took."""
        began = self.clock()
        inputs, targets = self._ids[:-1], self._ids[1:]
        loss, _ = chunk_loss(
            self._model, inputs, targets, self._state, self._rng, None, self._precision
        )
        self._optimizer.backward(loss)
        self._optimizer.clip()  # waits for the device
        self._optimizer.update(self._rate)
        return self.clock() - began


def symbols_per_second(steps: TrialSteps) -> float:
    """Take steps for a moment; returns how many symbols a second they read.

    The fastest step counts, since other programs may slow down the rest.
    """
    end = steps.clock() + SECONDS
    for _ in range(WARM_UP):
        steps.seconds()
    best = steps.seconds()
    while steps.clock() < end:
        best = min(best, steps.seconds())
    return steps.symbols / best


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
