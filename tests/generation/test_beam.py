"""Beam search, compared with enumeration and plain loops on models with few symbols."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import GenerationError
from charrnn.generation.filters import log_softmax
from charrnn.generation.stepper import Stepper
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.model.specs import CellName
from tests.generation.table_model import (
    TableModel,
    Text,
    ends_with,
    find,
    log_p,
    same_everywhere,
    scored,
)

MODES: list[dict[str, Any]] = [
    {},
    {"num_beam_groups": 3, "diversity_penalty": 0.7},
    {"beam_sampling": True},
]
each_mode = pytest.mark.parametrize("mode", MODES, ids=["plain", "diverse", "sampling"])
seeds = st.integers(0, 999)
ids_of_3 = st.integers(0, 2)
prompts = st.lists(ids_of_3, min_size=1, max_size=3).map(tuple)
stop_lists = st.lists(st.lists(ids_of_3, min_size=1, max_size=3).map(tuple), max_size=2)


def all_texts(
    size: int, prompt: Text, length: int, stops: Sequence[Text], min_length: int, ids: Text = ()
) -> Iterator[Text]:
    """Every text that a search could find, with stops only after min_length symbols."""
    ended = [stop for stop in stops if ids and ends_with(prompt + ids, [stop])]
    if any(max(len(ids) - len(stop), 0) < min_length for stop in ended):
        return
    if ended or len(ids) == length:
        yield ids
        return
    for id_ in range(size):
        yield from all_texts(size, prompt, length, stops, min_length, (*ids, id_))


@given(seeds, st.integers(2, 6), st.integers(0, 8), st.sampled_from([0, 8]))
def test_one_beam_is_greedy(seed: int, size: int, length: int, decimals: int) -> None:
    """The most probable symbol each time; in a tie, the lowest id."""
    model = TableModel(size, seed, decimals)
    (found,) = find(model, (1,), length=length)
    text: Text = (1,)
    for _ in range(length):
        logits = model.logits(text)
        text += (logits.index(max(logits)),)
    assert found.ids == text[1:]
    assert found.stop_reason == "length"


def test_one_beam_is_still_greedy_after_a_long_text() -> None:
    """Even if the best symbol is better by less than the last bit of the sum so far."""
    model = same_everywhere(0.5 - 1e-14, 0.5 + 1e-14)
    (found,) = find(model, length=2000)
    assert set(found.ids) == {1}
    assert found.log_probability == pytest.approx(2000 * math.log(0.5))


@settings(max_examples=60)
@given(
    seeds,
    st.integers(2, 3),
    prompts,
    st.integers(0, 4),
    stop_lists,
    st.integers(0, 4),
    st.sampled_from([-1.0, 0.0, 0.7, 1.0, 2.0]),
    st.booleans(),
)
def test_enough_beams_find_every_text_and_rank_it(
    seed: int,
    size: int,
    prompt: Text,
    length: int,
    stops: list[Text],
    min_length: int,
    penalty: float,
    early: bool,
) -> None:
    """Compared with enumeration and log-probability / length^penalty, with and without stops."""
    model = TableModel(3, seed)
    never = range(size, 3)
    stops = [stop for stop in stops if max(stop) < size]
    found = find(
        model, prompt, stops=stops, never=never, num_beams=max(size**length, 2), length=length,
        min_length=min(min_length, length),
        beams={"length_penalty": penalty, "early_stopping": early},
    )  # fmt: skip
    expected = set(all_texts(size, prompt, length, stops, min(min_length, length)))
    assert {h.ids for h in found} == expected or (not expected and found[0].stop_reason == "banned")
    assert len(found) == max(len(expected), 1)
    for h in found:
        rescored = scored(model, prompt, h.ids, never)
        assert h.log_probability == pytest.approx(rescored, abs=1e-9)
        assert h.score == pytest.approx(rescored / max(len(h.ids), 1) ** penalty, abs=1e-9)
        if expected:
            assert h.stop_reason == (
                "stop" if ends_with(prompt + h.ids, stops) and h.ids else "length"
            )
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def plain_search(
    model: TableModel, beams: int, length: int, stops: list[Text], penalty: float, early: bool
) -> list[tuple[float, Text]]:
    """Beam search after a 0 in a few lines; returns ranks and ids, the best first."""
    running: list[tuple[float, Text]] = [(0.0, ())]
    ended: list[tuple[float, Text]] = []
    for n in range(1, length + 1):
        longer = [
            (score + x, (*ids, id_))
            for score, ids in running
            for id_, x in enumerate(log_p(model, (0, *ids)))
        ]
        longer.sort(key=lambda pair: -pair[0])
        done = [(s / n**penalty, ids) for s, ids in longer[:beams] if ends_with((0, *ids), stops)]
        ended = sorted([*ended, *done], key=lambda pair: -pair[0])[:beams]
        running = [(s, ids) for s, ids in longer if not ends_with((0, *ids), stops)][:beams]
        outranked = len(ended) == beams and running[0][0] / n**penalty <= ended[-1][0]
        if outranked or (early and len(ended) == beams and n < length):
            return ended
    ended += [(s / max(length, 1) ** penalty, ids) for s, ids in running]
    return sorted(ended, key=lambda pair: -pair[0])[:beams]


@settings(max_examples=100)
@given(
    seeds,
    st.integers(2, 5),
    st.integers(0, 6),
    st.lists(st.lists(ids_of_3, min_size=1, max_size=2).map(tuple), max_size=2, unique=True),
    st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    st.booleans(),
)
def test_a_few_beams_find_what_a_plain_loop_finds(
    seed: int, beams: int, length: int, stops: list[Text], penalty: float, early: bool
) -> None:
    model = TableModel(4, seed)
    expected = plain_search(model, beams, length, stops, penalty, early)
    found = find(
        model, stops=stops, num_beams=beams, length=length,
        beams={"length_penalty": penalty, "early_stopping": early},
    )  # fmt: skip
    assert [h.ids for h in found] == [ids for _, ids in expected]
    assert [h.score for h in found] == pytest.approx([rank for rank, _ in expected], abs=1e-9)


@settings(max_examples=30)
@given(seeds, st.integers(2, 30))
def test_no_search_beats_exhaustive_search(seed: int, num_beams: int) -> None:
    """More beams need not find a better text, but none is better than the best there is."""
    model = TableModel(3, seed)
    best = max(scored(model, (0,), ids) for ids in itertools.product(range(3), repeat=3))
    found = find(model, num_beams=num_beams, length=3, beams={"length_penalty": 0.0})
    assert found[0].score <= best + 1e-9
    assert len({h.ids for h in found}) == len(found) == min(num_beams, 27)


def test_ties_keep_the_better_beam_then_the_lower_id() -> None:
    found = find(same_everywhere(0.25, 0.25, 0.25, 0.25), num_beams=3, length=2)
    assert [h.ids for h in found] == [(0, 0), (0, 1), (0, 2)]
    # 0.2 * 0.4 and 0.4 * 0.2: the beam that was better before comes first.
    found = find(same_everywhere(0.2, 0.4, 0.4), num_beams=6, length=2)
    assert [h.ids for h in found] == [(1, 1), (1, 2), (2, 1), (2, 2), (1, 0), (2, 0)]


@each_mode
@settings(max_examples=30)
@given(seed=seeds, prompt=prompts, stops=stop_lists, n=st.integers(0, 3))
def test_texts_are_scored_in_their_own_lanes(
    mode: dict[str, Any], seed: int, prompt: Text, stops: list[Text], n: int
) -> None:
    """Each log-probability equals that of the text when it is read from its beginning."""
    model = TableModel(4, seed)
    found = find(
        model, prompt, stops=stops, never=[3], num_beams=6, seed=seed, length=7,
        no_repeat_ngram_size=n, beams=mode, temperature=0.7,
    )  # fmt: skip
    assert found
    for h in found:
        assert h.log_probability == pytest.approx(scored(model, prompt, h.ids, [3]), abs=1e-9)
        assert all(not ends_with(prompt + h.ids[:k], stops) for k in range(1, len(h.ids)))
        assert (h.stop_reason == "stop") == bool(h.ids and ends_with(prompt + h.ids, stops))
    assert model.most_lanes <= 6


@each_mode
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_beams_of_a_real_model_take_their_lanes_along(mode: dict[str, Any], cell: CellName) -> None:
    """Each log-probability equals what a single lane gives when it reads the text."""
    config = ModelConfig(cell=cell, num_layers=2, hidden_size=5, embedding_size=4)
    generator = np.random.default_rng(0)
    weights = {n: generator.normal(size=s) for n, s in parameter_shapes(config, 7).items()}
    stepper = Stepper(weights, config)
    for h in find(stepper, (3, 1), stops=[(2,)], num_beams=6, length=9, beams=mode):
        state = stepper.start(1)
        logits = [stepper.step(np.array([id_]), state).copy() for id_ in (3, 1, *h.ids)]
        rescored = log_softmax(np.concatenate(logits[1:-1]))[np.arange(len(h.ids)), h.ids]
        assert h.log_probability == pytest.approx(rescored.sum())


@each_mode
def test_no_stop_comes_before_min_length(mode: dict[str, Any]) -> None:
    """The symbol that would complete it is banned, so others follow."""
    model = same_everywhere(0.9, 0.04, 0.06)
    for seed in range(20):
        found = find(
            model, stops=[(0,), (2, 1)], num_beams=3, seed=seed, length=9, min_length=5, beams=mode
        )
        for h in found:
            assert 0 not in h.ids[:5]
            assert (2, 1) not in zip(h.ids[:5], h.ids[1:6], strict=True)
        assert any(h.ids[5:] == (0,) for h in found)


def test_a_stop_may_begin_in_the_prompt() -> None:
    model = same_everywhere(0.1, 0.2, 0.7)
    (found,) = find(model, (1, 2), stops=[(1, 2, 2)], length=5)
    assert (found.ids, found.stop_reason) == ((2,), "stop")
    (found,) = find(model, (2,), stops=[(1, 2, 2)], length=5)
    assert (found.ids, found.stop_reason) == ((2,) * 5, "length")


@pytest.mark.parametrize(
    ("early_stopping", "penalty", "steps"),
    [(True, 0.0, 2), (True, 1.0, 2), (False, 0.0, 4), (False, 1.0, 10), (False, -1.0, 3)],
)
def test_the_search_ends_if_no_beam_outranks_ended_texts(
    early_stopping: bool, penalty: float, steps: int
) -> None:
    """P(a, b, stop) = 0.6, 0.1, 0.3, and 2 beams: "." and "a." have ended after 2 steps.

    Ranked at penalty 0, "a." has ln 0.18, which a^3 is above and a^4 below. At 1 it has
    ln 0.18 / 2, and a^n always ln 0.6. At -1 it has 2 ln 0.18 = -3.4, and a^3 3 ln 0.216 = -4.6.
    """
    progress: list[tuple[int, int]] = []
    found = find(
        same_everywhere(0.6, 0.1, 0.3), stops=[(2,)], num_beams=2, length=10, progress=progress,
        beams={"early_stopping": early_stopping, "length_penalty": penalty},
    )  # fmt: skip
    assert progress == [(step, 10) for step in range(1, steps + 1)]
    if early_stopping or penalty <= 0:
        ended = sorted([((2,), math.log(0.3)), ((0, 2), math.log(0.18) / 2**penalty)],
                       key=lambda pair: -pair[1])  # fmt: skip
        assert [h.ids for h in found] == [ids for ids, _ in ended]
    else:
        assert [h.ids for h in found] == [(0,) * 10, (0,) * 9 + (2,)]


def test_the_search_ends_if_a_beam_only_ties() -> None:
    progress: list[tuple[int, int]] = []
    (found,) = find(same_everywhere(0.5, 0.5), stops=[(0,)], length=5, progress=progress)
    assert (found.ids, progress) == ((0,), [(1, 5)])


@settings(max_examples=30)
@given(seeds, st.integers(1, 3), st.integers(1, 3), stop_lists)
def test_groups_without_a_penalty_are_plain_searches(
    seed: int, groups: int, width: int, stops: list[Text]
) -> None:
    model = TableModel(3, seed)
    plain = find(model, num_beams=width, stops=stops, length=5)
    diverse = find(
        model, num_beams=groups * width, stops=stops, length=5, beams={"num_beam_groups": groups}
    )
    assert diverse == [h for h in plain for _ in range(groups)]


@settings(max_examples=60)
@given(seeds, st.integers(1, 4), st.floats(0.01, 3), st.sampled_from([(), ((2,),), ((0, 1),)]))
def test_a_group_pays_for_choices_of_earlier_groups(
    seed: int, groups: int, penalty: float, stops: tuple[Text, ...]
) -> None:
    """Compared with a plain loop with one beam per group; the penalty stays in the score."""
    model = TableModel(3, seed)
    texts: list[Text] = [()] * groups
    scores = [0.0] * groups
    for _ in range(5):
        chosen: list[int] = []
        for group, text in enumerate(texts):
            if text and ends_with((0, *text), stops):
                continue
            row = log_p(model, (0, *text))
            row = [x - penalty * chosen.count(id_) for id_, x in enumerate(row)]
            chosen.append(row.index(max(row)))
            scores[group] += max(row)
            texts[group] += (chosen[-1],)
    found = find(
        model, stops=stops, num_beams=groups, length=5,
        beams={"num_beam_groups": groups, "diversity_penalty": penalty if groups > 1 else 0.0},
    )  # fmt: skip
    expected = sorted((-s / len(text), text) for s, text in zip(scores, texts, strict=True))
    assert sorted(h.ids for h in found) == sorted(texts)
    assert [h.score for h in found] == pytest.approx([-s for s, _ in expected])


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_a_large_penalty_keeps_the_groups_apart(groups: int) -> None:
    """In the first step all six beams take different symbols, whatever their groups."""
    beams = {"num_beam_groups": groups, "diversity_penalty": 99.0}
    for seed in range(9):
        found = find(TableModel(6, seed), num_beams=6, length=1, beams=beams)
        assert len({h.ids for h in found}) == 6


@each_mode
def test_no_ngram_comes_twice(mode: dict[str, Any]) -> None:
    """N-grams of the prompt count, even if the prompt repeats some itself."""
    model = same_everywhere(0.7, 0.2, 0.1)
    prompt = (0, 1, 0, 1)
    for n, length in ((1, 1), (2, 4), (3, 9)):
        found = find(model, prompt, num_beams=6, length=length, no_repeat_ngram_size=n, beams=mode)
        assert found
        for h in found:
            text = prompt + h.ids
            ngrams = [text[i : i + n] for i in range(len(text) - n + 1)]
            new = ngrams[len(prompt) - n + 1 :]
            assert len(set(new)) == len(new)
            assert not set(new) & set(ngrams[: len(prompt) - n + 1])


@each_mode
def test_a_dead_end_is_returned_if_there_is_nothing_else(mode: dict[str, Any]) -> None:
    """If each symbol may occur once and 1, 2 is a stop, only some orders of 1, 2, 3 end with it."""
    even = same_everywhere(0.25, 0.25, 0.25, 0.25)
    once: dict[str, Any] = {"num_beams": 12, "length": 9, "no_repeat_ngram_size": 1, "beams": mode}
    found = {(h.ids, h.stop_reason) for h in find(even, stops=[(1, 2)], **once)}
    assert found == {((1, 2), "stop"), ((3, 1, 2), "stop")}
    found = {(h.ids, h.stop_reason) for h in find(even, **once)}
    assert found <= {(ids, "banned") for ids in itertools.permutations((1, 2, 3))}
    found = {(h.ids, h.stop_reason) for h in find(even, banned=range(4), **once)}
    assert found == {((), "banned")}


@each_mode
def test_banned_symbols_never_come(mode: dict[str, Any]) -> None:
    """Symbols that do not exist leave their probability to others; banned symbols do not."""
    model = same_everywhere(0.5, 0.3, 0.1, 0.1)
    for never, banned, share in (([0], [2], 0.5), ([], [0, 2], 1.0)):
        found = find(model, never=never, banned=banned, num_beams=3, length=6, beams=mode)
        for h in found:
            assert set(h.ids) <= {1, 3}
            rescored = math.fsum(math.log((0.3 if id_ == 1 else 0.1) / share) for id_ in h.ids)
            assert h.log_probability == pytest.approx(rescored)


@each_mode
def test_the_search_ends_when_the_time_is_up(mode: dict[str, Any]) -> None:
    """The clock is read before the search and before each step."""
    progress: list[tuple[int, int]] = []
    found = find(
        TableModel(3), num_beams=3, length=9, max_seconds=3.0, progress=progress, beams=mode,
        clock=itertools.count(7.0),
    )  # fmt: skip
    assert [(len(h.ids), h.stop_reason) for h in found] == [(2, "time")] * 3
    assert progress == [(1, 9), (2, 9)]


@each_mode
def test_a_search_of_length_zero_finds_the_empty_text(mode: dict[str, Any]) -> None:
    found = find(TableModel(3), num_beams=3, length=0, beams=mode)
    assert {(h.ids, h.log_probability, h.stop_reason) for h in found} == {((), 0.0, "length")}


@each_mode
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_overflow_is_an_error(mode: dict[str, Any], number: float) -> None:
    model = TableModel(3)
    for first in range(3):
        model.table[0, first] = [0.0, number, 0.0]
    with pytest.raises(GenerationError, match="overflowed"):
        find(model, num_beams=3, length=3, beams=mode)


def test_the_number_of_texts_is_as_requested() -> None:
    model = TableModel(3)
    some = find(model, num_beams=5, length=4, beams={"num_return_sequences": 2})
    assert some == find(model, num_beams=5, length=4)[:2]
