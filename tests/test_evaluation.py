"""Nats, bits and perplexity."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import charrnn
from charrnn import evaluation
from charrnn.errors import CorpusError, RunError
from charrnn.evaluation import total_nats
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel


def model_of(vocabulary_size: int = 7) -> LanguageModel:
    config = ModelConfig(num_layers=2, hidden_size=6, embedding_size=5)
    return LanguageModel(config, vocabulary_size, torch.Generator().manual_seed(1)).double()


def unbroken(model: LanguageModel, ids: list[int]) -> float:
    """The whole in one forward pass."""
    symbols = torch.tensor(ids)[:, None]
    with torch.no_grad():
        logits, _ = model(symbols[:-1], model.start(1))
    return F.cross_entropy(logits.flatten(0, 1), symbols[1:].flatten(), reduction="sum").item()


texts = st.lists(st.integers(0, 6), min_size=2, max_size=60)


@settings(deadline=None)
@given(ids=texts, elements=st.integers(1, 2_000))
def test_carried_is_one_unbroken_pass(ids: list[int], elements: int) -> None:
    """However few steps a pass takes to bound its memory."""
    model = model_of()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "PASS_ELEMENTS", elements)
        assert total_nats(model, np.array(ids)) == pytest.approx(unbroken(model, ids), rel=1e-9)


@settings(deadline=None)
@given(ids=texts, context=st.integers(1, 70))
def test_a_fresh_state_forgets_what_was_before_its_block(ids: list[int], context: int) -> None:
    model = model_of()
    expected = sum(
        unbroken(model, ids[at : at + context + 1]) for at in range(0, len(ids) - 1, context)
    )
    assert total_nats(model, np.array(ids), context=context) == pytest.approx(expected, rel=1e-9)


def test_lanes_side_by_side_come_close_to_one_unbroken_pass() -> None:
    model = model_of()
    ids = np.random.default_rng(0).integers(7, size=10_007)
    whole = total_nats(model, ids)
    assert total_nats(model, ids, lanes=5) == pytest.approx(whole, rel=1e-6)
    counted: list[int] = []
    total_nats(model, ids, lanes=5, on_progress=counted.append)
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
