"""Writing a folder of files so that it is complete or absent, whenever the process dies.

.NAME.new.tmp    a folder that is being written
.NAME.old.tmp    the one it replaces, for a moment
.NAME.gone.tmp   one that is being deleted
`clear_left_overs` cleans up what a dead process left of these.
"""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

_NEW, _OLD, _GONE = ".new.tmp", ".old.tmp", ".gone.tmp"


def commit(folder: Path, files: Iterable[tuple[str, Iterable[memoryview]]]) -> None:
    """Make a folder with these files in one step, replacing a folder of that name.

    files: their names and their bytes, in pieces, taken one file after the other.
    The files are written and synced under a temporary name beside the folder, which is then
    renamed; the folder above, which must exist, is synced last.
    Raises OSError; either the old folder or the new one is then in place.
    """
    new, old = _beside(folder, _NEW), _beside(folder, _OLD)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()  # without parents: if they are gone, so is the run
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
    """Delete a folder so that its name never stands for a part of it."""
    remove(take_away(folder))


def take_away(folder: Path) -> Path:
    """Rename a folder to a temporary name; returns that, to be removed. Raises OSError."""
    gone = _beside(folder, _GONE)
    remove(gone)
    folder.rename(gone)
    return gone


def taken_away(parent: Path) -> list[Path]:
    """Return the folders that `take_away` renamed and that nobody removed."""
    return list(parent.glob(f".*{_GONE}"))


def replaced(name: str) -> str | None:
    """Return the name of the folder that this temporary one is the old version of, or None."""
    if not (name.startswith(".") and name.endswith(_OLD)):
        return None
    return name[1:].removesuffix(_OLD)


def is_temporary(name: str) -> bool:
    """Whether a folder of this name is work in progress."""
    return name.startswith(".") and name.endswith((_NEW, _OLD, _GONE))


def remove(gone: Path) -> None:
    """Remove a folder that `take_away` renamed."""
    shutil.rmtree(gone, ignore_errors=True)


def clear_left_overs(parent: Path) -> None:
    """Remove what a dead process left half made, and put back what it was replacing."""
    for path in parent.glob(".*.tmp"):
        if (name := replaced(path.name)) is not None:
            _settle(parent / name, path)
        elif is_temporary(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _settle(folder: Path, old: Path) -> None:
    """Put the old folder back if nothing replaced it, else remove it."""
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(folder)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}{suffix}")


def _write(path: Path, pieces: Iterable[memoryview]) -> None:
    """Write and sync a file, with the mode that the umask allows."""
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
    """Sync the names in a folder to the disk, if the file system can."""
    if os.name == "nt":
        return  # Windows cannot open a folder; its rename is durable by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.EBADF,
            errno.ENOTSUP,
        ):  # some network disks
            raise
    finally:
        os.close(descriptor)
