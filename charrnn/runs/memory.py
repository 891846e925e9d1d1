"""What running out of memory means for a run, and how fast a model would train here."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from charrnn.errors import MemoryShortageError
from charrnn.model.config import ModelConfig, multiplied_weights, parameter_shapes
from charrnn.model.device import torch_threads
from charrnn.training.allocation import freed_memory_kept
from charrnn.training.config import TrainingConfig
from charrnn.training.cost import TrialSteps, TrialText, symbols_per_second

# What torch says in errors that have no type of their own.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")


@contextmanager
def translate_out_of_memory(
    model: ModelConfig, training: TrainingConfig, symbols: int, device: torch.device
) -> Iterator[None]:
    """Turn what torch and Python raise when memory runs out into a MemoryShortageError.

    symbols: of the vocabulary.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's own error is a RuntimeError
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(
            words in str(error).lower() for words in _OUT_OF_MEMORY
        ):
            raise
        weights = sum(map(math.prod, parameter_shapes(model, symbols).values()))
        window = "`attention`, " if model.attention else ""
        raise MemoryShortageError(
            f"out of memory on {device}: {model.num_layers} x {model.hidden_size} units and "
            f"{symbols:,} symbols make {weights:,} weights, which take "
            f"{16 * weights / 2**30:,.1f} GiB in training, plus {training.batch_size} lanes x "
            f"{training.seq_length} characters; a smaller {window}`hidden_size`, `batch_size` or "
            "`seq_length` takes less"
        ) from error


def products_per_second(
    text: TrialText,
    device: torch.device,
    threads: int,
    model: ModelConfig,
    training: TrainingConfig,
) -> float:
    """Measure how fast a model would train here, in products of weights.

    Raises MemoryShortageError.
    """
    with (
        torch_threads(threads),
        freed_memory_kept(),
        translate_out_of_memory(model, training, text.vocabulary_size, device),
    ):
        speed = symbols_per_second(TrialSteps(model, training, text, device))
    return speed * multiplied_weights(model, text.vocabulary_size)
