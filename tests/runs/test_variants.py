"""Several runs that differ in some settings: their names, and what is checked before the first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.errors import CorpusError, DeviceError, RunError
from charrnn.runs.variants import MOST
from tests.training.runs import assert_same_run

MODEL = {"hidden_size": 8, "embedding_size": 4, "dropout": 0.2, "input_dropout": 0.0}
TRAINING = {"steps": 4, "batch_size": 4, "seq_length": 16, "eval_every": 2, "sample_every": 0}


def variants(corpus: Path, *, model: Any = (), training: Any = (), **options: Any) -> list[str]:
    """The names of the runs, in a folder that stays empty."""
    made = charrnn.variants(
        corpus,
        model=MODEL | dict(model),
        training=TRAINING | dict(training),
        checkpoint_dir=corpus.parent / "checkpoints",
        **options,
    )
    return [variant.name for variant in made]


def test_each_combination_is_a_run_named_after_its_values(corpus: Path) -> None:
    """Words stand alone, numbers follow their setting; the first list changes slowest."""
    names = variants(
        corpus, model={"cell": ["rnn", "gru"]}, training={"learning_rate": (1, 1e-5), "seed": [3]}
    )
    assert names == [
        "river-rnn-learning-rate-1", "river-rnn-learning-rate-1e-05",
        "river-gru-learning-rate-1", "river-gru-learning-rate-1e-05",
    ]  # fmt: skip
    assert variants(corpus, training={"seed": [1, 2]}, run="mine") == [
        "mine-seed-1", "mine-seed-2",
    ]  # fmt: skip


def test_a_variant_is_the_run_that_train_would_make(corpus: Path, tmp_path: Path) -> None:
    """Bit for bit, whichever runs were trained before it; the seeds are equal."""
    settings: dict[str, Any] = {"corpus": corpus, "checkpoint_dir": tmp_path / "checkpoints"}
    several = charrnn.variants(
        model=MODEL | {"cell": ["rnn", "gru"]}, training=TRAINING, **settings
    )
    results = [variant.train() for variant in several]
    assert [result.run for result in results] == ["river-rnn", "river-gru"]
    alone = charrnn.train(model=MODEL | {"cell": "gru"}, training=TRAINING, **settings)
    assert_same_run(results[1].folder, alone.folder)


def test_variants_start_from_the_weights_of_a_model(
    trained: charrnn.TrainingResult, corpus: Path, tmp_path: Path
) -> None:
    """Only what may change about that model may have several values."""
    options: dict[str, Any] = {"init_from": trained.folder, "checkpoint_dir": tmp_path}
    made = charrnn.variants(
        corpus, model={"dropout": [0.1, 0.3]}, training={**TRAINING, "steps": 1}, **options
    )
    end = made[1].train().folder
    assert charrnn.load(end).config == replace(charrnn.load(trained.folder).config, dropout=0.3)
    with pytest.raises(charrnn.SettingsError, match=r"`cell=gru`: .*cannot change"):
        charrnn.variants(corpus, model={"cell": ["lstm", "gru"]}, **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": {"cell": ["gru", "transformer"]}}, "`cell=transformer`: must be one of"),
        ({"model": {"cell": ["rnn", "gru"], "nonlinearity": "relu"}}, "is for `cell=rnn`, not gru"),
        ({"training": {"learning_rate": [0.1, 0]}}, "`learning_rate=0`: must be above 0"),
        ({"training": {"seed": [[1], [1]]}}, "`seed=.1.`: must be a whole number"),
        ({"training": {"warmup": [1, 2, 1]}}, "`warmup=1` is given twice"),
        ({"training": {"steps": []}}, "`steps` is an empty list"),
        ({"model": {"tie_embeddings": [True, False]}}, "`tie_embeddings` cannot have several"),
        ({"training": {"colour": [1, 2]}}, "`colour` is not a setting"),
        ({"training": {"seed": range(2)}}, "must be a whole number"),
        ({"training": {"minutes": [1, 2]}, "preset": "fast"}, "`preset` and `minutes` both say"),
        ({"corpus_config": {"lowercase": [True, False]}}, "must be true or false"),
    ],
)
def test_a_mistake_in_any_run_is_found_before_the_first(
    corpus: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(charrnn.SettingsError, match=message):
        variants(corpus, **given)
    assert not (corpus.parent / "checkpoints").exists()


def test_too_many_runs_are_refused_with_their_number(corpus: Path) -> None:
    seeds = list(range(MOST))
    assert len(variants(corpus, training={"seed": seeds})) == MOST
    with pytest.raises(charrnn.SettingsError, match=r"`cell` x `seed`: 100 runs are too many"):
        variants(corpus, model={"cell": ["rnn", "gru"]}, training={"seed": seeds})
    huge = dict.fromkeys(("seed", "steps", "warmup", "keep"), [1] * 10**5)
    with pytest.raises(charrnn.SettingsError, match=r"100,000,000,000,000,000,000 runs are too"):
        variants(corpus, training=huge)


def test_a_name_that_is_taken_is_reported_before_the_first_run(corpus: Path) -> None:
    """Without a name, the runs get one that is free for all of them."""
    (corpus.parent / "checkpoints" / "river-seed-2" / "mine").mkdir(parents=True)
    with pytest.raises(RunError, match=r"run 'river-seed-2' is in .*choose another `run`"):
        variants(corpus.parent / "nowhere.txt", training={"seed": [1, 2]}, run="river")
    assert variants(corpus, training={"seed": [1, 2]}) == ["river-2-seed-1", "river-2-seed-2"]
    with pytest.raises(RunError, match="not a name for a folder"):
        variants(corpus, training={"seed": [1, 2]}, run="a/b")


def test_a_bad_corpus_is_reported_before_the_first_run(corpus: Path) -> None:
    seeds = {"seed": [1, 2]}
    with pytest.raises(DeviceError, match="tpu"):
        variants(corpus, training=seeds, device="tpu")
    corpus.write_text("tiny")
    with pytest.raises(CorpusError, match="at least 10 are needed"):
        variants(corpus, training=seeds)


def test_settings_may_also_be_objects(corpus: Path, tmp_path: Path) -> None:
    """An object has no lists and leaves nothing to choose."""
    made = charrnn.variants(
        corpus,
        model=charrnn.ModelConfig(hidden_size=8),
        training={"steps": [1, 2]},
        checkpoint_dir=tmp_path,
    )
    folder = made[0].train().folder
    start = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    assert (start["model"]["hidden_size"], start["training"]["steps"]) == (8, 1)
