"""Stochastic beam search, compared with the distribution of enumerable texts."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from charrnn.generation.beam import Hypothesis
from charrnn.generation.stochastic_beam import gumbels_below, log_1_minus_exp
from tests.generation.table_model import TableModel, Text, find, scored

SAMPLING = {"beam_sampling": True}
STOPS = [(1,)]
seeds = st.integers(0, 999)


def drawn(model: TableModel, number: int, **others: Any) -> list[Hypothesis]:
    return find(model, num_beams=number, beams=SAMPLING, **others)


def probabilities(model: TableModel, temperature: float) -> dict[Text, float]:
    """The probabilities with which sampling draws texts of up to 2 symbols that end after a 1."""
    table: dict[Text, float] = {}
    for ids in [(1,), *itertools.product((0, 2), range(3))]:
        p = 1.0
        for place, id_ in enumerate(ids):
            powers = [math.exp(x / temperature) for x in model.logits((0, *ids[:place]))]
            p *= powers[id_] / math.fsum(powers)
        table[ids] = p
    return table


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_texts_are_drawn_without_replacement(temperature: float) -> None:
    """The first has its probability p; the second, of those left, p / (1 - p of the first).

    Shares of 4000 draws lie within five standard deviations.
    """
    model = TableModel(3, seed=106)
    p = probabilities(model, temperature)
    draws = 4000
    samples = [
        [h.ids for h in drawn(model, 2, stops=STOPS, length=2, temperature=temperature, seed=seed)]
        for seed in range(draws)
    ]
    pairs = Counter((a, b) for a, b in samples)
    assert math.fsum(p.values()) == pytest.approx(1)
    assert {text for pair in pairs for text in pair} == p.keys()
    for a, b in itertools.permutations(p, 2):
        assert_share(pairs[a, b], draws, p[a] * p[b] / (1 - p[a]))
    for text in p:
        assert_share(sum(pairs[pair] for pair in pairs if pair[0] == text), draws, p[text])
        others = math.fsum(q * p[text] / (1 - q) for other, q in p.items() if other != text)
        assert_share(sum(pairs[pair] for pair in pairs if text in pair), draws, p[text] + others)


def assert_share(count: int, draws: int, p: float) -> None:
    assert abs(count / draws - p) < 5 * math.sqrt(p * (1 - p) / draws)


def test_scores_are_perturbed_log_probabilities() -> None:
    """The largest score is a standard Gumbel, with its mean and variance."""
    model = TableModel(3, seed=106)
    greatest = [drawn(model, 2, stops=STOPS, length=2, seed=seed)[0].score for seed in range(2000)]
    assert np.mean(greatest) == pytest.approx(np.euler_gamma, abs=5 * 1.2825 / math.sqrt(2000))
    assert np.var(greatest) == pytest.approx(math.pi**2 / 6, rel=0.25)


@settings(max_examples=40)
@given(seeds, st.integers(2, 40), st.floats(0.1, 5))
def test_texts_differ_and_are_ordered_by_score(seed: int, number: int, temperature: float) -> None:
    """As many as requested, or all there are; the log-probability is at temperature 1."""
    model = TableModel(3, seed)
    found = drawn(model, number, stops=STOPS, length=3, temperature=temperature, seed=seed)
    assert len({h.ids for h in found}) == len(found) == min(number, 1 + 2 + 4 * 3)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    for h in found:
        assert h.log_probability == pytest.approx(scored(model, (0,), h.ids))
        assert h.stop_reason == ("stop" if h.ids[-1] == 1 else "length")


def test_the_same_seed_draws_the_same_texts() -> None:
    model = TableModel(5)
    one, two = (drawn(model, 4, length=6, seed=7) for _ in range(2))
    assert one == two != drawn(model, 4, length=6, seed=8)


def test_the_temperature_moves_along_its_schedule() -> None:
    """Near 0 the most probable symbol is drawn; at 1000, any symbol."""
    model = TableModel(3, seed=1)

    def greedy(text: Text) -> int:
        return int(np.argmax(model.logits((0, *text))))

    for schedule, cold in (("0.001:1000", 0), ("1000:0.001", 1)):
        found = [
            drawn(model, 2, length=2, temperature_schedule=schedule, seed=seed)[0].ids
            for seed in range(60)
        ]
        assert all(text[cold] == greedy(text[:cold]) for text in found)
        assert {text[1 - cold] for text in found} == {0, 1, 2}


@pytest.mark.parametrize(
    ("filters", "texts"),
    [({"top_k": 1}, 1), ({"top_k": 2}, 8), ({"min_p": 1.0}, 1), ({"top_p": 1e-9}, 1)],
)
def test_filters_cut_what_is_drawn(filters: dict[str, Any], texts: int) -> None:
    found = drawn(TableModel(4), 64, length=3, **filters)
    assert len(found) == texts


@pytest.mark.parametrize("temperature", [5e-324, 3e-308, 1e-40])
def test_a_tiny_temperature_draws_the_greedy_text_first(temperature: float) -> None:
    found = drawn(TableModel(3), 3, length=4, temperature=temperature)
    assert found[0].ids == find(TableModel(3), length=4)[0].ids


@given(
    arrays(float, (3, 4), elements=st.one_of(st.floats(-1e6, 0), st.just(-math.inf))),
    arrays(float, 3, elements=st.floats(-1e6, 1e6)),
    seeds,
)
def test_each_row_of_gumbels_has_the_given_maximum(phi: Any, greatest: Any, seed: int) -> None:
    """However far apart the locations are; impossible symbols stay at -inf."""
    phi[:, 1] = -5.0
    below = gumbels_below(phi, greatest, np.random.default_rng(seed))
    np.testing.assert_array_equal(below.max(axis=1), greatest)
    np.testing.assert_array_equal(np.isneginf(below), np.isneginf(phi))


def test_log_1_minus_exp_is_accurate_at_both_ends() -> None:
    x = np.array([0.0, -1e-20, -1e-9, -0.5, -1.0, -50.0, -1e3, -math.inf])
    expected = [-math.inf, -20 * math.log(10), math.log(1e-9) - 5e-10]
    expected += [math.log(1 - math.exp(-0.5)), math.log(1 - math.exp(-1)), -math.exp(-50), 0, 0]
    np.testing.assert_allclose(log_1_minus_exp(x), expected, rtol=1e-12)
