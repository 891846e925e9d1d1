"""Scores of symbols and characters, and the figures computed from them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.errors import CorpusError, GenerationError, RunError, SettingsError
from charrnn.evaluation import score
from charrnn.evaluation.score import symbol_scores
from charrnn.generation.stepper import Stepper
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel, export_weights
from charrnn.text.store import Symbols
from tests.training.scoring import documents, in_parts, symbols, texts, unbroken

CONFIG = ModelConfig(num_layers=2, hidden_size=6, embedding_size=5)
MODEL = LanguageModel(CONFIG, 7, torch.Generator().manual_seed(1)).double()
STEPPER = Stepper(export_weights(MODEL), CONFIG)


def total(text: Symbols, context: int | None = None) -> float:
    """The nats of all but the first symbol."""
    blocks = symbol_scores(STEPPER, text, context=context)
    return -math.fsum(float(block.sum()) for block in blocks)


@given(ids=texts, elements=st.integers(1, 2_000))
def test_a_text_is_scored_as_one_pass_of_the_model(ids: list[int], elements: int) -> None:
    """However little memory a pass may use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "PASS_ELEMENTS", elements)
        assert total(symbols(ids)) == pytest.approx(unbroken(MODEL, ids), rel=1e-9)


@given(text=documents(), context=st.none() | st.integers(1, 70), group=st.integers(1, 99))
def test_the_state_is_fresh_at_documents_and_blocks(
    text: tuple[list[int], set[int]], context: int | None, group: int
) -> None:
    """However many stretches are read side by side."""
    ids, ends = text
    fresh = {end - 1 for end in ends}
    if context is not None:
        fresh |= set(range(0, len(ids) - 1, context))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "GROUP_SYMBOLS", group)
        found = total(symbols(ids, ends), context)
    assert found == pytest.approx(in_parts(MODEL, ids, fresh), rel=1e-9)


@given(text=documents(), start=st.integers(0, 30))
def test_scores_come_in_the_order_of_the_text(text: tuple[list[int], set[int]], start: int) -> None:
    """Although stretches are sorted by length within a group."""
    ids, ends = text
    part = symbols(ids, ends).cut(min(start, len(ids) - 2), len(ids))
    together = np.concatenate(list(symbol_scores(STEPPER, part)))
    assert len(together) == len(part) - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "LANES", 1)
        one_by_one = np.concatenate(list(symbol_scores(STEPPER, part)))
    np.testing.assert_allclose(together, one_by_one, rtol=1e-9)


def test_progress_counts_every_predicted_symbol() -> None:
    text = symbols(list(range(7)) * 5, {9, 12})
    seen: list[tuple[int, int]] = []
    list(symbol_scores(STEPPER, text, on_progress=lambda done, of: seen.append((done, of))))
    assert seen[-1] == (34, 34)


def test_numbers_that_overflow_are_an_error() -> None:
    weights = {name: array.copy() for name, array in export_weights(MODEL).items()}
    weights["output.bias"][:] = np.inf
    with pytest.raises(GenerationError, match="overflowed"):
        list(symbol_scores(Stepper(weights, CONFIG), symbols([1, 2, 3])))


def test_an_evaluation_is_the_sum_of_the_scores(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    text = "The stones, who say the same"
    scores = list(model.score(text))
    assert "".join(s.character for s in scores) == text[1:]
    nats = -math.fsum(s.log_probability for s in scores)
    assert model.evaluate(text).nats_per_char == pytest.approx(nats / len(scores), rel=1e-9)
    assert scores[0].bits == pytest.approx(-scores[0].log_probability / math.log(2))


def test_with_documents_the_first_character_is_scored(corpus: Path, tmp_path: Path) -> None:
    """The end of another document is read first, as in sampling."""
    result = charrnn.train(
        corpus,
        corpus_config={"lines": True},
        model=ModelConfig(hidden_size=8, embedding_size=4),
        training=charrnn.TrainingConfig(steps=5, batch_size=4, seq_length=16),
        checkpoint_dir=tmp_path,
    )
    model = charrnn.load(result.folder)
    assert "".join(s.character for s in model.score("river")) == "river"
    assert model.evaluate("river").characters == 5
    assert model.evaluate("a").characters == 1
    two = [s.log_probability for s in model.score("river\nstone\n")]
    stone = [s.log_probability for s in model.score("stone\n")]
    assert two[6:] == pytest.approx(stone), "each line is a text of its own"


@pytest.mark.parametrize("text", ["été à côté", "à la mer", "où"])
def test_the_bytes_of_a_character_count_as_one(text: str, tmp_path: Path) -> None:
    """And those of the first character are read, not predicted."""
    source = tmp_path / "bytes.txt"
    source.write_text("élève à côté, où l'été fût gâté\n" * 20, encoding="utf-8")
    result = charrnn.train(
        source,
        corpus_config={"unit": "byte"},
        model=ModelConfig(hidden_size=8, embedding_size=4),
        training=charrnn.TrainingConfig(steps=5, batch_size=4, seq_length=16),
        checkpoint_dir=tmp_path,
    )
    model = charrnn.load(result.folder)
    scores = list(model.score(text))
    assert "".join(s.character for s in scores) == text[1:]
    found = model.evaluate(text)
    assert found.characters == len(text) - 1
    nats = -math.fsum(s.log_probability for s in scores)
    assert found.nats_per_char == pytest.approx(nats / len(scores), rel=1e-9)
    still = charrnn.DynamicConfig(dynamic_lr=0, dynamic_decay=0)
    unmoved = model.evaluate(text, dynamic=still, device="cpu")
    assert unmoved.characters == found.characters
    assert unmoved.nats_per_char == pytest.approx(found.nats_per_char, rel=1e-5)


@pytest.mark.parametrize("context", [0, -1])
def test_a_context_without_symbols_is_refused(
    trained: charrnn.TrainingResult, context: int
) -> None:
    model = charrnn.load(trained.folder)
    for measure in (model.score, model.evaluate):
        with pytest.raises(SettingsError, match=f"`context={context}`: must be at least 1"):
            measure("The river", context=context)


def test_a_device_for_one_evaluation_leaves_the_model_alone(
    trained: charrnn.TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = charrnn.load(trained.folder)
    before = model.stepper
    asked: list[str] = []
    make = model._make_stepper

    def make_stepper(device: str) -> Any:
        asked.append(device)
        return make("cpu")

    monkeypatch.setattr(model, "_make_stepper", make_stepper)
    model.evaluate("The river", device="cuda")
    assert asked == ["cuda"]
    assert model.stepper is before


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
    with pytest.raises(RunError, match="so it has no validation text; name a text"):
        charrnn.load(alone).evaluate()
    assert charrnn.load(alone).evaluate("The river").characters == 8


@pytest.mark.parametrize("text", ["", "T"])
def test_a_text_without_anything_to_predict_is_refused(
    trained: charrnn.TrainingResult, text: str
) -> None:
    with pytest.raises(CorpusError, match="at least 2 characters"):
        charrnn.evaluate(trained.folder, text)
