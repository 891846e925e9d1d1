"""Trainers without files, over a few random symbols."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.training.config import TrainingConfig
from charrnn.training.context import ExecutionContext
from charrnn.training.hooks import Hooks
from charrnn.training.lanes import Lanes
from charrnn.training.trainer import Trainer
from charrnn.training.validation import Validation

V = 7


def trainer_over(
    ids: Any,
    batch_size: int,
    seq_length: int,
    *,
    ends: tuple[int, ...] = (),
    validate: Callable[[], float] | None = None,
    **settings: Any,
) -> Trainer:
    """A trainer in float64 without files. ends: of the documents of the text."""
    config = ModelConfig(
        num_layers=2, hidden_size=6, embedding_size=5, dropout=0.0, input_dropout=0.0
    )
    model = LanguageModel(config, V, torch.Generator().manual_seed(2)).double()
    text = Symbols(ids, ends=np.array(ends, dtype=np.int64))
    lanes = Lanes(text, batch_size, seq_length, np.random.default_rng(0))
    length = len(ids)
    hooks = Hooks(
        validate=None if validate is None else lambda: Validation(validate(), length),
        validate_best=None,
        write_sample=lambda _: "",
        save=lambda trainer: str(trainer.step),
        go_back=lambda _: None,
        drop_after=lambda _: None,
        judge=lambda _trainer, _reason: None,
    )
    context = ExecutionContext(torch.device("cpu"), threads=1, clock=lambda: 0.0)
    training = TrainingConfig(**({"warmup": 0, "grad_clip": 0.0, "state_reset": 0.0} | settings))
    return Trainer(model, lanes, training, context, hooks, [torch.Generator()])


def ids_of(length: int) -> Any:
    return np.random.default_rng(5).integers(V, size=length).astype(np.uint8)
