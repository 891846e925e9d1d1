"""Checkpoints of earlier versions: a model loads for ever, a run resumes if it can.

format-3 holds two runs that charrnn wrote before its first release, what they sampled, and the
losses to which that version trained them on.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint import migrations
from charrnn.checkpoint.format import read_checkpoint
from charrnn.checkpoint.migrations import MODEL_FORMAT, TRAINER_FORMAT
from charrnn.errors import CheckpointError
from tests.conftest import sealed

FORMAT_3 = Path(__file__).parent / "format-3"
EXPECTED = json.loads((FORMAT_3 / "expected.json").read_text())
STEP = "step-00000030"

Runs = Callable[[str], Path]


@pytest.fixture
def copied(tmp_path: Path) -> Runs:
    """Copy a run to a folder of its own, since reading and resuming may write there."""

    def copy(cell: str) -> Path:
        shutil.copytree(FORMAT_3 / cell, tmp_path / cell)
        return tmp_path / cell

    return copy


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_model_of_format_3_samples_the_same_text(cell: str, copied: Runs) -> None:
    model = charrnn.load(copied(cell))
    text = model.sample("The ", charrnn.SamplingConfig(length=80, seed=7))
    assert "".join(text) == EXPECTED[cell]["sample"]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_run_of_format_3_resumes(cell: str, copied: Runs) -> None:
    """It continues to the losses that the version that wrote it reached."""
    result = charrnn.resume(
        copied(cell), steps=40, corpus=FORMAT_3 / "river.txt", device="cpu", threads=1
    )
    assert result.end.step == 40
    assert result.end.train_loss == pytest.approx(EXPECTED[cell]["resumed_train_loss"], rel=1e-4)
    assert result.end.best_loss == pytest.approx(EXPECTED[cell]["resumed_best_loss"], rel=1e-4)
    assert read_checkpoint(result.folder / "step-00000040").manifest.format == TRAINER_FORMAT


def with_manifest(run: Path, **values: Any) -> None:
    path = run / STEP / "manifest.json"
    path.write_bytes(sealed(json.loads(path.read_text()) | values))


def test_a_trainer_that_is_too_old_names_its_version(copied: Runs) -> None:
    """The model of the same checkpoint is still there to sample from."""
    run = copied("lstm")
    environment = json.loads((run / STEP / "manifest.json").read_text())["environment"]
    with_manifest(run, format=2, environment=environment | {"charrnn": "0.0.7"})
    with pytest.raises(CheckpointError, match=r"written by charrnn 0\.0\.7, is too old"):
        charrnn.resume(run)
    text = charrnn.load(run).sample("The ", charrnn.SamplingConfig(length=80, seed=7))
    assert "".join(text) == EXPECTED["lstm"]["sample"]
    assert [found.name for found in charrnn.list_runs(run.parent)] == ["lstm"]


def test_a_newer_trainer_leaves_the_model_readable(copied: Runs) -> None:
    run = copied("gru")
    with_manifest(run, format=TRAINER_FORMAT + 1, trainer={"step": 30, "invented": True})
    with pytest.raises(CheckpointError, match=r"format 5 is newer than this charrnn.*upgrade"):
        charrnn.resume(run)
    file = run / STEP / "model.safetensors"
    text = charrnn.load(file).sample("The ", charrnn.SamplingConfig(length=80, seed=7))
    assert "".join(text) == EXPECTED["gru"]["sample"]


def test_a_newer_run_is_named_as_such(copied: Runs) -> None:
    """Not as a run without checkpoints, which one would train again."""
    run = copied("gru")
    with_manifest(run, format=TRAINER_FORMAT + 1)
    with pytest.raises(CheckpointError, match="newer than this charrnn"):
        charrnn.load(run)
    notices: list[str] = []
    assert charrnn.list_runs(run.parent, notice=notices.append) == []
    assert "skipped run gru: " in notices[0]
    assert "newer than this charrnn" in notices[0]


def test_every_older_header_is_migrated_step_by_step(
    copied: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From each version to the next, up to the current one."""
    file = copied("gru") / STEP / "model.safetensors"
    seen: list[int] = []

    def migration(version: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def migrate(header: dict[str, Any]) -> dict[str, Any]:
            seen.append(version)
            return header

        return migrate

    from charrnn.checkpoint import model_file

    later = {version: migration(version) for version in (MODEL_FORMAT, MODEL_FORMAT + 1)}
    monkeypatch.setattr(model_file, "MODEL_FORMAT", MODEL_FORMAT + 2)
    monkeypatch.setattr(model_file, "MODEL_MIGRATIONS", later)
    assert charrnn.load(file).step == 30
    assert seen == [MODEL_FORMAT, MODEL_FORMAT + 1]


def test_a_newer_model_file_says_to_upgrade(copied: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.checkpoint import model_file

    file = copied("gru") / STEP / "model.safetensors"
    monkeypatch.setattr(model_file, "MODEL_FORMAT", MODEL_FORMAT - 1)
    with pytest.raises(CheckpointError, match="format 3 is newer than this charrnn"):
        charrnn.load(file)


def test_there_is_a_migration_from_every_released_format() -> None:
    """To the current one: raising a version without a migration breaks this."""
    assert sorted(migrations.MODEL_MIGRATIONS) == list(range(3, MODEL_FORMAT))
    assert sorted(migrations.TRAINER_MIGRATIONS) == list(range(3, TRAINER_FORMAT))
