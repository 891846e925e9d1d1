"""The numpy stepper equals the torch model."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.generation.stepper import STEPS, Stepper
from charrnn.model.cells import CELLS
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel, export_weights

configurations = st.fixed_dictionaries(
    {
        "cell": st.sampled_from(sorted(CELLS)),
        "num_layers": st.integers(1, 3),
        "hidden_size": st.integers(1, 9),
        "embedding_size": st.integers(0, 5),
    }
)


def random_model(config: ModelConfig, vocabulary_size: int, seed: int) -> LanguageModel:
    model = LanguageModel(config, vocabulary_size).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7, generator=generator)
    return model


def assert_equal_logits(config: ModelConfig, length: int, batch: int, seed: int) -> None:
    model = random_model(config, 7, seed)
    ids = np.random.default_rng(seed).integers(7, size=(length, batch))
    with torch.no_grad():
        expected, torch_state = model(torch.from_numpy(ids), model.start(batch))
    stepper = Stepper(export_weights(model), config)
    state = stepper.start(batch)
    for t in range(length):
        logits, state = stepper.step(ids[t], state)
        np.testing.assert_allclose(logits, expected[t].numpy(), rtol=1e-9, atol=1e-9)
    for part, expected_part in zip(state, torch_state, strict=True):
        np.testing.assert_allclose(part, expected_part.numpy(), rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    values=configurations,
    length=st.integers(1, 6),
    batch=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_logits_and_states_are_those_of_the_model(
    values: dict[str, Any], length: int, batch: int, seed: int
) -> None:
    assert_equal_logits(ModelConfig(**values), length, batch, seed)


@pytest.mark.parametrize(
    "values",
    [
        {"cell": "rnn", "nonlinearity": "relu"},
        {"cell": "rnn", "nonlinearity": "leaky-relu"},
        {"embedding_size": 6, "tie_embeddings": True},
    ],
)
def test_so_they_are_for_what_the_above_leaves_out(values: dict[str, Any]) -> None:
    assert_equal_logits(ModelConfig(hidden_size=6, num_layers=2, **values), 5, 3, 1)


def test_every_cell_has_its_step() -> None:
    assert STEPS.keys() == CELLS.keys()
