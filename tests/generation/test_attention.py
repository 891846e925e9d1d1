"""The numpy step of the attention: a ring that wraps, lanes that move, numbers that overflow.

Whether it equals the torch model is tested in test_stepper.py, for every cell.
"""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.errors import SettingsError
from charrnn.generation.request import BeamConfig, GenerationRequest, SamplingConfig
from charrnn.generation.search import check_memory
from charrnn.generation.stepper import Stepper
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel, export_weights

V, W = 7, 5


def random_model(**values: Any) -> LanguageModel:
    sizes = {"hidden_size": 6, "embedding_size": 4, "attention": W}
    model = LanguageModel(ModelConfig(**sizes | values), V).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return model


@pytest.mark.parametrize("read", [1, W - 1, W, W + 1, 3 * W + 2])
def test_lanes_move_with_their_memories(read: int) -> None:
    """In place, doubled, swapped, fewer; with a ring that is half full, full, or turned."""
    model = random_model()
    made = Stepper(export_weights(model), model.config)
    rng = np.random.default_rng(0)
    states, texts = made.start(4), np.empty((0, 4), int)
    for lanes in ([0, 1, 2, 3], [3, 3, 1, 0], [1, 0], [1, 1, 0, 1, 0]):
        ids = rng.integers(V, size=(read, states.lanes))
        made.read(ids, states)
        texts = np.concatenate([texts, ids])[:, lanes]
        states = states.take(np.array(lanes))
    ids = rng.integers(V, size=(1, 5))
    with torch.no_grad():
        expected, _ = model(torch.from_numpy(np.concatenate([texts, ids])), model.start(5))
    found = made.step(ids[0], states)
    np.testing.assert_allclose(found, expected[-1].numpy(), rtol=0, atol=1e-12)


def test_overflow_is_left_to_who_draws_symbols() -> None:
    """A layer without bounds may overflow; the step then gives no number, and no warning."""
    model = random_model(cell="rnn", nonlinearity="relu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().mul_(1e40)
    made = Stepper(export_weights(model), model.config)
    states = made.start(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(12):
            logits = made.step(np.zeros(2, int), states)
    assert not np.isfinite(logits).all()


def test_beams_count_the_memory_of_the_attention() -> None:
    """A search whose states would fill the memory is refused before it begins."""
    request = GenerationRequest(
        sampling=SamplingConfig(length=10), beams=BeamConfig(num_beams=1_000)
    )
    check_memory(ModelConfig(hidden_size=64), V, request)
    with pytest.raises(SettingsError, match="`num_beams=1,000`: needs about"):
        check_memory(ModelConfig(hidden_size=64, attention=4096), V, request)
