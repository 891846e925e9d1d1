"""Runs side by side, from Python."""

import json
import shutil
from pathlib import Path

import pytest

import charrnn
from tests.conftest import TEXT


def train(text: Path, folder: Path, run: str, reading: charrnn.CorpusConfig | None = None) -> None:
    """Train a model for four steps."""
    charrnn.train(
        text,
        run=run,
        corpus_config=reading,
        model=charrnn.ModelConfig(cell="gru", hidden_size=8, embedding_size=4, dropout=0.0),
        training=charrnn.TrainingConfig(steps=4, eval_every=2, batch_size=4, seq_length=16),
        checkpoint_dir=folder,
    )


@pytest.fixture
def folder(trained: charrnn.TrainingResult, tmp_path: Path) -> Path:
    """A checkpoint folder with a copy of the trained run, and a newer one on the same text."""
    where = tmp_path / "checkpoints"
    shutil.copytree(trained.folder, where / "river")
    text = trained.folder.parents[1] / "river.txt"
    train(text, where, "small")
    return where


def test_compare_gives_cost_and_scores_of_each_run(folder: Path) -> None:
    shown: list[tuple[str, int, int]] = []
    small, river = charrnn.compare(
        checkpoint_dir=folder,
        evaluate=True,
        context=32,
        on_progress=lambda *done: shown.append(done),
    )
    assert (small.name, river.name) == ("small", "river")
    assert (small.problem, river.problem) == (None, None)
    model = charrnn.load("river", checkpoint_dir=folder)
    assert river.carried == model.evaluate()
    assert river.fresh == model.evaluate(context=32)
    assert river.model == model.config
    assert river.parameters == model.parameters
    assert model.manifest is not None
    assert river.val_loss == model.manifest.val_loss
    assert (river.steps, river.symbols, river.best_step) == (60, 60 * 4 * 16, model.step)
    assert river.seconds == model.manifest.trainer["seconds"]
    assert [point.step for point in small.curve.validation] == [2, 4]
    labels = dict.fromkeys(label for label, _, _ in shown)
    assert list(labels) == ["small, carried", "small, fresh", "river, carried", "river, fresh"]
    assert shown[-1][1] == shown[-1][2]


def test_runs_come_in_the_order_asked_for_and_once(folder: Path) -> None:
    rows = charrnn.compare(["river", folder / "small", "river"], checkpoint_dir=folder)
    assert [row.name for row in rows] == ["river", "small"]


def test_compare_scores_nothing_unless_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a model is read, so the answer is there at once."""
    monkeypatch.setattr("charrnn.runs.compare.load", lambda *_, **__: pytest.fail("was read"))
    for row in charrnn.compare(checkpoint_dir=folder):
        assert (row.carried, row.fresh, row.problem) == (None, None, None)
        assert row.val_loss == row.run.best.manifest.val_loss
        assert row.parameters is not None


def test_the_loss_on_most_of_the_validation_part_counts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That at the end of a run; a run that has not ended was evaluated on less, which is told."""
    monkeypatch.setattr("charrnn.training.config.SHORTEST_EVALUATION", 20)
    text = tmp_path / "own.txt"
    text.write_text(TEXT)
    train(text, folder, "ended")
    shutil.copytree(folder / "ended", folder / "going")
    log = folder / "going" / "log.jsonl"
    *events, end = log.read_text().splitlines(keepends=True)
    log.write_text("".join(events))
    notices: list[str] = []
    ended, going = charrnn.compare(["ended", "going"], checkpoint_dir=folder, notice=notices.append)
    last = json.loads(end)
    assert last["full_loss"] not in (None, last["best_loss"])
    assert (ended.val_loss, ended.val_symbols) == (last["full_loss"], last["full_symbols"])
    assert (going.val_loss, going.val_symbols) == (last["best_loss"], 20)
    (notice,) = notices
    assert notice.startswith(f"these losses were logged on 20 to {last['full_symbols']} characters")
    charrnn.compare(["ended", "river"], checkpoint_dir=folder, notice=notices.append)
    log.write_text("".join([*events, end, *events]))  # the run went back to its beginning
    (back,) = charrnn.compare(["going"], checkpoint_dir=folder)
    assert back.val_loss == last["best_loss"]
    assert len(notices) == 1


def test_compare_refuses_what_is_not_a_run(folder: Path) -> None:
    with pytest.raises(charrnn.CharrnnError, match="no run, checkpoint or model file 'nobody'"):
        charrnn.compare(["river", "nobody"], checkpoint_dir=folder)
    with pytest.raises(charrnn.CharrnnError, match=r"is a single checkpoint .*; name its run"):
        charrnn.compare([folder / "river" / "step-00000060"], checkpoint_dir=folder)
    with pytest.raises(charrnn.CharrnnError, match="`device=cuda:9`: not available"):
        charrnn.compare(["river"], checkpoint_dir=folder, evaluate=True, device="cuda:9")
    assert charrnn.compare(checkpoint_dir=folder / "none") == []


def test_a_run_that_cannot_be_scored_keeps_its_row(folder: Path, tmp_path: Path) -> None:
    """Its corpus is missing or changed, or its weights, manifests or log are damaged."""
    text = tmp_path / "own.txt"
    text.write_text(TEXT)
    train(text, folder, "gone")
    train(text, folder, "whole", charrnn.CorpusConfig(val_fraction=0.0))
    for name in ("weights", "manifests", "log"):
        shutil.copytree(folder / "small", folder / name)
    for checkpoint in (folder / "weights").glob("step-*"):
        (checkpoint / "model.safetensors").write_bytes(b"damaged")
    for checkpoint in (folder / "manifests").glob("step-*"):
        (checkpoint / "manifest.json").write_bytes(b"\xff")
    (folder / "log" / "log.jsonl").unlink()
    notices: list[str] = []
    names = ("whole", "weights", "manifests", "log")
    rows = charrnn.compare(names, checkpoint_dir=folder, evaluate=True, notice=notices.append)
    whole, weights, manifests, log = rows
    assert whole.problem == "it has no validation part to score it on"
    assert (whole.parameters, whole.carried) == (log.parameters, None)
    assert weights.problem is not None
    assert "damaged (7 bytes" in weights.problem
    assert (weights.parameters, weights.symbols) == (log.parameters, 4 * 4 * 16)
    assert manifests.problem == "no checkpoint of it can be read; charrnn info `verify` says why"
    assert manifests.model is None
    assert manifests.curve == weights.curve
    assert log.problem == "its log cannot be read (No such file or directory)"
    assert log.symbols is None
    assert log.carried is not None
    assert [notice.partition(":")[0] for notice in notices[:4]] == list(names)

    text.unlink()
    notices.clear()
    (gone,) = charrnn.compare(
        ["gone"],
        checkpoint_dir=folder,
        evaluate=True,
        cache_dir=tmp_path / "cache",
        notice=notices.append,
    )
    assert (gone.carried, gone.fresh) == (None, None)
    assert gone.val_loss is not None
    assert gone.problem is not None
    assert "own cannot be read" in gone.problem
    assert notices == [f"gone: {gone.problem}"]
    assert "\n" not in gone.problem


def test_compare_warns_of_different_texts(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "other.txt"
    text.write_text(TEXT[::-1])
    train(text, folder, "other")
    train(text, folder, "half", charrnn.CorpusConfig(val_fraction=0.5, unit="byte"))
    notices: list[str] = []

    def compared(*names: str) -> list[charrnn.Comparison]:
        notices.clear()
        return charrnn.compare(names, checkpoint_dir=folder, notice=notices.append)

    compared("river", "small")
    assert notices == []
    compared("river", "other")
    assert "different corpora (river: river, other: other)" in notices[0]
    compared("other", "half")
    assert "different parts" in notices[0]
    documents = tmp_path / "documents"
    documents.mkdir()
    for i in range(20):
        (documents / f"{i}.txt").write_text(TEXT[i:])
    train(documents, folder, "end")
    train(documents, folder, "drawn", charrnn.CorpusConfig(split_documents=True))
    compared("end", "drawn")
    assert "different parts" in notices[0]


def test_a_notice_of_many_texts_stays_short(folder: Path, tmp_path: Path) -> None:
    """It names the first few, however many runs there are on each."""
    for i in range(4):
        text = tmp_path / f"t{i}.txt"
        text.write_text(TEXT[i:])
        train(text, folder, f"run{i}")
    notices: list[str] = []
    names = ["river", "small", "run0", "run1", "run2", "run3"]
    charrnn.compare(names, checkpoint_dir=folder, notice=notices.append)
    assert "corpora (river: river, run1: t1, run2: t2, ...); each" in notices[0]


def test_byte_models_are_scored_per_character(tmp_path: Path) -> None:
    text = tmp_path / "accents.txt"
    text.write_text("élève à côté, où l'été fût gâté\n" * 60)
    train(text, tmp_path, "bytes", charrnn.CorpusConfig(unit="byte"))
    (row,) = charrnn.compare(checkpoint_dir=tmp_path, evaluate=True)
    assert row.carried is not None
    assert row.val_loss is not None
    assert row.carried.nats_per_char > 1.1 * row.val_loss
    assert row.corpus_config is not None
    assert row.corpus_config.unit == "byte"
