"""Writing checkpoints while the disk fails, or the process dies, at every possible moment."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.checkpoint.lifecycle import claimed, retire
from charrnn.checkpoint.store import Run, find_run, saved_runs
from charrnn.checkpoint.writer import clear_left_overs, commit, delete
from charrnn.errors import CheckpointError
from tests.checkpoint.samples import MANIFEST, TRAINER, model
from tests.conftest import saved_at

# All system calls with which the writer changes the disk.
CALLS = ("mkdir", "open", "write", "fsync", "rename", "unlink", "rmdir")


class Dead(BaseException):
    """The process is gone: nothing after this is executed."""


@contextmanager
def failing(at: int, error: BaseException, *, from_then_on: bool) -> Iterator[Callable[[], int]]:
    """Let call number `at` to the disk fail, or all from it on; yields a counter of the calls."""
    calls = 0
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            real = getattr(os, name)

            def failing_call(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at or (from_then_on and calls > at):
                    raise error
                return _real(*args, **kwargs)

            patch.setattr(os, name, failing_call)
        yield lambda: calls


def pieces(**files: bytes) -> list[tuple[str, list[memoryview]]]:
    return [(name, [memoryview(data)]) for name, data in files.items()]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def calls_of_a_save(run: Run) -> int:
    with failing(0, Dead(), from_then_on=False) as calls:
        saved_at(run, 3, model(), TRAINER, MANIFEST)
        count = calls()
    delete(run.checkpoint_folder(3))
    return count


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
def test_a_failed_save_harms_neither_the_last_nor_the_next(tmp_path: Path, reason: int) -> None:
    """The n-th write, sync or rename fails, for every n of one save."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    saved_at(run, 2, model(), TRAINER, MANIFEST)
    failed = 0
    for at in range(1, calls_of_a_save(run) + 1):
        with failing(at, OSError(reason, os.strerror(reason)), from_then_on=False):
            message = ""
            try:
                saved_at(run, 3, model(), TRAINER, MANIFEST)
            except CheckpointError as error:
                message = str(error)
        failed += os.strerror(reason) in message
        assert message == "" or os.strerror(reason) in message
        latest, findings = Run(run.path).read_latest()
        assert latest.manifest.step in (2, 3)
        assert findings == []
        saved_at(run, 3, model(), TRAINER, MANIFEST)
        assert Run(run.path).read_latest()[0].manifest.step == 3
        assert names(run.path) == ["step-00000002", "step-00000003"]
        delete(run.checkpoint_folder(3))
    assert failed >= 12, "three files and two folders are created, written, synced and renamed"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_complete_checkpoint_survives_a_death_at_any_moment(
    tmp_path: Path, replaced: bool
) -> None:
    """Also if it was replacing the only checkpoint by one of the same name."""
    step = 2 if replaced else 3
    at, died = 0, True
    while died:
        at += 1
        run = Run(tmp_path / f"run-{at}")
        run.path.mkdir()
        saved_at(run, 2, model(), TRAINER, MANIFEST)
        died = False
        with failing(at, Dead(), from_then_on=True):
            try:
                saved_at(run, step, model(), TRAINER, MANIFEST)
                retire(run, 1)
            except Dead:
                died = True
        found = find_run(run.path.name, tmp_path)
        assert found is not None, "even before it is cleaned up"
        assert run.path in [listed.path for listed in saved_runs(tmp_path)]
        with claimed(run):
            latest, findings = found.read_latest()
        assert findings == []
        assert latest.manifest.step in (2, 3)
        assert not list(run.path.glob(".step*"))
    assert at > 12


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_files_are_synced_before_the_folder_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file, their folder, then the name, then the folder that holds the name."""
    done = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def recorded(*args: Any, _name: str = name, _real: Any = real) -> Any:
            at = args[0] if _name == "rename" else Path(f"/proc/self/fd/{args[0]}").readlink()
            done.append((_name, Path(at).name))
            return _real(*args)

        monkeypatch.setattr(os, name, recorded)
    commit(tmp_path / "f", pieces(a=b"1", b=b"2"))
    new = ".f.new.tmp"
    files = [("fsync", "a"), ("fsync", "b"), ("fsync", new)]
    assert done == [*files, ("rename", new), ("fsync", tmp_path.name)]


def test_a_folder_is_replaced_in_one_step(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    commit(folder, pieces(a=b"old", b=b"old"))
    commit(folder, pieces(a=b"new"))
    assert content(folder) == {"a": b"new"}
    assert names(tmp_path) == ["f"]


def test_a_missing_parent_folder_is_not_created(tmp_path: Path) -> None:
    """It may be the mount point of a disk that was unmounted."""
    with pytest.raises(FileNotFoundError):
        commit(tmp_path / "gone" / "f", pieces(a=b"new"))
    assert names(tmp_path) == []


def test_leftovers_are_removed_and_old_folders_restored(tmp_path: Path) -> None:
    for name in (".f.new.tmp", ".f.old.tmp", ".g.old.tmp", ".h.gone.tmp", "g", ".other.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    clear_left_overs(tmp_path)
    assert names(tmp_path) == [".other.tmp", "f", "g"]
    assert content(tmp_path / "f") == {"a": b".f.old.tmp"}
    assert content(tmp_path / "g") == {"a": b"g"}


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.write may write less than it is given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    commit(tmp_path / "f", pieces(a=bytes(range(256)) * 4, b=b""))
    assert content(tmp_path / "f") == {"a": bytes(range(256)) * 4, "b": b""}


def test_the_safetensors_library_reads_what_is_written(tmp_path: Path) -> None:
    from safetensors.numpy import load

    from charrnn.checkpoint.arrays import safetensors_pieces

    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {
        "b": rng.standard_normal((3, 4)).astype(np.float32),
        "a": np.asfortranarray(rng.standard_normal((3, 4))),
        "scalar": np.array(1.5, np.float32),
        "bytes": rng.integers(255, size=7).astype(np.uint8),
        "empty": np.zeros((0, 3), np.float32),
        "big-endian": rng.standard_normal(5).astype(">f4"),
    }
    data = b"".join(safetensors_pieces(arrays, {"key": "värde"}))
    found = load(data)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array)
