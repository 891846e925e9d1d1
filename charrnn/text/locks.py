"""Locks between processes: which file may be one, and waiting that ends and is not silent."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

NOTICE_SECONDS = 1.0  # of waiting, before the user is told
PATIENCE_SECONDS = 60.0  # locks are held for moments; a process that holds one longer is stuck
_LOGGER = logging.getLogger("charrnn")


class LockError(OSError):
    """A file cannot be used as a lock, or another process holds it for too long."""


def file_lock(path: Path, *, timeout: float = -1, private: bool = False) -> FileLock:
    """Return a lock that is not acquired yet. private: nobody else may use the file.

    timeout: the seconds to wait for it; -1 to wait for ever.
    Raises LockError if there is something in its place that is not a lock: some versions of
    filelock empty what a link leads to.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a file"
            raise LockError(f"{path} is {kind}, and cannot be a lock; remove it")
        if status.st_nlink > 1 and status.st_size > 0:  # a lock is empty
            raise LockError(f"{path} is a second name of another file, not a lock; remove it")
    return FileLock(path, timeout, mode=0o600) if private else FileLock(path, timeout)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a private lock. After a second of waiting, say who is waited for.

    Raises LockError if the lock is not to be had within PATIENCE_SECONDS, and for what is no lock.
    """
    lock = file_lock(path, private=True)
    try:
        lock.acquire(NOTICE_SECONDS)
    except Timeout:
        who, seconds = _holder(path), PATIENCE_SECONDS
        _LOGGER.warning("notice: waiting up to %.0f s for %s, which holds %s", seconds, who, path)
        try:
            lock.acquire(PATIENCE_SECONDS)
        except Timeout as error:
            raise LockError(
                f"{_holder(path)} has held {path} for more than {PATIENCE_SECONDS:.0f} s"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """Name the process that holds a lock, if the system says so, as Linux does."""
    try:
        status = path.stat()
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF; those who wait have an arrow before
            match line.split():
                case [_, "FLOCK", _, _, number, place, *_] if place == device and int(number) > 0:
                    name = Path("/proc", number, "comm").read_text(encoding="ascii").strip()
                    return (
                        f"process {number} ({name})" if name.isprintable() else f"process {number}"
                    )
    except (OSError, ValueError, AttributeError):  # AttributeError: Windows has no device numbers
        pass
    return "another process"
