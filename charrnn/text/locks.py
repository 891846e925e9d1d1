"""Locks between processes: which file may be one, and waiting that ends and is not silent."""

import errno
import logging
import os
import stat
import sys
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


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock. This creates nothing, and keeps nobody waiting.

    False if that cannot be known, as for a file that may not be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return False
    try:
        _try_lock(descriptor)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    finally:
        os.close(descriptor)  # which ends the lock, if it was there to be had
    return False


def _try_lock(descriptor: int) -> None:
    """Lock a file for a moment, so that others may do the same; raise OSError if it is held."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


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
