"""Locks between processes."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from charrnn.text import locks
from charrnn.text.locks import LockError, file_lock, held, is_held

posix = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and modes of POSIX")


@posix
@pytest.mark.parametrize("kind", ["link", "dangling link", "second name", "folder", "pipe"])
def test_what_is_no_lock_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    """Whatever the version of filelock: some empty the file that a link leads to."""
    letter, lock = tmp_path / "letter.txt", tmp_path / "lock"
    letter.write_text("dear reader")
    match kind:
        case "link":
            lock.symlink_to(letter)
        case "dangling link":
            lock.symlink_to(tmp_path / "nowhere")
        case "second name":
            os.link(letter, lock)
        case "folder":
            lock.mkdir()
        case "pipe":
            os.mkfifo(lock)
    with pytest.raises(LockError, match=f"{lock} is (a link|a second name|not a file)"):
        file_lock(lock)
    with pytest.raises(LockError), held(lock):
        pass
    assert letter.read_text() == "dear reader"
    assert not (tmp_path / "nowhere").exists()


@posix
def test_a_private_lock_is_its_owners_alone(tmp_path: Path) -> None:
    with held(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    with held(tmp_path / "lock"):  # it may be left behind
        pass


@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_a_wait_is_announced_and_ends(
    tmp_path: Path,
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(locks, "NOTICE_SECONDS", 0.1)
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", seconds)
    code = (
        "import sys\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        if seconds > 1:
            monkeypatch.setattr(locks, "_holder", lambda _: process.stdin.close() or "it")
            with held(tmp_path / "lock"):
                pass
            who = "it"
        else:
            with (
                pytest.raises(LockError, match=r"has held .*lock for more than"),
                held(tmp_path / "lock"),
            ):
                pass
            python = rf"process {process.pid} \(python"
            who = python if sys.platform == "linux" else "another process"
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "charrnn"
    message = record.getMessage()
    assert message.startswith(f"notice: waiting up to {seconds:.0f} s for ")
    assert pytest.importorskip("re").search(rf"for {who}.*, which holds .*lock$", message)


def test_a_lock_can_be_asked_about(tmp_path: Path) -> None:
    """Whether it is held is known while it is held; asking creates no file."""
    lock = tmp_path / "lock"
    assert not is_held(lock)
    assert not lock.exists()
    with held(lock):
        assert is_held(lock)
    assert not is_held(lock)


@posix
def test_asking_about_a_lock_keeps_nobody_out(tmp_path: Path) -> None:
    """Who only asks does not look like a holder to others who ask, and leaves nothing held."""
    import fcntl

    lock = tmp_path / "lock"
    lock.touch()
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # what asking takes, for a moment
        assert not is_held(lock)
    assert not is_held(lock)
    with file_lock(lock, timeout=0):
        pass


@posix
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_lock_is_not_held(tmp_path: Path, kind: str) -> None:
    """Links are not followed, and nothing waits for the other end of a pipe."""
    lock, other = tmp_path / "lock", tmp_path / "other"
    with held(other):
        match kind:
            case "link":
                lock.symlink_to(other)
            case "dangling link":
                lock.symlink_to(tmp_path / "nowhere")
            case "folder":
                lock.mkdir()
            case "pipe":
                os.mkfifo(lock)
        assert not is_held(lock)
    assert not (tmp_path / "nowhere").exists()


def test_no_wait_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with held(tmp_path / "lock"):
        pass
    assert caplog.records == []


def test_a_process_without_a_name_is_another_one(tmp_path: Path) -> None:
    assert locks._holder(tmp_path / "nowhere") == "another process"
    with FileLock(tmp_path / "lock"):
        assert locks._holder(tmp_path / "lock").endswith(("process", f"({_own_name()})"))


def _own_name() -> str:
    comm = Path("/proc/self/comm")
    return comm.read_text().strip() if comm.exists() else ""
