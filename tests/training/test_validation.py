"""The loss on the validation part."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.training import validation
from charrnn.training.validation import total_nats


def model_of(vocabulary_size: int = 7) -> LanguageModel:
    config = ModelConfig(num_layers=2, hidden_size=6, embedding_size=5)
    return LanguageModel(config, vocabulary_size, torch.Generator().manual_seed(1)).double()


def unbroken(model: LanguageModel, ids: list[int]) -> float:
    """The whole in one forward pass."""
    if len(ids) < 2:
        return 0.0
    symbols = torch.tensor(ids)[:, None]
    with torch.no_grad():
        logits, _ = model(symbols[:-1], model.start(1))
    return F.cross_entropy(logits.flatten(0, 1), symbols[1:].flatten(), reduction="sum").item()


def in_parts(model: LanguageModel, ids: list[int], begin_anew: set[int]) -> float:
    """Each part on its own: it begins where a state does, and predicts up to where the next one."""
    borders = sorted({0, len(ids) - 1} | begin_anew)
    return sum(unbroken(model, ids[a : b + 1]) for a, b in itertools.pairwise(borders))


def symbols(ids: list[int], ends: Iterable[int] = ()) -> Symbols:
    return Symbols(np.array(ids, dtype=np.uint8), ends=np.array(sorted(ends), dtype=np.int64))


texts = st.lists(st.integers(0, 6), min_size=2, max_size=60)


@st.composite
def documents(draw: st.DrawFn, min_size: int = 2, max_size: int = 60) -> tuple[list[int], set[int]]:
    """A text, and the ends of its documents."""
    ids = draw(st.lists(st.integers(0, 6), min_size=min_size, max_size=max_size))
    return ids, draw(st.sets(st.integers(1, len(ids)), max_size=8))


@settings(deadline=None)
@given(ids=texts, elements=st.integers(1, 2_000))
def test_carried_is_one_unbroken_pass(ids: list[int], elements: int) -> None:
    """However few steps a pass takes to bound its memory."""
    model = model_of()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids)) == pytest.approx(unbroken(model, ids), rel=1e-9)


@settings(deadline=None)
@given(text=documents(), elements=st.integers(1, 2_000))
def test_each_document_is_scored_on_its_own(
    text: tuple[list[int], set[int]], elements: int
) -> None:
    """Its first symbol is predicted from the last of the document before, and from no other."""
    model, (ids, ends) = model_of(), text
    expected = in_parts(model, ids, {end - 1 for end in ends})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids, ends)) == pytest.approx(expected, rel=1e-9)


def lane_by_lane(
    model: LanguageModel, ids: list[int], ends: set[int], lanes: int, warm_up: int
) -> float:
    """One step after the other, each lane after what it warms up on; the last takes the rest."""
    targets = len(ids) - 1
    starts = [targets // lanes * lane for lane in range(lanes)]
    total = 0.0
    for start, stop in zip(starts, [*starts[1:], targets], strict=True):
        state = model.start(1)
        for at in range(max(0, start - warm_up), stop):
            if at + 1 in ends:
                state = model.start(1)
            logits, state = model(torch.tensor([[ids[at]]]), state)
            if at >= start:
                total += F.cross_entropy(logits[0], torch.tensor([ids[at + 1]])).item()
    return total


@settings(deadline=None, max_examples=30)
@given(text=documents(20, 80), lanes=st.integers(1, 5), elements=st.integers(1, 2_000))
def test_each_lane_is_scored_behind_its_warm_up(
    text: tuple[list[int], set[int]], lanes: int, elements: int
) -> None:
    """Documents begin anew in the warm-up, too."""
    model, (ids, ends) = model_of(), text
    fitting = max(1, min(lanes, (len(ids) - 1) // 6))
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(validation, "WARM_UP", 3)
        patch.setattr(validation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids, ends), lanes=lanes) == pytest.approx(
            lane_by_lane(model, ids, ends, fitting, 3), rel=1e-9
        )


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_document_does_not_change_the_loss_of_the_next(lanes: int) -> None:
    """Except for its last symbol, which every document shares in practice."""
    model = model_of()
    first, other, second = np.random.default_rng(3).integers(7, size=(3, 4_000)).tolist()
    other[-1] = first[-1]
    losses = [
        total_nats(model, symbols(before + second, {4_000}), lanes=lanes)
        - total_nats(model, symbols(before), lanes=lanes)
        for before in (first, other)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_a_part_of_a_text_keeps_the_documents_of_the_whole() -> None:
    """And a part of a part: the validation part begins within a document, and is cut again."""
    model = model_of()
    ids, ends = np.random.default_rng(4).integers(7, size=50).tolist(), {7, 19, 20, 33, 48}
    part = symbols(ids, ends).cut(4, 45).cut(6, 36)
    nats = total_nats(model, part)
    assert nats == pytest.approx(in_parts(model, ids[10:40], {8, 9, 22}), rel=1e-9)


def test_lanes_are_exact_where_documents_are_shorter_than_the_warm_up() -> None:
    model = model_of()
    ids = np.random.default_rng(0).integers(7, size=101).tolist()
    short, long = symbols(ids, range(4, 101, 4)), symbols(ids, {50})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "WARM_UP", 4)
        assert total_nats(model, short, lanes=7) == pytest.approx(
            total_nats(model, short), rel=1e-12
        )
        assert total_nats(model, long, lanes=7) != pytest.approx(total_nats(model, long), rel=1e-8)


def test_lanes_side_by_side_come_close_to_one_unbroken_pass() -> None:
    model = model_of()
    text = Symbols(np.random.default_rng(0).integers(7, size=10_007))
    whole = total_nats(model, text)
    assert total_nats(model, text, lanes=5) == pytest.approx(whole, rel=1e-6)
    counted: list[int] = []
    total_nats(model, text, lanes=5, on_progress=counted.append)
    assert sum(counted) == 10_006, "each symbol but the first is predicted once"
