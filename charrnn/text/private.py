"""Folders and files that are their owner's alone, and whether existing ones are.

On Windows a new folder takes its access rights from the one above, which for the user's folders is
the user alone; nothing is checked or changed there.
"""

import io
import os
import stat
from contextlib import suppress
from pathlib import Path

_FOLDER, _FILE = 0o700, 0o600
_OTHERS, _OTHERS_WRITE = 0o077, 0o022
_POSIX = os.name == "posix"


class NotPrivateError(OSError):
    """A folder or file belongs to another user, or others can write to it."""


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may use, whatever the umask, and what is above it."""
    try:
        path.mkdir(_FOLDER)
    except FileNotFoundError:
        make_private_folder(path.parent)
        make_private_folder(path)
    except OSError:
        if not path.is_dir():
            raise
    else:
        path.chmod(_FOLDER)  # the umask may have taken more


def create_private_file(path: Path) -> io.BufferedRandom:
    """Create a file that only its owner may use, whatever the umask; open it to write and read.

    Raises FileExistsError if there is one, even a link that leads nowhere.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, _FILE)
    if _POSIX:
        os.fchmod(descriptor, _FILE)
    return os.fdopen(descriptor, "w+b")


def take_folder(path: Path) -> bool:
    """Take a folder from everybody but its owner; return whether others could use it so far.

    The path may be a link that the user has made. Raises NotPrivateError if link or folder belong
    to another user, or if others can still write to the folder, as on some file systems.
    """
    if not _POSIX:
        return False
    status = path.stat()
    _check_owner(path, path.lstat())
    _check_owner(path, status)
    if not status.st_mode & _OTHERS:
        return False
    with suppress(OSError):  # a file system without modes
        path.chmod(_FOLDER)
    check_own(path, path.stat())
    return True


def check_own_folder(path: Path) -> None:
    """Raise NotPrivateError unless a path is a folder, no link, that only its owner can change.

    It is taken from everybody else. Raises OSError if there is none.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotPrivateError(f"{path} is not a folder")
    check_own(path, status)
    tighten(path)


def check_own(path: Path, status: os.stat_result) -> None:
    """Raise NotPrivateError if a folder or file may have been made or changed by somebody else."""
    if not _POSIX:
        return
    _check_owner(path, status)
    if status.st_mode & _OTHERS_WRITE:
        raise NotPrivateError(f"other users can write to {path}")


def tighten(path: Path) -> None:
    """Take a folder or file from everybody but its owner, unless others could have changed it.

    What is not the owner's alone then stays recognizable. Raises OSError.
    """
    status = path.lstat()
    kinds = {stat.S_IFDIR: _FOLDER, stat.S_IFREG: _FILE}
    mode = kinds.get(stat.S_IFMT(status.st_mode))
    others = status.st_mode & _OTHERS
    if _POSIX and mode is not None and others and not others & _OTHERS_WRITE:
        path.chmod(mode)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise NotPrivateError(f"{path} belongs to another user")
