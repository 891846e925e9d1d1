"""Files that are legal but hostile, folders that cannot be read: an error or a notice, at once."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charrnn
from charrnn.checkpoint.manifest import CorpusRecord, Manifest, read_manifest, with_files
from charrnn.checkpoint.store import Run
from charrnn.errors import CheckpointError, RunError, SettingsError
from charrnn.model.config import ModelConfig
from charrnn.runs.curves import read_curve
from charrnn.text.config import CorpusConfig
from charrnn.training.events import MAX_LOG
from charrnn.training.progress import LanePosition, TrainerProgress
from tests.conftest import TEXT, Command, sealed

SHAPES = [[1] * 65, [0, 2**63 - 1, 4], [0] * 70]


def with_shape(path: Path, name: str, shape: list[int]) -> None:
    """Give an array of a safetensors file an empty one beside it, of a shape that numpy lacks."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    size = 4 if 0 not in shape else 0
    end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
    described = json.dumps(header).encode()
    described += b" " * (-len(described) % 8)
    body = data[8 + length :] + bytes(size)
    path.write_bytes(len(described).to_bytes(8, "little") + described + body)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with checkpoints of steps 2 and 4."""
    corpus = tmp_path / "river.txt"
    corpus.write_text(TEXT, encoding="utf-8")
    return charrnn.train(
        corpus,
        model=ModelConfig(hidden_size=8, embedding_size=4),
        training=charrnn.TrainingConfig(
            steps=4, eval_every=2, save_every=2, batch_size=4, seq_length=16
        ),
        checkpoint_dir=tmp_path / "checkpoints",
    ).folder


@pytest.mark.parametrize("shape", SHAPES, ids=["65 dimensions", "huge", "70 zeros"])
@pytest.mark.parametrize("command_line", [("info",), ("sample", "-n", 3), ("eval",)])
def test_a_shape_that_numpy_lacks_is_an_error_in_a_line(
    run: Path, command: Command, shape: list[int], command_line: tuple[Any, ...]
) -> None:
    model = run.parent / "alone.safetensors"
    (run / "step-00000004" / "model.safetensors").rename(model)
    with_shape(model, "x", shape)
    done = command(*command_line[:1], model, *command_line[1:])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


@pytest.mark.parametrize("shape", SHAPES, ids=["65 dimensions", "huge", "70 zeros"])
def test_a_shape_that_numpy_lacks_leads_to_the_sound_checkpoint(
    run: Path, shape: list[int]
) -> None:
    folder = run / "step-00000004"
    with_shape(folder / "trainer.safetensors", "state/x", shape)
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / "trainer.safetensors").read_bytes()
    manifest["files"]["trainer.safetensors"] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (folder / "manifest.json").write_bytes(sealed(manifest))
    assert charrnn.verify(run)[folder] is not None
    assert charrnn.resume(run, steps=6).end.step == 6, "from step 2, the sound one"


def log_of(folder: Path, write: Callable[[Path], None]) -> Path:
    path = folder / "log.jsonl"
    write(path)
    return path


def test_a_sparse_log_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.touch()
    os.truncate(path, MAX_LOG + 1)
    with pytest.raises(OSError, match="too large for a log"):
        read_curve(path)


def test_many_starts_in_a_log_take_no_longer_each(tmp_path: Path) -> None:
    """Four times as many take four times as long at most, give or take: not sixteen times."""

    def seconds(starts: int) -> float:
        path = tmp_path / "log.jsonl"
        start = {"event": "start", "batch_size": 1, "seq_length": 1, "parameters": 1}
        step = {"event": "step", "step": 0, "loss": 1.0}
        lines = [json.dumps(start | {"step": n}) for n in range(starts)]
        path.write_text("\n".join([*lines, *[json.dumps(step)] * starts]) + "\n")
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            read_curve(path)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(8_000) < 8 * seconds(2_000)


def test_a_device_in_place_of_a_file_is_an_error(run: Path, command: Command) -> None:
    manifest = run / "step-00000004" / "manifest.json"
    manifest.unlink()
    manifest.symlink_to("/dev/zero")
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").symlink_to("/dev/zero")
    assert command("sample", run, "-n", 3).returncode == 0, "from the checkpoint of step 2"
    done = command("compare", run)
    assert done.returncode == 0
    assert "its log cannot be read" in done.stderr


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder one that cannot be listed, even for root."""
    real = Path.iterdir
    hidden: set[Path] = set()

    def iterdir(path: Path) -> Any:
        if path.absolute() in hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    return hidden.add


def test_a_model_below_a_folder_that_cannot_be_listed_loads(
    run: Path, locked: Callable[[Path], None]
) -> None:
    locked(run)
    model = charrnn.load(run / "step-00000004" / "model.safetensors")
    assert "".join(model.sample("The", charrnn.SamplingConfig(length=3))) != ""


def test_an_unreadable_run_is_skipped_with_a_notice(
    run: Path, locked: Callable[[Path], None]
) -> None:
    other = run.with_name("other")
    other.mkdir()
    locked(other)
    notices: list[str] = []
    found = charrnn.list_runs(run.parent, notice=notices.append)
    assert [one.name for one in found] == ["river"]
    assert len(notices) == 1
    assert "skipped run other: " in notices[0]
    assert "Permission denied" in notices[0]
    assert charrnn.load(checkpoint_dir=run.parent, notice=notices.append).step == 4
    rows = charrnn.compare(checkpoint_dir=run.parent, notice=notices.append)
    assert [row.name for row in rows] == ["river"]


def test_an_unreadable_run_that_is_named_is_an_error(
    run: Path, locked: Callable[[Path], None]
) -> None:
    locked(run)
    with pytest.raises(RunError, match=r"river: cannot be read \(Permission denied\)"):
        charrnn.load(run)


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**6])
def test_threads_that_no_checkpoint_could_record_are_refused(run: Path, threads: int) -> None:
    with pytest.raises(SettingsError, match="`threads="):
        charrnn.resume(run, steps=6, threads=threads)
    assert Run(run).latest.step == 4


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**30), 10**30)


@settings(deadline=None)
@given(loss=numbers | st.none(), seconds=numbers, bad_steps=st.integers(0, 2**70))
def test_what_is_saved_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, loss: Any, seconds: Any, bad_steps: int
) -> None:
    """Whatever a trainer counts: it is refused before it is written, or it is read back."""
    progress = TrainerProgress(
        train_loss=loss, seconds=seconds, bad_steps=bad_steps, lanes=LanePosition(0, 0, 0, {})
    )
    manifest = Manifest(
        step=0, saved_at="", train_loss=loss, val_loss=loss,
        corpus=CorpusRecord("river", ("river.txt",), "0" * 64, 9), corpus_config=CorpusConfig(),
        model=ModelConfig(), training={}, trainer=progress.to_json(), environment={"threads": 1},
    )  # fmt: skip
    try:
        data = with_files(manifest, {})
    except CheckpointError:
        return
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "manifest.json").write_bytes(data)
    read = read_manifest(folder)
    assert read.train_loss == loss
