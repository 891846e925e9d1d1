"""How a folder of files comes to the disk: whole or not at all, whenever it is broken off.

.NAME.new.tmp    a folder that is being written
.NAME.old.tmp    the one it replaces, for a moment
.NAME.gone.tmp   one that is being deleted
What a dead process left of these is put in order by `clear_left_overs`.
"""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

_NEW, _OLD, _GONE = ".new.tmp", ".old.tmp", ".gone.tmp"


def commit(folder: Path, files: Iterable[tuple[str, Iterable[memoryview]]]) -> None:
    """Make a folder with these files, in one step; one of that name is replaced.

    files: their names and their bytes, in pieces, taken one file after the other.
    The files are written under a temporary name beside it, in their order, and synced, as is their
    folder; it is then renamed, and the folder above synced, which must exist already.
    Raises OSError; what was there before is then there still, or the new one is.
    """
    new, old = _beside(folder, _NEW), _beside(folder, _OLD)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()  # without parents: where they are gone, so is the run
        for name, pieces in files:
            _write(new / name, pieces)
        sync_folder(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _settle(folder, old)


def delete(folder: Path) -> None:
    """Delete a folder so that at no time a part of it stands under its name."""
    remove(take_away(folder))


def take_away(folder: Path) -> Path:
    """Take a folder's name from it; returns what is left to be removed. Raises OSError."""
    gone = _beside(folder, _GONE)
    remove(gone)
    folder.rename(gone)
    return gone


def replaced(name: str) -> str | None:
    """Return the name of the folder that a temporary one was being replaced under."""
    if not (name.startswith(".") and name.endswith(_OLD)):
        return None
    return name[1:].removesuffix(_OLD)


def is_temporary(name: str) -> bool:
    """Whether a folder of this name is work in progress."""
    return name.startswith(".") and name.endswith((_NEW, _OLD, _GONE))


def remove(gone: Path) -> None:
    """Remove what was taken away."""
    shutil.rmtree(gone, ignore_errors=True)


def clear_left_overs(parent: Path) -> None:
    """Remove what a process that died has left half made, and put back what it was replacing."""
    for path in parent.glob(".*.tmp"):
        if (name := replaced(path.name)) is not None:
            _settle(parent / name, path)
        elif is_temporary(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _settle(folder: Path, old: Path) -> None:
    """Put back what was to be replaced where nothing replaced it, else remove it."""
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(folder)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}{suffix}")


def _write(path: Path, pieces: Iterable[memoryview]) -> None:
    """Write and sync a file. Its mode is what the umask allows."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        for left in pieces:
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system has a way to."""
    if os.name == "nt":
        return  # Windows cannot open a folder; its rename is durable by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # some networks' disks
            raise
    finally:
        os.close(descriptor)
