"""The cache folder: encoded corpora, so that the next run on the same text starts at once.

<folder>/encoded/<key>/    an encoded corpus, complete or absent; see entries.py
<folder>/encoded/tmp-*/    work in progress, locked by its process; leftovers go at the next start
<folder>/lock              held briefly while such a folder is created or removed

A text may be private, and an entry is believed: `encoded` and all in it are the user's alone.
"""

import errno
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import Timeout

from charrnn.errors import CorpusError
from charrnn.text.locks import LockError, file_lock, held
from charrnn.text.private import NotPrivateError, make_private_folder, take_folder, tighten

META_FILE = "meta.json"
_KEY = re.compile("[0-9a-f]{40}")
_PREFIX = "tmp-"
_WORKSPACE = re.compile(_PREFIX + ".*")
_LOCK = "lock"


@dataclass(frozen=True)
class Entry:
    """An encoded corpus in the cache.

    path: its folder. bytes: its size on disk. used: when it was last used, in seconds since 1970.
    """

    path: Path
    bytes: int
    used: float


class Cache:
    """A folder of encoded corpora. Several processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use a folder; by default the user's cache folder."""
        self._is_default = folder is None
        self.folder = folder or Path(platformdirs.user_cache_dir("charrnn", appauthor=False))
        self.encoded = self.folder / "encoded"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Create a folder for work in progress, and remove it at the end.

        Also removes what killed processes left behind. Raises OSError if the cache is not writable,
        NotPrivateError among them if it is another user's, LockError if it cannot be locked.
        """
        self._take_folders()
        # Otherwise another process could mistake a folder without its own lock for a leftover.
        with held(self.folder / _LOCK):
            self._remove_leftovers()
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.encoded))
            path.chmod(0o700)  # the umask may have taken more
            own = file_lock(path / _LOCK, private=True)
            own.acquire()
        try:
            yield path
        finally:
            own.release()
            _remove(path)

    def folder_of(self, key: str) -> Path:
        """Return the folder of an entry, which need not exist."""
        return self.encoded / key

    def mark_used(self, key: str) -> None:
        """Remember that an entry was used just now."""
        with suppress(OSError):  # removed meanwhile
            os.utime(self.folder_of(key))

    def commit(self, built: Path, key: str) -> Path:
        """Turn a folder into an entry, atomically; keep the entry if there already is one."""
        path = self.folder_of(key)
        try:
            built.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) and not path.is_dir():
                raise
        return path

    def discard(self, key: str) -> None:
        """Remove an entry if it is there. What uses it is not disturbed."""
        with suppress(OSError):
            _remove(_take_away(self.folder_of(key)))

    def entries(self) -> list[Entry]:
        """Return all entries, the most recently used first. Raises CorpusError."""
        found = []
        for path in self._folders(_KEY):
            with suppress(OSError):  # another process is removing it
                found.append(Entry(path, _size(path), path.stat().st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove all entries and leftovers; return the number of bytes freed.

        Raises CorpusError if that is not possible.
        """
        freed = 0
        try:
            if not self.encoded.is_dir():
                return 0
            with held(self.folder / _LOCK):
                for path in self._folders(_KEY):
                    with suppress(FileNotFoundError):  # another process has removed it
                        freed += _size(path)
                        gone = _take_away(path)
                        _remove(gone)
                        if os.path.lexists(gone):
                            raise CorpusError(f"{gone}: cannot be removed; do it yourself")
                return freed + self._remove_leftovers()
        except OSError as error:
            raise CorpusError(
                f"{self.encoded}: cannot be cleared ({error.strerror or error})"
            ) from error

    def _take_folders(self) -> None:
        """Make the folders for the user alone, and take from others what is there already."""
        make_private_folder(self.encoded)
        if self._is_default:
            take_folder(self.folder)
        if take_folder(self.encoded):  # as an earlier version has made it
            for entry in self._folders(_KEY):
                with suppress(OSError):
                    for path in (*entry.iterdir(), entry):
                        tighten(path)

    def _remove_leftovers(self) -> int:
        freed = 0
        for path in self._folders(_WORKSPACE):
            if path.is_symlink():
                _remove(path)
                continue
            # A process holds the lock of its workspace for as long as it lives.
            with suppress(Timeout, OSError), file_lock(path / _LOCK, timeout=0, private=True):
                freed += _size(path)
                _remove(path)
        return freed

    def _folders(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the folders that match; anything else in there does not belong to charrnn."""
        try:
            return [path for path in self.encoded.iterdir() if pattern.fullmatch(path.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise CorpusError(
                f"{self.encoded}: cannot be read ({error.strerror or error})"
            ) from error


@contextmanager
def writable_cache(folder: Path | None) -> Iterator[tuple[Cache, Path, str | None]]:
    """Open a cache and a workspace in it; also yield why the cache is a temporary one, or None.

    A temporary cache stands in for one that somebody else can change, and for the user's cache
    folder (folder=None) if that cannot be used. The caller removes it when its corpora are no
    longer in use; on an error it is removed here.
    Raises CorpusError if a folder was given and it is not writable, or if nothing can be used.
    """
    with ExitStack() as stack:
        cache, problem = Cache(folder), None
        try:
            workspace = stack.enter_context(cache.workspace())
        except OSError as error:
            problem = _problem(error)
            if folder is not None and not isinstance(error, NotPrivateError):
                raise CorpusError(
                    f"`cache_dir={folder}`: cannot be written ({error.strerror or error})"
                ) from error
            try:
                cache = Cache(Path(tempfile.mkdtemp(prefix="charrnn-")))
                stack.enter_context(_removed_on_error(cache.folder))
                workspace = stack.enter_context(cache.workspace())
            except OSError as second:
                raise CorpusError(
                    f"{problem}, and {cache.folder} neither ({second.strerror or second}); choose "
                    "another folder with `cache_dir`"
                ) from second
        yield cache, workspace, problem


def _problem(error: OSError) -> str:
    if isinstance(error, NotPrivateError | LockError):
        return f"the cache folder cannot be used, since {error}"
    return "the cache folder is not writable"


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _take_away(folder: Path) -> Path:
    """Rename a folder, so that it is no longer an entry; return where it is. Raises OSError."""
    return folder.rename(folder.with_name(f"{_PREFIX}{uuid.uuid4().hex}"))


def _remove(path: Path) -> None:
    """Remove a folder or a link, as far as that is possible; the next start tries again."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _size(folder: Path) -> int:
    """Add up the sizes of the files in a folder, which another process may be removing."""
    size = 0
    for path in folder.iterdir():
        with suppress(OSError):
            status = path.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size
