"""Nats, bits and perplexity."""

import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import charrnn
from charrnn.errors import CorpusError, RunError
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel
from charrnn.text.store import Symbols
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import validation as evaluation
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
        patch.setattr(evaluation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids)) == pytest.approx(unbroken(model, ids), rel=1e-9)


@settings(deadline=None)
@given(ids=texts, context=st.integers(1, 70))
def test_a_fresh_state_forgets_what_was_before_its_block(ids: list[int], context: int) -> None:
    model = model_of()
    expected = sum(
        unbroken(model, ids[at : at + context + 1]) for at in range(0, len(ids) - 1, context)
    )
    assert total_nats(model, symbols(ids), context=context) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(text=documents(), elements=st.integers(1, 2_000))
def test_each_document_is_scored_on_its_own(
    text: tuple[list[int], set[int]], elements: int
) -> None:
    """Its first symbol is predicted from the last of the document before, and from no other."""
    model, (ids, ends) = model_of(), text
    expected = in_parts(model, ids, {end - 1 for end in ends})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids, ends)) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(text=documents(), context=st.integers(1, 70))
def test_with_a_context_a_state_begins_with_its_block_and_with_a_document(
    text: tuple[list[int], set[int]], context: int
) -> None:
    model, (ids, ends) = model_of(), text
    begin_anew = {end - 1 for end in ends} | set(range(0, len(ids) - 1, context))
    assert total_nats(model, symbols(ids, ends), context=context) == pytest.approx(
        in_parts(model, ids, begin_anew), rel=1e-9
    )


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
        patch.setattr(evaluation, "WARM_UP", 3)
        patch.setattr(evaluation, "PASS_ELEMENTS", elements)
        assert total_nats(model, symbols(ids, ends), lanes=lanes) == pytest.approx(
            lane_by_lane(model, ids, ends, fitting, 3), rel=1e-9
        )


@pytest.mark.parametrize("how", [{}, {"lanes": 3}, {"context": 1_500}])
def test_the_text_of_a_document_has_no_part_in_the_loss_of_the_next(how: dict[str, int]) -> None:
    """Its last symbol apart, which stands for that of any."""
    model = model_of()
    first, other, second = np.random.default_rng(3).integers(7, size=(3, 4_000)).tolist()
    other[-1] = first[-1]
    losses = [
        total_nats(model, symbols(before + second, {4_000}), **how)  # type: ignore[arg-type]
        - total_nats(model, symbols(before), **how)  # type: ignore[arg-type]
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
    figures = evaluation.evaluation(
        nats, part.cut(1, len(part)), Vocabulary("char", tuple("abcdefg"))
    )
    assert figures.characters == 29
    assert figures.nats_per_char == pytest.approx(nats / 29)


def test_lanes_are_exact_where_documents_are_shorter_than_the_warm_up() -> None:
    model = model_of()
    ids = np.random.default_rng(0).integers(7, size=101).tolist()
    short, long = symbols(ids, range(4, 101, 4)), symbols(ids, {50})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "WARM_UP", 4)
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


def test_the_figures_agree_with_each_other(trained: charrnn.TrainingResult) -> None:
    scored = charrnn.evaluate(trained.folder, "The stones, who say the same")
    assert scored.characters == 27
    assert scored.bits_per_char == pytest.approx(scored.nats_per_char / math.log(2))
    assert scored.perplexity == pytest.approx(math.exp(scored.nats_per_char))
    assert scored.bits_per_byte == pytest.approx(scored.bits_per_char)


def test_the_validation_loss_of_the_run_is_reproduced(trained: charrnn.TrainingResult) -> None:
    scored = charrnn.evaluate(trained.folder)
    assert scored.nats_per_char == pytest.approx(trained.end.best_loss, rel=1e-6)


def test_a_model_without_its_run_needs_a_text(
    trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained.folder / "step-00000060" / "model.safetensors").read_bytes())
    with pytest.raises(RunError, match="without its run, so there is no validation text; name one"):
        charrnn.load(alone).evaluate()
    assert charrnn.load(alone).evaluate("The river").characters == 8


@pytest.mark.parametrize("text", ["", "T"])
def test_a_text_without_anything_to_predict_is_refused(
    trained: charrnn.TrainingResult, text: str
) -> None:
    with pytest.raises(CorpusError, match="at least 2 characters"):
        charrnn.evaluate(trained.folder, text)
