"""Runs are renamed and removed, from Python."""

import errno
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.lifecycle import claimed
from charrnn.errors import RunError
from tests.training.runs import assert_same_run, stopping

MODEL = charrnn.ModelConfig(hidden_size=8, embedding_size=4)
TRAINING = charrnn.TrainingConfig(steps=8, eval_every=4, batch_size=4, seq_length=16)
BUSY = "run river is being trained by another process; stop that one first"

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")


@pytest.fixture
def folder(trained: charrnn.TrainingResult, tmp_path: Path) -> Path:
    """A checkpoint folder with a run, and two copies of it."""
    for name in ("river", "brook", "sea"):
        shutil.copytree(trained.folder, tmp_path / "checkpoints" / name)
    return tmp_path / "checkpoints"


@contextmanager
def in_training(run: Path) -> Iterator[None]:
    with claimed(charrnn.Run(run)):
        yield


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def unasked(_: Sequence[charrnn.Run]) -> bool:
    pytest.fail("asked before all runs were checked")


# Removing


def test_removed_runs_are_gone_and_the_others_stay(folder: Path) -> None:
    """Named by name or folder, each once."""
    shown: list[Sequence[charrnn.Run]] = []
    before = contents(folder / "sea")

    def confirm(runs: Sequence[charrnn.Run]) -> bool:
        shown.append(runs)
        assert names(folder) == ["brook", "river", "sea"]
        return True

    gone = charrnn.remove_runs(
        ["river", folder / "brook", "river"], checkpoint_dir=folder, confirm=confirm
    )
    assert [run.name for run in gone] == ["river", "brook"]
    assert shown == [gone]
    assert names(folder) == ["sea"]
    assert contents(folder / "sea") == before
    assert [run.name for run in charrnn.remove_runs("sea", checkpoint_dir=folder)] == ["sea"]


def test_nothing_goes_without_consent(folder: Path) -> None:
    before = contents(folder)
    assert charrnn.remove_runs("river", checkpoint_dir=folder, confirm=lambda _: False) == []
    assert contents(folder) == before


def test_a_run_tells_its_size_and_what_else_is_in_it(folder: Path) -> None:
    """Its own files, even damaged or half written, are not something else."""
    run = charrnn.Run(folder / "river")
    assert run.size == sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert run.other_files == []
    for own in (".lock", "damaged-1-step-00000020", ".step-00000080.new.tmp"):
        (run.path / own).touch()
    for other in ("notes.txt", "step-by-step", "step-00000001.bak"):
        (run.path / other).touch()
    assert run.other_files == ["notes.txt", "step-00000001.bak", "step-by-step"]


Prepare = Callable[[Path], object]


def a_single_checkpoint(folder: Path) -> Path:
    return folder / "river" / "step-00000060"


def a_folder(folder: Path) -> Path:
    (folder / "texts").mkdir()
    (folder / "texts" / "novel.txt").write_text("once")
    return folder / "texts"


def a_run_elsewhere(folder: Path) -> Path:
    return Path(shutil.copytree(folder / "river", folder.parent / "elsewhere"))


def a_run_deeper(folder: Path) -> str:
    shutil.copytree(folder / "river", folder / "old" / "river")
    return "old/river"


def a_way_round(folder: Path) -> str:
    a_run_elsewhere(folder)
    return "../elsewhere"


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda _: "nobody", "no run, checkpoint or model file 'nobody'"),
        (lambda _: "rivers", "did you mean river?"),
        (lambda _: "", "no run, checkpoint or model file"),
        (lambda _: "x" * 300, "no run, checkpoint or model file 'xxx"),
        (lambda folder: folder, "no run, checkpoint or model file"),
        (a_single_checkpoint, "is a single checkpoint or model file; name its run"),
        (a_folder, "no run, checkpoint or model file"),
        (a_run_elsewhere, "to name it, add `checkpoint_dir="),
        (a_run_deeper, "to name it, add `checkpoint_dir="),
        (a_way_round, "to name it, add `checkpoint_dir="),
    ],
)
def test_only_runs_of_the_folder_are_removed_or_renamed(
    folder: Path, prepare: Prepare, message: str
) -> None:
    """If one of several is none, the others stay as well."""
    model: Any = prepare(folder)
    before = contents(folder.parent)
    with pytest.raises(RunError) as refused:
        charrnn.remove_runs(["river", model], checkpoint_dir=folder, confirm=unasked)
    assert message in str(refused.value)
    with pytest.raises(RunError) as refused:
        charrnn.rename_run(model, "new", checkpoint_dir=folder)
    assert message in str(refused.value)
    assert contents(folder.parent) == before


def test_a_run_outside_of_any_folder_of_runs_stays(folder: Path) -> None:
    """There may be no folder of runs where one is expected."""
    with pytest.raises(RunError, match="is not in "):
        charrnn.remove_runs(folder / "river", checkpoint_dir=folder / "none")
    assert "river" in names(folder)


@posix
def test_a_link_to_a_run_is_not_removed_but_renamed(folder: Path) -> None:
    """What it leads to is not in the folder."""
    run = a_run_elsewhere(folder)
    before = contents(run)
    (folder / "link").symlink_to(run)
    with pytest.raises(RunError, match=r"is a link to .*elsewhere; delete the link yourself"):
        charrnn.remove_runs("link", checkpoint_dir=folder)
    assert charrnn.rename_run("link", "other", checkpoint_dir=folder).best.step
    assert contents(run) == before


def test_a_run_that_is_being_trained_stays(folder: Path) -> None:
    """And so do the others that were named with it; it is left without a trace."""
    with in_training(folder / "river"):
        before = contents(folder)
        with pytest.raises(RunError, match=BUSY):
            charrnn.remove_runs(["brook", "river"], checkpoint_dir=folder, confirm=unasked)
        with pytest.raises(RunError, match=BUSY):
            charrnn.rename_run("river", "new", checkpoint_dir=folder)
        assert contents(folder) == before


def test_a_run_that_was_begun_while_asking_stays(folder: Path) -> None:
    """The answer may take long."""
    with in_training(folder / "sea") as _, pytest.MonkeyPatch.context() as patch:
        patch.setattr(charrnn.Run, "is_training", False)
        with pytest.raises(RunError, match="run sea is being trained"):
            charrnn.remove_runs(["river", "sea"], checkpoint_dir=folder)
    assert names(folder) == ["brook", "river", "sea"]


def test_an_interrupted_removal_leaves_no_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lists, completes or loads what is left, and the next removal cleans it up."""

    def interrupted(path: Path, **_: object) -> None:
        for file in Path(path).rglob("trainer.safetensors"):
            file.unlink()
            raise SystemExit(130)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(SystemExit):
            charrnn.remove_runs(["river", "brook"], checkpoint_dir=folder)
    assert [run.name for run in charrnn.list_runs(folder)] == ["sea"]
    assert charrnn.run_names(folder) == ["sea"]
    with pytest.raises(charrnn.CharrnnError, match="no run, checkpoint or model file 'river'"):
        charrnn.load("river", checkpoint_dir=folder)
    assert len(names(folder)) == 3
    charrnn.remove_runs("sea", checkpoint_dir=folder)
    assert names(folder) == []


def test_all_runs_stay_if_one_cannot_be_renamed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were renamed before it come back."""
    before, rename = contents(folder), Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "sea":
            raise OSError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(RunError, match=r"sea: cannot be removed \(Permission denied\)"):
        charrnn.remove_runs(["river", "brook", "sea"], checkpoint_dir=folder)
    left = contents(folder)
    assert {name: left[name] for name in before} == before


def test_files_that_cannot_be_deleted_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", failing)
    with pytest.raises(charrnn.CharrnnError, match=r"\(Permission denied\); delete that folder"):
        charrnn.remove_runs("river", checkpoint_dir=folder)
    assert [run.name for run in charrnn.list_runs(folder) if run.name == "river"] == []


def test_a_damaged_run_can_be_removed_and_renamed(folder: Path) -> None:
    """Even one that cannot be listed any more."""
    for manifest in folder.glob("river/*/manifest.json"):
        manifest.write_bytes(b"\xff")
    assert charrnn.rename_run("river", "wreck", checkpoint_dir=folder).name == "wreck"
    charrnn.remove_runs("wreck", checkpoint_dir=folder)
    assert names(folder) == ["brook", "sea"]


def test_the_encoded_corpus_of_a_removed_run_stays(corpus: Path, tmp_path: Path) -> None:
    """Other runs on the same text share it."""
    cache = tmp_path / "cache"
    charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "runs", cache_dir=cache
    )
    before = contents(cache)
    assert len(before) > 1
    charrnn.remove_runs("river", checkpoint_dir=tmp_path / "runs")
    assert contents(cache) == before


# Renaming


def test_a_renamed_run_is_resumed_bit_for_bit(corpus: Path, tmp_path: Path) -> None:
    """Even without the cache: the run is still known as the user's own."""
    where: dict[str, Any] = {"checkpoint_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache"}
    training = replace(TRAINING, steps=20)
    straight = charrnn.train(corpus, model=MODEL, training=training, run="straight", **where)
    charrnn.train(corpus, model=MODEL, training=training, run="old", **where, **stopping(9))
    run = charrnn.rename_run("old", "new", checkpoint_dir=tmp_path / "runs")
    assert run == charrnn.Run(tmp_path / "runs" / "new")
    assert names(tmp_path / "runs") == ["new", "straight"]
    shutil.rmtree(tmp_path / "cache")
    resumed = charrnn.resume("new", **where)
    assert (resumed.run, resumed.end.step) == ("new", 20)
    assert_same_run(straight.folder, resumed.folder)


def test_a_renamed_run_writes_and_scores_as_before(folder: Path, tmp_path: Path) -> None:
    """And its checkpoints are sound."""
    settings = charrnn.SamplingConfig(length=40, seed=1)
    before = charrnn.load("river", checkpoint_dir=folder)
    text, score = "".join(before.sample("The", settings)), before.evaluate()
    charrnn.rename_run(folder / "river", "Der Fluß 2", checkpoint_dir=folder)
    after = charrnn.load("Der Fluß 2", checkpoint_dir=folder)
    assert "".join(after.sample("The", settings)) == text
    assert after.evaluate() == score
    findings = charrnn.verify("Der Fluß 2", checkpoint_dir=folder)
    assert set(findings.values()) == {None}
    rows = charrnn.compare(["Der Fluß 2", "brook"], checkpoint_dir=folder)
    assert rows[0].curve == rows[1].curve


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brook", "brook exists already; choose another name"),
        ("river", "river exists already; choose another name"),
        ("texts", "texts exists already; choose another name"),
        ("", "'': not a name for a folder"),
        ("a/b", "'a/b': not a name for a folder"),
        ("..", "'..': not a name for a folder"),
        (".hidden", "'.hidden': not a name for a folder"),
        ("-x", "'-x': not a name for a folder"),
        ("two\nlines", r"'two\nlines': not a name for a folder"),
        ("x" * 300, "cannot be renamed to xxx"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(folder: Path, name: str, message: str) -> None:
    a_folder(folder)
    before = contents(folder)
    with pytest.raises(RunError) as refused:
        charrnn.rename_run("river", name, checkpoint_dir=folder)
    assert message in str(refused.value)
    assert contents(folder).keys() - {"river/.lock"} == before.keys() - {"river/.lock"}
