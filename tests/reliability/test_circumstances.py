"""Resuming runs that were moved, edited, damaged, or given another text or machine."""

import itertools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.store import Run
from charrnn.errors import CheckpointError, RunError
from tests import processes
from tests.conftest import TEXT, sealed
from tests.reliability.runs import MODEL, TRAINING, Recorder, train
from tests.training.runs import assert_same_run, stopping


def test_a_run_can_be_moved_renamed_and_linked_to(corpus: Path, tmp_path: Path) -> None:
    """To a folder with spaces, other scripts and control characters in its name."""
    straight = train(corpus, tmp_path / "straight")
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(5)
    ).folder
    elsewhere = tmp_path / "an other dïsk 字" / "the river's \x1b[31m run"
    elsewhere.parent.mkdir()
    shutil.move(run, elsewhere)
    charrnn.resume(elsewhere, **stopping(11))
    (tmp_path / "link").symlink_to(elsewhere)
    charrnn.resume(tmp_path / "link")
    assert_same_run(straight, elsewhere)


@pytest.mark.parametrize("saved_at", ["1970-01-01T00:00:00+00:00", "2999-01-01", "", "\x1b[2J"])
def test_wrong_clock_times_do_no_harm(corpus: Path, tmp_path: Path, saved_at: str) -> None:
    straight = train(corpus, tmp_path / "straight")
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(10)
    ).folder
    rewrite(run / "step-00000010", saved_at=saved_at)
    charrnn.resume(run)
    assert_same_run(straight, run)


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("sha256")
    path.write_bytes(sealed(content | changes))


def test_resume_warns_of_a_different_torch_or_device(corpus: Path, tmp_path: Path) -> None:
    """Then the result may not be bit for bit the same."""
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path, **stopping(10)
    ).folder
    environment = json.loads((run / "step-00000010" / "manifest.json").read_text())["environment"]
    rewrite(run / "step-00000010", environment=environment | {"torch": "2.10.0", "device": "cuda"})
    recorder = Recorder()
    charrnn.resume(run, observers=[recorder], threads=1)
    (notice,) = recorder.warnings
    assert "instead of 2.10.0, device cpu instead of cuda: the result will not be bit" in notice


def test_a_changed_corpus_is_refused_without_force(corpus: Path, tmp_path: Path) -> None:
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "a", **stopping(10)
    ).folder
    corpus.write_text(TEXT.replace("river", "reviver"))
    with pytest.raises(RunError, match=r"its hash differs.*`force`"):
        charrnn.resume(run)
    recorder = Recorder()
    charrnn.resume(run, force=True, observers=[recorder], steps=30)
    assert (
        recorder.warnings[0]
        == "the corpus river has changed; training continues from its beginning"
    )
    assert Run(run).latest.step == 30
    corpus.write_text(TEXT + "ÄÖÜ")
    with pytest.raises(RunError, match=r"characters that are new to the run; .*`init_from=RUN`"):
        charrnn.resume(run, force=True, steps=40)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_a_model_too_large_for_memory_is_a_one_line_error(corpus: Path, tmp_path: Path) -> None:
    code = (
        "import resource, charrnn.cli.app\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "charrnn.cli.app.main()"
    )
    options = ["--hidden-size", 30_000, "--threads", 1]
    done = processes.run("train", corpus, *options, code=code, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "error: out of memory on cpu: 1 x 30000 units and" in done.stderr
    assert "GiB in training, plus 16 lanes x 64 characters; a smaller --hidden-size" in done.stderr
    assert not list(tmp_path.glob("checkpoints/*"))


HUGE: list[Any] = [None, "x", 10**400]
LIES: list[tuple[str, Any]] = [
    *itertools.product(["environment.threads"], [*HUGE, [], -1, 0, 10**9, True]),
    *itertools.product(["trainer.step"], [*HUGE, 1e308, 10**9, 9]),
    *itertools.product(
        ["trainer.seconds", "trainer.loss_sum", "trainer.rate_scale", "trainer.bad_steps",
         "trainer.last_good", "trainer.lanes.epoch", "trainer.lanes.offset", "trainer.lanes.chunk",
         "trainer.record.stale"], HUGE,
    ),
    ("trainer.lanes.offset", 10**9), ("trainer.lanes.generator", {}), ("trainer.lanes", []),
    ("trainer.record", None), ("trainer.surprise", 1), ("trainer.planned", "yes"),
    ("corpus.sources", [["a"]]), ("corpus.sources", "a"), ("corpus.sha256", 1),
    ("training.steps", "x"), ("training.batch_size", 0), ("training.surprise", 1), ("training", []),
    ("environment", {}), ("step", 5), ("format", 1), ("val_loss", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), LIES, ids=range(len(LIES)))
def test_resume_survives_a_forged_manifest(
    half: Path, tmp_path: Path, key: str, value: Any
) -> None:
    """Its hash is right, its values are not: the checkpoint is refused or skipped by name."""
    run = Path(shutil.copytree(half, tmp_path / "river"))
    manifest = run / "step-00000010" / "manifest.json"
    content = json.loads(manifest.read_text())
    content.pop("sha256")
    *path, last = key.split(".")
    place = content
    for name in path:
        place = place[name]
    place[last] = value
    manifest.write_bytes(sealed(content))
    recorder = Recorder()
    try:
        charrnn.resume(run, observers=[recorder])
    except CheckpointError as error:
        recorder.warnings.append(str(error))
        message = str(error)
    else:
        message = recorder.warnings[0]
    assert "step-00000010" in message
    assert len(message) < 1_000


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after ten steps."""
    folder = tmp_path_factory.mktemp("half")
    (folder / "river.txt").write_text(TEXT)
    options: dict[str, Any] = {"model": MODEL, "training": TRAINING, "checkpoint_dir": folder}
    return charrnn.train(folder / "river.txt", **options, **stopping(10)).folder


def test_resume_skips_a_renamed_checkpoint(half: Path, tmp_path: Path) -> None:
    """Its manifest states another step than its folder."""
    run = Path(shutil.copytree(half, tmp_path / "river"))
    (run / "step-00000010").rename(run / "step-00000099")
    recorder = Recorder()
    charrnn.resume(run, observers=[recorder])
    assert (
        "99/manifest.json: belongs to step 10, unlike its folder; resuming from step 8"
        in recorder.warnings[0]
    )
    assert (run / "damaged-1-step-00000099").is_dir()


def test_a_huge_sparse_trainer_file_is_not_read(half: Path, tmp_path: Path) -> None:
    """Ten gigabytes that take no room on the disk would fill the memory."""
    folder = Path(shutil.copytree(half, tmp_path / "river")) / "step-00000010"
    with (folder / "trainer.safetensors").open("r+b") as file:
        file.truncate(10**10)
    content = json.loads((folder / "manifest.json").read_text())
    content.pop("sha256")
    content["files"]["trainer.safetensors"]["bytes"] = 10**10
    (folder / "manifest.json").write_bytes(sealed(content))
    recorder = Recorder()
    charrnn.resume(folder.parent, observers=[recorder])
    assert "trainer.safetensors: 10,000,000,000 bytes are too many" in recorder.warnings[0]


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_log_that_is_not_a_regular_file_is_left_alone(
    half: Path, tmp_path: Path, kind: str
) -> None:
    """Nothing is written through a link, a FIFO or a folder; the run itself continues."""
    run = Path(shutil.copytree(half, tmp_path / "river"))
    (run / "log.jsonl").unlink()
    (tmp_path / "precious").write_text("precious")
    match kind:
        case "link":
            (run / "log.jsonl").symlink_to(tmp_path / "precious")
        case "fifo":
            os.mkfifo(run / "log.jsonl")
        case "folder":
            (run / "log.jsonl").mkdir()
    recorder = Recorder()
    charrnn.resume(run, observers=[recorder])
    assert any("log.jsonl: cannot be written" in message for message in recorder.warnings)
    assert (tmp_path / "precious").read_text() == "precious"
    assert Run(run).latest.step == TRAINING.steps


@pytest.mark.parametrize("line", [b'{"event": "step", "step": Infinity}\n', b"[" * 99_999, b"\0"])
def test_a_damaged_log_is_cut_at_the_damage(half: Path, tmp_path: Path, line: bytes) -> None:
    """What follows is written again, so that the log is complete."""
    run = Path(shutil.copytree(half, tmp_path / "river"))
    with (run / "log.jsonl").open("ab") as log:
        log.write(line)
    charrnn.resume(run)
    events = [json.loads(text) for text in (run / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in events if e["event"] == "step"] == list(range(1, 25))


def test_a_corrupt_cached_corpus_is_not_trained_on(corpus: Path, tmp_path: Path) -> None:
    """Its hash is wrong, so it is encoded again."""
    options: dict[str, Any] = {"model": MODEL, "training": TRAINING, "cache_dir": tmp_path / "c"}
    straight = charrnn.train(corpus, checkpoint_dir=tmp_path / "straight", **options)
    run = charrnn.train(corpus, checkpoint_dir=tmp_path / "b", **options, **stopping(10)).folder
    (ids,) = (tmp_path / "c").rglob("ids.bin")
    ids.write_bytes(bytes(ids.stat().st_size))
    charrnn.resume(run, cache_dir=tmp_path / "c")
    assert_same_run(straight.folder, run)


def test_checkpoint_latest_falls_back_to_a_sound_one(half: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(half, tmp_path / "river"))
    (run / "step-00000010" / "model.safetensors").write_bytes(b"")
    recorder = Recorder()
    charrnn.resume(run, checkpoint="latest", observers=[recorder])
    assert "resuming from step 8" in recorder.warnings[0]
    with pytest.raises(RunError, match="is finished"):
        charrnn.resume(run)
