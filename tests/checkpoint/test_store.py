"""Runs found by name and path; which checkpoints are kept, and which are deleted."""

import json
from pathlib import Path

import pytest

import charrnn
from charrnn.checkpoint.lifecycle import new_run, retire
from charrnn.checkpoint.store import find_checkpoint
from charrnn.errors import RunError
from charrnn.model.config import ModelConfig
from charrnn.training.config import TrainingConfig
from tests.conftest import sealed


def step_of(path: Path) -> int:
    return int(path.parent.name.removeprefix("step-"))


def test_a_model_is_found_by_name_folder_checkpoint_and_file(
    trained: charrnn.TrainingResult,
) -> None:
    folder, directory = trained.folder, trained.folder.parent
    best = trained.end.best_step
    for run in ("river", str(folder), None):
        assert step_of(find_checkpoint(run, directory, None, "best")) == best
        assert step_of(find_checkpoint(run, directory, None, "latest")) == 60
        assert step_of(find_checkpoint(run, directory, "20", "best")) == 20
    for path in (folder / "step-00000020", folder / "step-00000020" / "model.safetensors"):
        assert step_of(find_checkpoint(str(path), directory, None, "best")) == 20


@pytest.mark.parametrize(
    ("model", "which", "message"),
    [
        ("lake", None, r"no run, checkpoint or model file 'lake'; runs in .*: river"),
        ("river", "21", r"no checkpoint '21'; choose latest, best, 20, 40, 60"),
        ("x" * 5000, None, "no run, checkpoint or model file"),
        ("a\0b", None, "no run, checkpoint or model file"),
        ("", None, "no run, checkpoint or model file"),
    ],
)
def test_an_unknown_model_or_checkpoint_is_named(
    trained: charrnn.TrainingResult, model: str, which: str | None, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        find_checkpoint(model, trained.folder.parent, which, "best")


def test_an_empty_folder_says_how_to_train_a_first_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run with a checkpoint in .*; start one: charrnn train"):
        find_checkpoint(None, tmp_path / "nowhere", None, "best")


def test_runs_are_named_after_their_corpus_and_numbered(tmp_path: Path) -> None:
    assert new_run(tmp_path, None, "war and peace").name == "war-and-peace"
    (tmp_path / "novel" / "step-00000001").mkdir(parents=True)
    (tmp_path / "novel-2" / "notes").mkdir(parents=True)
    assert new_run(tmp_path, None, "novel").name == "novel-3"
    assert new_run(tmp_path, None, "...").name == "run"
    assert new_run(tmp_path, None, "紅樓夢").name == "紅樓夢"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "/etc", "new\nline", "\x1b[31m"])
def test_run_names_that_cannot_name_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="`run="):
        new_run(tmp_path, name, "novel")


def test_an_existing_run_is_not_overwritten(trained: charrnn.TrainingResult) -> None:
    with pytest.raises(
        RunError, match=r"'river' is in .* already; continue it with: charrnn resume /.*river,"
    ):
        new_run(trained.folder.parent, "river", "river")


@pytest.mark.parametrize("keep", [1, 2])
def test_the_latest_and_the_best_are_kept(corpus: Path, tmp_path: Path, keep: int) -> None:
    charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=4),
        training=TrainingConfig(steps=30, eval_every=5, save_every=5, keep=9),
        checkpoint_dir=tmp_path,
    )
    (run,) = charrnn.list_runs(tmp_path)
    assert [c.step for c in run.checkpoints] == [0, 5, 10, 15, 20, 25, 30]
    manifest = run.checkpoint_folder(10) / "manifest.json"
    manifest.write_bytes(sealed(json.loads(manifest.read_text()) | {"val_loss": 0.1}))
    retire(run, keep)
    (run,) = charrnn.list_runs(tmp_path)
    assert [c.step for c in run.checkpoints] == [10, *[25, 30][-keep:]]
    assert run.best.step == 10


def test_a_run_keeps_only_as_many_checkpoints_as_asked_for(corpus: Path, tmp_path: Path) -> None:
    result = charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=4),
        training=TrainingConfig(steps=12, eval_every=4, save_every=1, keep=2),
        checkpoint_dir=tmp_path,
    )
    (run,) = charrnn.list_runs(tmp_path)
    assert [c.step for c in run.checkpoints][-2:] == [11, 12]
    assert len(run.checkpoints) <= 3
    assert run.best.step == result.end.best_step


def test_a_damaged_checkpoint_does_not_hide_the_others(corpus: Path, tmp_path: Path) -> None:
    charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=4),
        training=TrainingConfig(steps=4, save_every=2),
        checkpoint_dir=tmp_path,
    )
    (run,) = charrnn.list_runs(tmp_path)
    (run.checkpoint_folder(4) / "manifest.json").write_text("{")
    (run,) = charrnn.list_runs(tmp_path)
    assert [c.step for c in run.checkpoints] == [0, 2]
    findings = charrnn.verify(run.path)
    assert findings[run.checkpoint_folder(2)] is None
    assert "not a charrnn manifest" in str(findings[run.checkpoint_folder(4)])


def test_a_single_model_file_can_be_verified(
    trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained.folder / "step-00000020" / "model.safetensors").read_bytes())
    assert charrnn.verify(alone) == {alone: None}
    folder = trained.folder / "step-00000020"
    assert charrnn.verify(folder / "model.safetensors") == {folder: None}
    alone.write_bytes(alone.read_bytes()[:-1])
    assert "alone.safetensors" in str(charrnn.verify(alone)[alone])


def test_a_folder_without_a_checkpoint_is_not_a_run(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "log.jsonl").write_text("")
    with pytest.raises(
        RunError, match="run dead ended before its first checkpoint; train it again"
    ):
        charrnn.resume("dead", checkpoint_dir=tmp_path)
    settings = TrainingConfig(steps=1)
    charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=4),
        training=settings,
        run="dead",
        checkpoint_dir=tmp_path,
    )
    assert charrnn.load("dead", checkpoint_dir=tmp_path).step == 1
