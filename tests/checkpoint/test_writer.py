"""The writer of checkpoints, with a disk that fails, and a process that dies, at every turn."""

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
from tests.checkpoint.test_format import MANIFEST, TRAINER, model
from tests.conftest import saved_at

# Every way in which the writer touches the disk.
CALLS = ("mkdir", "open", "write", "fsync", "rename", "unlink", "rmdir")


class Dead(BaseException):
    """The process is gone: nothing after this is carried out."""


@contextmanager
def failing(at: int, error: BaseException, *, from_then_on: bool) -> Iterator[Callable[[], int]]:
    """Let the call number `at` to the disk fail; yields a function that counts the calls."""
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
def test_after_any_failure_the_last_checkpoint_is_there_and_the_next_save_succeeds(
    tmp_path: Path, reason: int
) -> None:
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
    assert failed >= 12, "three files and two folders are made, written, synced and renamed"


@pytest.mark.parametrize("replaced", [False, True])
def test_whenever_a_process_dies_a_whole_checkpoint_is_there_at_the_next_start(
    tmp_path: Path, replaced: bool
) -> None:
    """Also where the only checkpoint there is was being replaced by one of its name."""
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
        assert found is not None, "even before it is put in order"
        assert run.path in [listed.path for listed in saved_runs(tmp_path)]
        with claimed(run):
            latest, findings = found.read_latest()
        assert findings == []
        assert latest.manifest.step in (2, 3)
        assert not list(run.path.glob(".step*"))
    assert at > 12


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_everything_is_synced_before_it_is_given_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file, their folder, then the name, then the folder that holds the name."""
    done = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def told(*args: Any, _name: str = name, _real: Any = real) -> Any:
            at = args[0] if _name == "rename" else Path(f"/proc/self/fd/{args[0]}").readlink()
            done.append((_name, Path(at).name))
            return _real(*args)

        monkeypatch.setattr(os, name, told)
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


def test_a_folder_whose_place_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """As where a disk was unmounted: its place must not be filled."""
    with pytest.raises(FileNotFoundError):
        commit(tmp_path / "gone" / "f", pieces(a=b"new"))
    assert names(tmp_path) == []


def test_left_overs_are_removed_and_what_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    for name in (".f.new.tmp", ".f.old.tmp", ".g.old.tmp", ".h.gone.tmp", "g", ".other.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    clear_left_overs(tmp_path)
    assert names(tmp_path) == [".other.tmp", "f", "g"]
    assert content(tmp_path / "f") == {"a": b".f.old.tmp"}
    assert content(tmp_path / "g") == {"a": b"g"}


def test_large_pieces_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may take less than it is given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    commit(tmp_path / "f", pieces(a=bytes(range(256)) * 4, b=b""))
    assert content(tmp_path / "f") == {"a": bytes(range(256)) * 4, "b": b""}


def test_arrays_are_laid_out_as_the_library_reads_them(tmp_path: Path) -> None:
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
