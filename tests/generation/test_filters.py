"""The sampling filters, each compared with its definition."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.generation import filters
from charrnn.generation.filters import SeenNgrams

Logits = NDArray[Any]
Filter = Callable[[Logits, Any], Logits]

CUT = -math.inf
NEAR = 1e-5  # tolerance for probabilities computed in another way; float32 logits up to 50

# Rows with ties and banned symbols; the first is a number, so that something is left in each.
numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(-50, 50, width=32))
rows = st.tuples(numbers, st.lists(numbers | st.just(CUT), max_size=8)).map(lambda r: [r[0], *r[1]])
dtypes = st.sampled_from([np.float32, np.float64])
shares = st.floats(0.01, 1)
filter_and_value = st.one_of(
    st.tuples(st.just(filters.temperature), st.sampled_from([1e-300, 1e-9, 0.5, 1.0, 2.0, 1e9])),
    st.tuples(st.just(filters.top_k), st.integers(1, 10)),
    st.tuples(st.just(filters.top_p), shares),
    st.tuples(st.just(filters.min_p), shares),
    st.tuples(st.just(filters.typical_p), shares),
    st.tuples(st.just(filters.epsilon_cutoff), shares),
)
every_filter = pytest.mark.parametrize(
    ("apply", "value"),
    [
        (filters.temperature, 0.5),
        (filters.top_k, 3),
        (filters.top_p, 0.7),
        (filters.min_p, 0.3),
        (filters.typical_p, 0.7),
        (filters.epsilon_cutoff, 0.5),
        (filters.ban, np.array([1, 3])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


def softmax(row: list[float]) -> list[float]:
    weights = [math.exp(x - max(row)) for x in row]
    return [weight / sum(weights) for weight in weights]


def kept_by(apply: Filter, row: list[float], value: Any, dtype: Any = np.float64) -> set[int]:
    """Return the ids that a filter keeps in one row; it must not change their logits."""
    logits = np.array([row], dtype)
    result = apply(logits, value)
    assert result.dtype == dtype
    kept = np.flatnonzero(result[0] > CUT)
    np.testing.assert_array_equal(result[0, kept], logits[0, kept])
    assert len(kept) > 0
    return set(kept.tolist())


def logs(probabilities: list[float]) -> list[float]:
    return [math.log(p) for p in probabilities]


def possible(row: list[float]) -> set[int]:
    return {i for i, x in enumerate(row) if x > CUT}


@given(rows, st.floats(0.05, 20), dtypes)
def test_temperature_divides(row: list[float], t: float, dtype: Any) -> None:
    """Ratios of probabilities become those ratios to the power 1 / t."""
    result = filters.temperature(np.array([row], dtype), t)
    assert result.dtype == dtype
    assert result.max() == 0
    expected = [(x - max(row)) / t for x in row]
    np.testing.assert_allclose(result[0], expected, rtol=1e-6, atol=1e-30)


@given(rows, dtypes, st.sampled_from([5e-324, 1e-300, 1e-40, 1e-30]))
def test_a_tiny_temperature_leaves_the_most_probable(
    row: list[float], dtype: Any, t: float
) -> None:
    assume(all(x == max(row) or x < max(row) - 1e-3 for x in row))
    result = softmax(filters.temperature(np.array([row], dtype), t)[0].tolist())
    assert {i for i, p in enumerate(result) if p > 0} == {
        i for i, x in enumerate(row) if x == max(row)
    }


@given(st.lists(rows, min_size=2, max_size=2), dtypes)
def test_each_lane_may_have_a_temperature(pair: list[list[float]], dtype: Any) -> None:
    width = min(map(len, pair))
    logits = np.array([row[:width] for row in pair], dtype)
    result = filters.temperature(logits, np.array([[0.5], [3.0]]))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[:1], filters.temperature(logits[:1], 0.5))
    np.testing.assert_array_equal(result[1:], filters.temperature(logits[1:], 3.0))


@given(rows, st.integers(1, 10), dtypes)
def test_top_k_keeps_the_k_most_probable_and_ties(row: list[float], k: int, dtype: Any) -> None:
    best = sorted(row, reverse=True)[:k]
    expected = {i for i, x in enumerate(row) if x >= best[-1]}
    assert kept_by(filters.top_k, row, k, dtype) == expected & possible(row)


@given(rows, shares, dtypes)
def test_top_p_keeps_the_smallest_nucleus(row: list[float], p: float, dtype: Any) -> None:
    """The most probable ones reach p, and do not without the last; in a tie, lower ids are kept."""
    kept = kept_by(filters.top_p, row, p, dtype)
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    assert set(order[: len(kept)]) == kept
    probability = softmax(row)
    assert math.fsum(probability[i] for i in kept) >= p - NEAR
    assert math.fsum(probability[i] for i in order[: len(kept) - 1]) < p + NEAR


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.999])
def test_top_p_keeps_the_nucleus_of_many_symbols(p: float) -> None:
    """Of steep and of flat rows at once, whose nuclei have other symbols."""
    logits = np.random.default_rng(0).normal(size=(3, 3_000)) * [[0.1], [3], [9]]
    for row, kept in zip(logits, filters.top_p(logits, p) > -np.inf, strict=True):
        order = np.argsort(-row)
        number = int((np.cumsum(np.exp(row[order])) < p * np.exp(row).sum() * (1 - 1e-9)).sum()) + 1
        assert set(order[:number]) == set(np.flatnonzero(kept))


@given(rows, shares, dtypes)
def test_min_p_keeps_symbols_relative_to_the_best(row: list[float], p: float, dtype: Any) -> None:
    kept = kept_by(filters.min_p, row, p, dtype)
    probability = softmax(row)
    bound = p * max(probability)
    assert kept >= {i for i, q in enumerate(probability) if q >= bound * (1 + NEAR)}
    assert kept <= {i for i, q in enumerate(probability) if q >= bound * (1 - NEAR)}


@given(rows, shares, dtypes)
def test_typical_p_keeps_symbols_near_the_entropy(row: list[float], p: float, dtype: Any) -> None:
    """The nearest ones reach p, and do not without the farthest and its ties."""
    kept = kept_by(filters.typical_p, row, p, dtype)
    probability = softmax(row)
    surprisal = {i: -math.log(q) for i, q in enumerate(probability) if q > 0}
    entropy = math.fsum(probability[i] * s for i, s in surprisal.items())
    distance = {i: abs(s - entropy) for i, s in surprisal.items()}
    farthest = max(distance[i] for i in kept)
    assert all(distance[i] >= farthest - 1e-9 for i in distance.keys() - kept)
    assert math.fsum(probability[i] for i in kept) >= p - NEAR
    nearer = (probability[i] for i in distance if distance[i] < farthest - 1e-9)
    assert math.fsum(nearer) < p + NEAR


def test_typical_p_may_cut_the_most_probable() -> None:
    """It is less surprising than the next symbol is on average."""
    assert kept_by(filters.typical_p, logs([0.4, 0.2, 0.2, 0.2]), 0.5) == {1, 2, 3}


@given(st.integers(1, 8), shares)
def test_typical_p_keeps_ties_together(n: int, p: float) -> None:
    assert kept_by(filters.typical_p, [0.3] * n, p) == set(range(n))


@given(rows, st.floats(1e-6, 1), dtypes)
def test_epsilon_cutoff_keeps_probable_symbols(
    row: list[float], epsilon: float, dtype: Any
) -> None:
    """The most probable symbol is kept whatever its probability."""
    kept = kept_by(filters.epsilon_cutoff, row, epsilon, dtype)
    probability = softmax(row)
    best = {i for i, x in enumerate(row) if x == max(row)}
    assert kept >= best | {i for i, q in enumerate(probability) if q >= epsilon * (1 + NEAR)}
    assert kept <= best | {i for i, q in enumerate(probability) if q >= epsilon * (1 - NEAR)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_a_bound_missed_by_rounding_counts_as_met(dtype: Any, order: list[int]) -> None:
    """With probabilities that are exact on paper, and bounds between them."""
    probability = [0.5, 0.3, 0.15, 0.05]
    row = logs([probability[i] for i in order])

    def kept(apply: Filter, value: float) -> int:
        return len(kept_by(apply, row, value, dtype))

    assert [kept(filters.top_p, p) for p in (0.5, 0.8, 0.95, 1)] == [1, 2, 3, 4]
    assert [kept(filters.min_p, p) for p in (1, 0.6, 0.3, 0.1, 0)] == [1, 2, 3, 4, 4]
    assert [kept(filters.epsilon_cutoff, e) for e in (0.5, 0.3, 0.15, 0.05)] == [1, 2, 3, 4]
    # The entropy is 1.14 nats: 0.3 is the most typical, then 0.5, 0.15, 0.05.
    assert [kept(filters.typical_p, p) for p in (0.3, 0.8, 0.95, 1)] == [1, 2, 3, 4]


@given(rows, dtypes)
def test_a_probability_of_one_keeps_everything(row: list[float], dtype: Any) -> None:
    for apply in (filters.top_p, filters.typical_p):
        assert kept_by(apply, row, 1.0, dtype) == possible(row)


@given(rows, st.floats(0, 1e-6), dtypes)
def test_the_smallest_share_keeps_one(row: list[float], p: float, dtype: Any) -> None:
    assert kept_by(filters.top_p, row, p, dtype) == {row.index(max(row))}


@given(rows, filter_and_value, dtypes)
def test_the_most_probable_survives(
    row: list[float], filter_: tuple[Filter, Any], dtype: Any
) -> None:
    """All filters keep the greedy choice, except typical_p, which does not promise it."""
    apply, value = filter_
    assume(apply is not filters.typical_p)
    logits = np.array([row], dtype)
    assert apply(logits, value)[0, logits.argmax()] > CUT


@given(rows, st.lists(filter_and_value, min_size=1, max_size=5), dtypes)
def test_filters_work_in_any_order(
    row: list[float], sequence: list[tuple[Filter, Any]], dtype: Any
) -> None:
    """Cut symbols stay cut, something is left, nothing is NaN, and the input does not change."""
    logits = np.array([row], dtype)
    for apply, value in sequence:
        before = logits.copy()
        result = apply(logits, value)
        np.testing.assert_array_equal(logits, before)
        assert result.dtype == dtype
        assert not np.isnan(result).any()
        assert not (result[before == CUT] > CUT).any()
        assert np.isfinite(result.max())
        logits = result


@given(rows, filter_and_value, dtypes)
def test_a_second_time_changes_nothing(
    row: list[float], filter_: tuple[Filter, Any], dtype: Any
) -> None:
    """For filters that judge each symbol alone; a nucleus of a nucleus would be smaller."""
    apply, value = filter_
    assume(apply in (filters.top_k, filters.min_p, filters.epsilon_cutoff))
    once = apply(np.array([row], dtype), value)
    np.testing.assert_array_equal(apply(once, value), once)


@every_filter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lanes_are_filtered_independently(apply: Filter, value: Any, dtype: Any) -> None:
    generator = np.random.default_rng(0)
    logits = generator.integers(-4, 5, (50, 7)).astype(dtype)
    logits[generator.random((50, 7)) < 0.2] = CUT
    logits[:, 2] = 0
    one_by_one = [apply(logits[lane : lane + 1], value) for lane in range(50)]
    np.testing.assert_array_equal(apply(logits, value), np.concatenate(one_by_one))


@every_filter
def test_both_float_types_cut_the_same(apply: Filter, value: Any) -> None:
    logits = np.random.default_rng(1).normal(0, 3, (200, 65)).astype(np.float32)
    single, double = apply(logits, value), apply(logits.astype(np.float64), value)
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_filtered_applies_filters_in_order() -> None:
    """A nucleus is smaller after temperature 0.5, and min_p sees what the nucleus left."""
    logits = np.random.default_rng(2).normal(0, 2, (20, 65))
    settings: dict[str, Any] = {
        "temperature": 1.5,
        "top_k": 30,
        "top_p": 0.9,
        "min_p": 0.01,
        "typical_p": 0.8,
        "epsilon_cutoff": 0.03,
    }
    expected = logits
    for name, value in settings.items():
        expected = getattr(filters, name)(expected, value)
        alone = filters.filtered(logits, **{name: value})
        np.testing.assert_array_equal(alone, getattr(filters, name)(logits, value))
    np.testing.assert_array_equal(filters.filtered(logits, **settings), expected)
    backwards = logits
    for name, value in reversed(settings.items()):
        backwards = getattr(filters, name)(backwards, value)
    assert not np.array_equal(backwards, expected), "this example cannot tell the order"
    assert filters.filtered(logits) is logits


@given(rows, st.sets(st.integers(0, 8)))
def test_ban_cuts_these_and_nothing_else(row: list[float], ids: set[int]) -> None:
    """Even if nothing is left."""
    ids &= set(range(len(row)))
    logits = np.array([row, row[::-1]])
    before = logits.copy()
    banned = filters.ban(logits, np.array(sorted(ids), np.int64))
    by_lane = filters.ban_by_lane(logits, [sorted(ids), []])
    for i in range(len(row)):
        assert (banned[:, i] == (CUT if i in ids else before[:, i])).all()
    np.testing.assert_array_equal(by_lane, [banned[0], before[1]])
    np.testing.assert_array_equal(logits, before)


texts = st.lists(st.integers(0, 3), max_size=30)
sizes = st.integers(1, 5)


def would_repeat(text: list[int], n: int) -> list[int]:
    grams = {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}
    return [i for i in range(4) if tuple([*text, i][-n:]) in grams]


@given(st.lists(texts, min_size=1, max_size=3), sizes, dtypes)
def test_no_ngram_is_repeated(history: list[list[int]], n: int, dtype: Any) -> None:
    """Exactly the ids that would complete an n-gram of the lane's history are banned."""
    logits = np.arange(4 * len(history)).astype(dtype).reshape(-1, 4)
    expected = logits.copy()
    for lane, ids in enumerate(history):
        for id_ in would_repeat(ids, n):
            expected[lane, id_] = CUT
    for lanes in (history, [np.array(ids, np.int64) for ids in history]):
        result = filters.no_repeat_ngram(logits, lanes, n)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)
    assert logits.min() == 0


@given(sizes, texts, st.randoms(use_true_random=False))
def test_copies_of_ngrams_are_independent(n: int, prompt: list[int], choice: random.Random) -> None:
    """Over 60 steps in which beams are dropped and duplicated."""
    beams = [(prompt, SeenNgrams(n, prompt))]
    for _ in range(60):
        parents = choice.choices(beams, k=3)
        beams = [([*text, choice.randrange(4)], seen.copy()) for text, seen in parents]
        for text, seen in beams:
            seen.add(text[-1])
        for text, seen in beams + parents:
            assert seen.banned() == would_repeat(text, n)
