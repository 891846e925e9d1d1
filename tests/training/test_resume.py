"""A resumed run continues exactly: the same weights and the same losses, bit for bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import charrnn
from charrnn.errors import RunError
from charrnn.model.cells import CELLS
from charrnn.model.config import ModelConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.hooks import TrainerState
from charrnn.training.progress import TrainerProgress
from tests.conftest import sealed
from tests.training.runs import assert_same_run, losses_of, stopping, weights_of

STEPS = 23
MODEL = ModelConfig(
    num_layers=2,
    hidden_size=12,
    embedding_size=6,
    dropout=0.4,
    input_dropout=0.2,
    weight_dropout=0.2,
)
# 1,700 characters to train on: 10 steps an epoch, so 23 steps cross its end twice.
TRAINING = TrainingConfig(
    steps=STEPS, batch_size=4, seq_length=40, eval_every=6, save_every=0, seed=7
)


def assert_resume_is_exact(
    corpus: Path,
    folder: Path,
    stops: list[int],
    model: ModelConfig,
    training: TrainingConfig,
    **more: Any,
) -> None:
    options: dict[str, Any] = {"model": model, "training": training, **more}
    straight = charrnn.train(corpus, checkpoint_dir=folder / "straight", **options)
    run = charrnn.train(corpus, checkpoint_dir=folder / "broken", **stopping(stops[0]), **options)
    assert run.end.reason == "interrupted"
    for stop in [*stops[1:], 10**9]:
        end = charrnn.resume(run.folder, **stopping(stop)).end
    assert end.reason == "steps"
    assert_same_run(straight.folder, run.folder)


def test_an_interrupted_evaluation_is_logged_in_its_place(corpus: Path, tmp_path: Path) -> None:
    """That is, before the sample of the same step."""
    training = replace(TRAINING, sample_every=6, save_every=6)
    assert_resume_is_exact(corpus, tmp_path, [6, 12], MODEL, training)


@pytest.mark.parametrize("stops", [[1], [6], [9], [10], [11], [22], [3, 10, 17], [0, 20], [12, 23]])
def test_resume_is_bitwise_identical(corpus: Path, tmp_path: Path, stops: list[int]) -> None:
    """Interrupted within an epoch, at its end, across it, at an evaluation, and repeatedly."""
    assert_resume_is_exact(corpus, tmp_path, stops, MODEL, TRAINING)


def test_resume_is_bitwise_identical_with_two_threads(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large enough that torch splits the work; the run keeps its number of threads."""
    monkeypatch.setattr("charrnn.runs.threads.processors", lambda: 2)  # on any machine
    model = ModelConfig(hidden_size=200, embedding_size=20)
    training = replace(TRAINING, batch_size=16, seq_length=25)
    options: dict[str, Any] = {"model": model, "training": training, "threads": 2}
    straight = charrnn.train(corpus, checkpoint_dir=tmp_path / "straight", **options)
    run = charrnn.train(corpus, checkpoint_dir=tmp_path / "broken", **stopping(9), **options)
    charrnn.resume(run.folder)
    (found,) = charrnn.list_runs(tmp_path / "broken")
    assert found.latest.manifest.environment["threads"] == 2
    assert_same_run(straight.folder, run.folder)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_resume_is_bitwise_identical_for_every_cell(
    corpus: Path, tmp_path: Path, cell: Any
) -> None:
    assert_resume_is_exact(corpus, tmp_path, [8], replace(MODEL, cell=cell), TRAINING)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "schedule": "linear"},
        {"optimizer": "rmsprop", "schedule": "constant", "l1": 1e-5},
        {"optimizer": "sgd", "schedule": "plateau", "eval_every": 2, "learning_rate": 5.0},
        {"steps": None, "epochs": 2.2},
        {"precision": "bfloat16"},
        {"precision": "float32", "state_reset": 0.5},
    ],
)
def test_resume_is_bitwise_identical_for_other_settings(
    corpus: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    training = replace(TRAINING, **settings)
    options: dict[str, Any] = {"model": MODEL, "training": training}
    straight = charrnn.train(corpus, checkpoint_dir=tmp_path / "straight", **options)
    run = charrnn.train(corpus, checkpoint_dir=tmp_path / "broken", **stopping(8), **options)
    charrnn.resume(run.folder)
    assert_same_run(straight.folder, run.folder)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("lines", [False, True])
def test_resume_is_bitwise_identical_with_attention(
    corpus: Path, tmp_path: Path, cell: Any, lines: bool
) -> None:
    """Within an epoch and between documents: the memory is part of the saved state."""
    model = replace(MODEL, cell=cell, attention=60)
    options: dict[str, Any] = {"corpus_config": {"lines": lines}}
    assert_resume_is_exact(corpus, tmp_path, [8], model, TRAINING, **options)


def test_a_small_model_with_a_large_memory_is_resumed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state may be much larger than its weights, which limit what a checkpoint may hold."""
    monkeypatch.setattr("charrnn.checkpoint.format.MAX_STATE", 0)
    run = charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=16, embedding_size=4, attention=512),
        training=replace(TRAINING, steps=2, batch_size=16),
        checkpoint_dir=tmp_path,
        **stopping(1),
    )
    assert charrnn.resume(run.folder).end.step == 2


def test_resume_is_bitwise_identical_with_a_tied_embedding(corpus: Path, tmp_path: Path) -> None:
    tied = replace(MODEL, embedding_size=12, tie_embeddings=True)
    assert_resume_is_exact(corpus, tmp_path, [8], tied, TRAINING)


def test_every_part_of_the_saved_state_matters(corpus: Path, tmp_path: Path) -> None:
    """The tests above can fail: without any one part of the state, the losses differ."""
    options: dict[str, Any] = {"model": replace(MODEL, attention=60), "training": TRAINING}
    straight = charrnn.train(corpus, checkpoint_dir=tmp_path / "straight", **options)
    expected = losses_of(straight.folder)
    run = charrnn.train(corpus, checkpoint_dir=tmp_path / "x", **stopping(8), **options)
    saved = TrainerState.__init__
    parts = (
        *("state/h", "state/c", "state/memory", "state/filled"),
        *("dropout_rng", "optimizer/output.bias/exp_avg", "lanes"),
    )

    for part in parts:
        folder = tmp_path / part.replace("/", "-")
        shutil.copytree(run.folder, folder)

        def forget(
            self: Any,
            arrays: Any,
            progress: TrainerProgress,
            same: bool = True,
            *,
            part: str = part,
        ) -> None:
            if part == "lanes":
                assert progress.lanes is not None
                lanes = replace(progress.lanes, chunk=progress.lanes.chunk - 1)
                progress = replace(progress, lanes=lanes)
            elif part == "dropout_rng":
                arrays = arrays | {part: np.asarray(torch.Generator().get_state())}
            else:
                arrays = arrays | {part: np.zeros_like(arrays[part])}
            saved(self, arrays, progress, same)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainerState, "__init__", forget)
            charrnn.resume(folder)
        assert losses_of(folder) != expected, part


def test_resuming_a_finished_run_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    """Whichever checkpoint is named: none is deleted before training can really continue."""
    training = replace(TRAINING, steps=5, save_every=5, keep=9)
    run = charrnn.train(corpus, model=MODEL, training=training, checkpoint_dir=tmp_path)
    charrnn.resume(run.folder, steps=15)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    for checkpoint in ("5", None):
        with pytest.raises(RunError, match="is finished"):
            charrnn.resume(run.folder, checkpoint=checkpoint)
    after = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert before == after


def test_a_run_out_of_patience_says_which_setting_helps(tmp_path: Path, corpus: Path) -> None:
    training = replace(TRAINING, eval_every=1, patience=1, schedule="constant", learning_rate=1.0)
    run = charrnn.train(corpus, model=MODEL, training=training, checkpoint_dir=tmp_path)
    assert run.end.reason == "patience"
    with pytest.raises(RunError, match=r"is finished \(patience\) .*raise `patience` to continue"):
        charrnn.resume(run.folder)
    assert charrnn.resume(run.folder, patience=100).end.step > run.end.step


def test_a_checkpoint_outside_its_run_is_not_resumed(
    trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    copy = tmp_path / "mine"
    shutil.copytree(trained.folder / "step-00000020", copy)
    with pytest.raises(RunError, match=r"outside of its run; .*`init_from="):
        charrnn.resume(copy, steps=100)
    alone = tmp_path / "alone.safetensors"
    shutil.copy(copy / "model.safetensors", alone)
    with pytest.raises(RunError, match=r"a model outside of its run; .*`init_from="):
        charrnn.resume(alone, steps=100)
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "alone.safetensors"}


def test_a_damaged_log_line_does_not_lose_others(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path, **stopping(6)
    )
    log = run.folder / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:3], b"\0\0\n", *lines[3:]]))
    assert charrnn.resume(run.folder).end.step == STEPS
    logged = log.read_bytes().splitlines()
    logged.remove(b"\0\0")
    steps = [e["step"] for e in map(json.loads, logged) if e["event"] == "step"]
    assert steps == list(range(1, STEPS + 1))


def test_a_log_ahead_of_its_checkpoint_is_cut_back(corpus: Path, tmp_path: Path) -> None:
    """After a power cut, steps without a checkpoint are repeated, and logged once."""
    training = replace(TRAINING, save_every=5)
    options: dict[str, Any] = {"model": MODEL, "training": training}
    straight = charrnn.train(corpus, checkpoint_dir=tmp_path / "straight", **options)

    class PowerCutError(Exception):
        pass

    def cut(event: charrnn.events.Event) -> None:
        if event.kind == "step" and event.step == 13:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        charrnn.train(corpus, checkpoint_dir=tmp_path / "broken", observers=[cut], **options)
    run = tmp_path / "broken" / "river"
    with (run / "log.jsonl").open("a") as log:
        log.write('{"event": "step", "st')  # a line that was being written
    charrnn.resume(run)
    assert_same_run(straight.folder, run)


def test_a_finished_run_continues_with_a_raised_limit(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path)
    assert charrnn.resume(run.folder, steps=STEPS + 5).end.step == STEPS + 5
    end = charrnn.resume(run.folder, epochs=4).end
    assert end.reason == "epochs"
    with pytest.raises(RunError, match=r"is finished \(epochs\).*`steps`, `epochs` or `minutes`"):
        charrnn.resume(run.folder)


def test_a_finished_run_says_how_far_it_has_come(corpus: Path, tmp_path: Path) -> None:
    """Its limits count from its beginning, so that `minutes=2` is not two minutes more."""
    run = charrnn.train(corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path)
    with pytest.raises(
        RunError,
        match=r"finished \(minutes\) after \d+ steps, \d+\.\d epochs, 0:0\d in all; to continue",
    ):
        charrnn.resume(run.folder, minutes=1e-6)


def test_training_can_continue_from_an_earlier_checkpoint(corpus: Path, tmp_path: Path) -> None:
    """The later ones are replaced, by the same weights as before."""
    training = replace(TRAINING, save_every=5, keep=9)
    run = charrnn.train(corpus, model=MODEL, training=training, checkpoint_dir=tmp_path)
    before = weights_of(run.folder)
    notices: list[str] = []
    charrnn.resume(
        run.folder,
        checkpoint="10",
        observers=[lambda e: notices.append(e.message) if e.kind == "warning" else None],
    )
    assert "deleted the checkpoints after this one, of steps 12, 15, 18, 20, 23" in notices
    after = weights_of(run.folder)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_changed_or_missing_corpus_is_not_trained_on(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path, **stopping(3)
    )
    text = corpus.read_text()
    corpus.write_text(text.replace("river", "RIVER"))
    with pytest.raises(RunError, match=r"is not the one the run learned .*`init_from=RUN`"):
        charrnn.resume(run.folder)
    corpus.unlink()
    charrnn.clear_cache()
    with pytest.raises(RunError, match=r"(?s)river cannot be read: .* is gone.*`corpus=PATH`"):
        charrnn.resume(run.folder)
    moved = tmp_path / "moved.txt"
    moved.write_text(text)
    assert charrnn.resume(run.folder, corpus=moved).end.reason == "steps"


def test_a_moved_run_can_be_resumed(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(3)
    )
    moved = tmp_path / "b c" / "дом"
    moved.parent.mkdir()
    run.folder.rename(moved)
    assert charrnn.resume(moved).end.step == STEPS
    assert charrnn.load("дом", checkpoint_dir=moved.parent).step == STEPS


def test_a_run_can_start_from_one_with_fewer_characters(
    trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Zürich has a river, too; it knows its name.\n" * 20)
    notices: list[str] = []
    result = charrnn.train(
        other,
        init_from=str(trained.folder),
        training=replace(TRAINING, steps=2),
        checkpoint_dir=tmp_path,
        observers=[lambda e: notices.append(e.message) if e.kind == "warning" else None],
    )
    old, new = charrnn.load(trained.folder), charrnn.load(result.folder)
    count = len(old.vocabulary)
    assert new.vocabulary.symbols[:count] == old.vocabulary.symbols
    assert new.vocabulary.symbols[count:] == (";", "Z", "c", "ü")
    assert "4 characters are new to it and start untrained: ; Z c ü" in notices[0]
    assert new.config == old.config


def test_another_architecture_cannot_start_from_a_run(
    trained: charrnn.TrainingResult, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(charrnn.SettingsError, match=r"`hidden_size=25`: .* has 24"):
        charrnn.train(
            corpus,
            init_from=str(trained.folder),
            model=ModelConfig(hidden_size=25, embedding_size=8),
            checkpoint_dir=tmp_path,
        )


def test_resume_warns_of_another_precision(corpus: Path, tmp_path: Path) -> None:
    """As on a machine whose processor is fast in another one."""
    training = replace(TRAINING, precision="float32")
    run = charrnn.train(
        corpus, model=MODEL, training=training, checkpoint_dir=tmp_path, **stopping(8)
    )
    for manifest in run.folder.glob("*/manifest.json"):
        content = json.loads(manifest.read_text())
        content["training"]["precision"] = "bfloat16"
        manifest.write_bytes(sealed(content))
    warnings: list[str] = []
    charrnn.resume(
        run.folder,
        observers=[lambda e: warnings.append(e.message) if e.kind == "warning" else None],
    )
    assert any("precision bfloat16 instead of float32" in message for message in warnings)
