"""The loss on the validation part."""

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
from charrnn.training.validation import total_nats, validate
from tests.training.scoring import documents, in_parts, symbols, texts, unbroken


def model_of(vocabulary_size: int = 7) -> LanguageModel:
    config = ModelConfig(num_layers=2, hidden_size=6, embedding_size=5)
    return LanguageModel(config, vocabulary_size, torch.Generator().manual_seed(1)).double()


@given(ids=texts, elements=st.integers(1, 2_000))
def test_carried_is_one_unbroken_pass(ids: list[int], elements: int) -> None:
    """However few steps fit into a pass of bounded memory."""
    model = model_of()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids)) == pytest.approx(unbroken(model, ids), rel=1e-9)


@given(text=documents(), elements=st.integers(1, 2_000))
def test_each_document_is_scored_on_its_own(
    text: tuple[list[int], set[int]], elements: int
) -> None:
    """Its first symbol is predicted from the last symbol of the document before, and no other."""
    model, (ids, ends) = model_of(), text
    expected = in_parts(model, ids, {end - 1 for end in ends})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids, ends)) == pytest.approx(expected, rel=1e-9)


def lane_by_lane(
    model: LanguageModel, ids: list[int], ends: set[int], lanes: int, warm_up: int
) -> float:
    """Step by step, each lane after its warm-up; the last lane takes the remainder."""
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


@settings(max_examples=30)
@given(text=documents(20, 80), lanes=st.integers(1, 5), elements=st.integers(1, 2_000))
def test_each_lane_is_scored_after_its_warm_up(
    text: tuple[list[int], set[int]], lanes: int, elements: int
) -> None:
    """Documents reset the state during the warm-up, too."""
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
    """A part of a part as well: validation starts within a document, and is cut again."""
    model = model_of()
    ids, ends = np.random.default_rng(4).integers(7, size=50).tolist(), {7, 19, 20, 33, 48}
    part = symbols(ids, ends).cut(4, 45).cut(6, 36)
    nats = total_nats(model, part)
    assert nats == pytest.approx(in_parts(model, ids[10:40], {8, 9, 22}), rel=1e-9)


def test_lanes_are_exact_if_documents_fit_the_warm_up() -> None:
    model = model_of()
    ids = np.random.default_rng(0).integers(7, size=101).tolist()
    short, long = symbols(ids, range(4, 101, 4)), symbols(ids, {50})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "WARM_UP", 4)
        assert total_nats(model, short, lanes=7) == pytest.approx(
            total_nats(model, short), rel=1e-12
        )
        assert total_nats(model, long, lanes=7) != pytest.approx(total_nats(model, long), rel=1e-8)


def test_parallel_lanes_come_close_to_one_unbroken_pass() -> None:
    model = model_of()
    text = Symbols(np.random.default_rng(0).integers(7, size=10_007))
    whole = total_nats(model, text)
    assert total_nats(model, text, lanes=5) == pytest.approx(whole, rel=1e-6)
    counted: list[int] = []
    total_nats(model, text, lanes=5, on_progress=counted.append)
    assert sum(counted) == 10_006, "each symbol but the first is predicted once"


def test_a_part_of_a_text_stands_for_the_whole() -> None:
    """The same symbols each time, spread over the text; all of them if it is shorter."""
    model = model_of()
    text = symbols(np.random.default_rng(4).integers(7, size=30_000).tolist())
    part = validate(model, text, 9_000)
    assert part.symbols == 9_000
    assert part == validate(model, text, 9_000)
    whole = validate(model, text, 10**6)
    assert whole.symbols == len(text) - 1
    assert part.loss == pytest.approx(whole.loss, rel=0.02)


def test_short_documents_are_validated_side_by_side() -> None:
    """Exactly: each of them from a fresh state, after the end of another one."""
    model, ids = model_of(), np.random.default_rng(6).integers(7, size=600)
    ids[9::10] = 0
    text = symbols(ids.tolist(), set(range(10, 601, 10)))
    found = validate(model, text, 10**6)
    assert found.symbols == 600
    nats = total_nats(model, symbols([0, *ids.tolist()], set(range(1, 602, 10))))
    assert found.loss == pytest.approx(nats / 600, rel=1e-6)
