"""The numpy stepper equals the torch model."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from charrnn.generation import layers, stepper
from charrnn.generation.layers import Dense
from charrnn.generation.stepper import Stepper
from charrnn.model.cells import CELLS
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel, export_weights

SYMBOLS = 7
configurations = st.fixed_dictionaries(
    {
        "cell": st.sampled_from(sorted(CELLS)),
        "num_layers": st.integers(1, 3),
        "hidden_size": st.integers(1, 9),
        "embedding_size": st.integers(0, 5),
        "adaptive_softmax": st.integers(0, 8),
        "attention": st.sampled_from([0, 0, 1, 3, 20]),
    }
)
READ_STEPS = 4  # so few that the prompts of these tests take several blocks
LEFT_OUT = [
    {"cell": "rnn", "nonlinearity": "relu"},
    {"cell": "rnn", "nonlinearity": "leaky-relu"},
    {"embedding_size": 6, "tie_embeddings": True},
    {"adaptive_softmax": 1},
    {"attention": 3},
    {"attention": 3, "embedding_size": 6, "tie_embeddings": True, "cell": "gru"},
]


def random_model(config: ModelConfig, seed: int, *, single: bool = False) -> LanguageModel:
    model = LanguageModel(config, SYMBOLS).double()
    generator = torch.Generator().manual_seed(seed)
    # So small that no state is chaotic; otherwise any two programs would drift apart.
    deviation = 0.7 / config.hidden_size**0.5
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=deviation, generator=generator)
    return model.float() if single else model


def assert_equal_logits(
    config: ModelConfig, read: int, lanes: int, seed: int, *, single: bool = False
) -> None:
    """Compare steps, a prompt and further steps with the model's forward pass."""
    model = random_model(config, seed, single=single)
    ids = np.random.default_rng(seed).integers(SYMBOLS, size=(read + 6, lanes))
    with torch.no_grad():
        expected, _ = model(torch.from_numpy(ids), model.start(lanes))
    tolerance = 1e-5 if single else 1e-9
    stepper = Stepper(export_weights(model), config)
    state = stepper.start(lanes)

    def check(logits: Any, t: int) -> None:
        size = max(float(expected[t].abs().max()), 1e-3)
        np.testing.assert_allclose(logits, expected[t].numpy(), rtol=0, atol=tolerance * size)

    for t in range(3):
        check(stepper.step(ids[t], state), t)
    if read:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("charrnn.generation.stepper.READ_STEPS", READ_STEPS)
            check(stepper.read(ids[3 : 3 + read], state), 2 + read)
    for t in range(3 + read, len(ids)):
        check(stepper.step(ids[t], state), t)


@settings(max_examples=150, deadline=None)
@given(
    values=configurations,
    read=st.integers(0, 2 * READ_STEPS + 1),
    lanes=st.integers(1, 4) | st.just(layers.FEW_LANES + 1),
    seed=st.integers(0, 99),
    single=st.booleans(),
)
def test_logits_equal_those_of_the_torch_model(
    values: dict[str, Any], read: int, lanes: int, seed: int, single: bool
) -> None:
    """For any cell, depth, number of lanes and prompt; in float32 to 1e-5 of the largest logit.

    Normalising two or three nearly equal numbers magnifies their rounding 300 times per step, in
    any program, so such layers are only compared in float64.
    """
    tiny = values["cell"] == "layernorm-lstm" and values["hidden_size"] < 4
    assume(not (single and tiny))
    assert_equal_logits(ModelConfig(**values), read, lanes, seed, single=single)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", [Dense, "int8"])
@pytest.mark.parametrize("values", [{"cell": cell} for cell in sorted(CELLS)] + LEFT_OUT)
def test_read_all_equals_one_step_after_another(
    values: dict[str, Any], kind: Any, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every cell, over several blocks; the state afterwards is the same too."""
    if kind == "int8":
        pytest.importorskip("numba", reason="int8 needs numba")
        kind = stepper.matrix_kind("int8")
    monkeypatch.setattr(stepper, "READ_STEPS", READ_STEPS)
    config = ModelConfig(**{"hidden_size": 6, "num_layers": 2, "embedding_size": 4} | values)
    weights = export_weights(random_model(config, 1, single=True))
    ids = np.random.default_rng(1).integers(SYMBOLS, size=(2 * READ_STEPS + 1, lanes))
    made = Stepper(weights, config, kind)
    stepped, read = made.start(lanes), made.start(lanes)
    expected = np.array([made.step(row, stepped).copy() for row in ids])
    found = made.read_all(ids, read)
    assert found.shape == (*ids.shape, SYMBOLS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(made.step(ids[0], read), made.step(ids[0], stepped), atol=1e-5)
    assert made.read_all(ids[:0], read).shape == (0, lanes, SYMBOLS)


def test_read_all_needs_little_besides_its_result() -> None:
    """A text of 20,000 symbols takes less than 1 MB besides the logits."""
    config = ModelConfig(hidden_size=32, num_layers=2, embedding_size=4)
    made = Stepper(export_weights(LanguageModel(config, SYMBOLS)), config)
    ids, state = np.zeros((20_000, 1), int), made.start(1)
    tracemalloc.start()
    try:
        logits = made.read_all(ids, state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < logits.nbytes + 1_000_000


@pytest.mark.parametrize("values", LEFT_OUT)
def test_other_architectures_equal_the_torch_model(values: dict[str, Any]) -> None:
    assert_equal_logits(ModelConfig(hidden_size=6, num_layers=2, **values), 5, 3, 1)


@pytest.mark.parametrize("embedding_size", [0, 4])
def test_large_vocabularies_equal_the_torch_model(
    embedding_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepper, "TABLE_BYTES", 0)
    config = ModelConfig(hidden_size=6, num_layers=2, embedding_size=embedding_size)
    assert_equal_logits(config, 5, 3, 1)


@given(
    rows=st.integers(1, 40), inner=st.integers(1, 9), lanes=st.integers(1, 20), seed=st.integers(0)
)
@example(rows=24, inner=3, lanes=layers.FEW_LANES, seed=0)
def test_a_product_in_blocks_is_the_product(rows: int, inner: int, lanes: int, seed: int) -> None:
    """Whether or not the rows can be halved."""
    rng = np.random.default_rng(seed)
    matrix, x = rng.normal(size=(rows, inner)), rng.normal(size=(inner, lanes))
    out = np.empty((rows, lanes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "BLOCK", 30)
        Dense(matrix).into(x, out)()
    np.testing.assert_allclose(out, matrix @ x, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    values=configurations,
    lanes=st.integers(1, 3),
    taken=st.lists(st.integers(0, 2), min_size=1, max_size=5),
)
def test_taken_lanes_continue_where_they_were(
    values: dict[str, Any], lanes: int, taken: list[int]
) -> None:
    """More, fewer, repeated or reordered lanes continue as if each had always been alone."""
    config = ModelConfig(**values)
    weights = export_weights(random_model(config, 1))
    ids = np.random.default_rng(1).integers(SYMBOLS, size=(4, lanes))
    kept = np.array([lane % lanes for lane in taken])
    stepper = Stepper(weights, config)
    state = stepper.start(lanes)
    for row in ids:
        stepper.step(row, state)
    together = stepper.step(kept % SYMBOLS, state.take(kept))
    for logits, lane in zip(together, kept, strict=True):
        alone = stepper.start(1)
        stepper.read(ids[:, lane : lane + 1], alone)
        expected = stepper.step(np.array([lane % SYMBOLS]), alone)
        np.testing.assert_allclose(logits, expected[0], rtol=1e-9, atol=1e-9)
