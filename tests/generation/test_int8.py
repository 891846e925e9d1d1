"""Products with int8 weights."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="numba is not installed (extra: fast)")

import charrnn
from charrnn.generation.int8 import BLOCK, Int8, product, quantize
from charrnn.generation.request import SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.model.specs import CELL_SPECS

sizes = st.integers(1, 5) | st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])


@settings(max_examples=100, deadline=None)
@given(rows=sizes, columns=sizes, lanes=st.integers(1, 4), seed=st.integers(0, 99))
@example(rows=3, columns=20_000, lanes=1, seed=0)  # where sums of int32 could overflow
def test_a_product_uses_the_rounded_weights(rows: int, columns: int, lanes: int, seed: int) -> None:
    """To the precision of int16 vectors, also for sizes that are not whole blocks."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns)).astype(np.float32)
    x = rng.normal(size=(columns, lanes)).astype(np.float32)
    weights, scales = quantize(matrix)
    assert np.abs(weights * scales[:, None] - matrix).max() <= scales.max() * 0.501
    out = np.empty((rows, lanes), np.float32)
    Int8(matrix).into(x, out)()
    exact = (weights * scales[:, None].astype(float)) @ x
    limit = min(32767, (2**31 - 1) // (127 * columns))
    bound = np.abs(x).max() / limit * scales.max() * 127 * columns
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=0.51 * bound + 1e-6)


def test_the_largest_sums_do_not_overflow() -> None:
    matrix = np.ones((1, 100_000), np.float32)
    out = np.empty((1, 1), np.float32)
    Int8(matrix).into(np.ones((100_000, 1), np.float32), out)()
    assert out[0, 0] == pytest.approx(100_000, rel=1e-3)


def test_zeros_stay_zeros_and_nan_stays_nan() -> None:
    weights, scales = quantize(np.zeros((2, 3), np.float32))
    out = np.ones((2, 2), np.float32)
    vectors = np.array([[1, 2, 3], [1, np.nan, 3]], np.float32)
    product(weights, scales, vectors, out)
    assert out[0].tolist() == [0, 0]
    assert np.isnan(out[1]).all()


@pytest.mark.parametrize("cell", CELL_SPECS)
def test_int8_weights_predict_nearly_the_same(cell: str) -> None:
    """Logits differ by a few hundredths of their size; reading a prompt equals stepping."""
    config = ModelConfig(cell=cell, num_layers=2, hidden_size=64, embedding_size=8)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.normal(size=shape) / shape[-1] ** 0.5).astype(np.float32)
        for name, shape in parameter_shapes(config, 20).items()
    }
    exact, rounded = Stepper(weights, config), Stepper(weights, config, Int8)
    for lanes in (1, 3):
        ids = rng.integers(20, size=(30, lanes))
        states = exact.start(lanes), rounded.start(lanes)
        expected, found = exact.read(ids, states[0]), rounded.read(ids, states[1])
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
        again = rounded.start(lanes)
        for row in ids:
            stepped = rounded.step(row, again)
        np.testing.assert_array_equal(stepped, found)


def test_text_is_written_with_int8_weights(trained: charrnn.TrainingResult) -> None:
    """The exact model finds the text about as probable."""
    model = charrnn.load(trained.folder)
    model.prepare(weights="int8")
    generation = model.sample("The ", SamplingConfig(length=200, temperature=0.5, seed=1))
    text = "".join(generation)
    scored = charrnn.load(trained.folder).evaluate(text)
    assert generation.log_probability == pytest.approx(-200 * scored.nats_per_char, rel=0.05)
