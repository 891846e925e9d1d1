"""Dynamic evaluation of trained runs, from Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.errors import RunError, SettingsError
from tests.conftest import TEXT

STILL = charrnn.DynamicConfig(dynamic_lr=0, dynamic_decay=0)


def small_run(text: Path, corpus: charrnn.CorpusConfig | None = None, **model: Any) -> Path:
    return charrnn.train(
        text,
        corpus_config=corpus,
        model=charrnn.ModelConfig(**{"hidden_size": 8, "embedding_size": 4} | model),
        training=charrnn.TrainingConfig(steps=5, eval_every=0, batch_size=2, seq_length=16),
        checkpoint_dir=text.parent / "checkpoints",
        cache_dir=text.parent / "cache",
    ).folder


def test_dynamic_evaluation_learns_an_unseen_pattern(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    text = "ehT sen: ots\n" * 60
    plain = model.evaluate(text)
    learning = model.evaluate(text, dynamic=charrnn.DynamicConfig(dynamic_lr=0.005))
    assert learning.characters == plain.characters
    assert learning.nats_per_char < 0.8 * plain.nats_per_char


def test_dynamic_evaluation_leaves_the_model_unchanged(trained: charrnn.TrainingResult) -> None:
    """Its weights, its later scores and its samples, bit for bit."""
    model, untouched = charrnn.load(trained.folder), charrnn.load(trained.folder)
    text, other = TEXT[:300], TEXT[40:90] * 9
    first = model.evaluate(text, dynamic=charrnn.DynamicConfig())
    model.evaluate(other, dynamic=charrnn.DynamicConfig(dynamic_lr=0.1))
    assert model.evaluate(text, dynamic=charrnn.DynamicConfig()) == first
    assert model.evaluate(text) == untouched.evaluate(text)
    assert model._weights.keys() == untouched._weights.keys()
    for name, weight in model._weights.items():
        assert np.array_equal(weight, untouched._weights[name])
    config = charrnn.SamplingConfig(length=50, seed=1)
    assert "".join(model.sample("The", config)) == "".join(untouched.sample("The", config))


def test_gradients_are_gathered_once_for_each_length(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    gathered, scored = list[tuple[int, int]](), list[tuple[int, int]]()

    def evaluate(length: int) -> None:
        gathered.clear()
        scored.clear()
        model.evaluate(
            TEXT[:50],
            dynamic=charrnn.DynamicConfig(dynamic_length=length),
            on_gradients=lambda *numbers: gathered.append(numbers),
            on_progress=lambda *numbers: scored.append(numbers),
        )
        assert scored[-1] == (49, 49)

    evaluate(20)
    assert gathered[-1][0] == gathered[-1][1] > 0
    evaluate(20)
    assert not gathered
    evaluate(10)
    assert gathered


@pytest.mark.parametrize(
    ("corpus", "model"),
    [
        ({"unit": "byte"}, {}),
        ({"lines": True}, {"cell": "gru", "num_layers": 2}),
        ({"lines": True, "unit": "byte"}, {"embedding_size": 8, "tie_embeddings": True}),
        ({}, {"cell": "layernorm-lstm", "embedding_size": 0}),
        ({}, {"cell": "peephole-lstm"}),
        ({}, {"cell": "rnn"}),
        ({}, {"attention": 30}),
        ({"lines": True}, {"attention": 30, "cell": "gru"}),
    ],
)
def test_without_learning_it_is_plain_evaluation(
    corpus: dict[str, Any], model: dict[str, Any], tmp_path: Path
) -> None:
    """For any unit, documents and architecture."""
    path = tmp_path / "t.txt"
    path.write_text(TEXT.replace("river", "rivière") * 2, encoding="utf-8")
    loaded = charrnn.load(small_run(path, charrnn.CorpusConfig(**corpus), **model))
    for text in ("The rivière\nIt asks\nthe", None):
        plain, still = loaded.evaluate(text), loaded.evaluate(text, dynamic=STILL)
        assert still.characters == plain.characters
        assert still.nats_per_char == pytest.approx(plain.nats_per_char, rel=1e-5)
        assert loaded.evaluate(text, dynamic=charrnn.DynamicConfig()) != still


def test_a_text_shorter_than_a_chunk_is_scored_unchanged(trained: charrnn.TrainingResult) -> None:
    learning = charrnn.DynamicConfig(dynamic_lr=0.1, dynamic_length=100)
    scored = charrnn.evaluate(trained.folder, "The stones", dynamic=learning)
    plain = charrnn.evaluate(trained.folder, "The stones")
    assert scored.nats_per_char == pytest.approx(plain.nats_per_char, rel=1e-5)


def test_dynamic_evaluation_needs_the_training_text(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text(TEXT, encoding="utf-8")
    folder = small_run(path)
    path.unlink()
    elsewhere = tmp_path / "an empty cache"
    with pytest.raises(
        RunError, match=r"`dynamic` needs the text that .* cannot be read: .* is gone\n"
    ):
        charrnn.load(folder).evaluate("The", dynamic=STILL, cache_dir=elsewhere)
    cached = charrnn.load(folder).evaluate("The", dynamic=STILL, cache_dir=tmp_path / "cache")
    assert cached.characters == 2
    path.write_text("Another text. " * 90, encoding="utf-8")
    with pytest.raises(RunError, match=r"`dynamic` needs .* is not the one the run learned"):
        charrnn.load(folder).evaluate("The", dynamic=STILL, cache_dir=elsewhere)


def test_dynamic_evaluation_needs_the_run_of_a_model(
    trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained.folder / "step-00000060" / "model.safetensors").read_bytes())
    with pytest.raises(RunError, match=r"`dynamic` needs .* is a model without its run"):
        charrnn.load(alone).evaluate("The river", dynamic=STILL)


def test_dynamic_and_context_exclude_each_other(
    trained: charrnn.TrainingResult,
) -> None:
    with pytest.raises(SettingsError, match="`dynamic` and `context`: choose one"):
        charrnn.evaluate(trained.folder, "The river", dynamic=STILL, context=3)
