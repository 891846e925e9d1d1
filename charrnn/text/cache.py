"""The cache folder: encoded corpora, so that the next run on the same text starts at once.

<folder>/encoded/<key>/    an encoded corpus, complete or absent; see entries.py
<folder>/encoded/tmp-*/    work in progress, locked by its process; leftovers go at the next start
<folder>/lock              held briefly while such a folder is created or removed
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from charrnn.errors import CorpusError

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
        self.folder = folder or Path(platformdirs.user_cache_dir("charrnn", appauthor=False))
        self.encoded = self.folder / "encoded"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Create a folder for work in progress, and remove it at the end.

        Also removes what killed processes left behind. Raises OSError if the cache is not writable.
        """
        self.encoded.mkdir(parents=True, exist_ok=True)
        # Otherwise another process could mistake a folder without its own lock for a leftover.
        with FileLock(self.folder / _LOCK):
            self._remove_leftovers()
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.encoded))
            own = FileLock(path / _LOCK)
            own.acquire()
        try:
            yield path
        finally:
            own.release()
            shutil.rmtree(path, ignore_errors=True)

    def find(self, key: str) -> Path | None:
        """Return the folder of an entry and mark it as used; None if there is no such entry."""
        path = self.encoded / key
        if not (path / META_FILE).is_file():
            return None
        with suppress(OSError):  # a read-only cache
            os.utime(path)
        return path

    def commit(self, built: Path, key: str) -> Path:
        """Turn a folder into an entry, atomically; keep the entry if there already is one."""
        path = self.encoded / key
        if path.is_dir() and not (path / META_FILE).is_file():
            shutil.rmtree(path)  # its removal was interrupted
        try:
            built.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) and not path.is_dir():
                raise
        return path

    def entries(self) -> list[Entry]:
        """Return all entries, the most recently used first."""
        found = []
        for path in self._folders(_KEY):
            with suppress(OSError):  # another process is removing it
                found.append(Entry(path, _size(path), path.stat().st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove all entries and leftovers; return the number of bytes freed."""
        freed = 0
        for path in self._folders(_KEY):
            freed += _size(path)
            try:
                (path / META_FILE).unlink(missing_ok=True)  # without it, this is no entry
                shutil.rmtree(path)
            except OSError as error:
                raise CorpusError(f"{path}: cannot be removed ({error.strerror})") from error
        if not self.encoded.is_dir():
            return 0
        with FileLock(self.folder / _LOCK):
            return freed + self._remove_leftovers()

    def _remove_leftovers(self) -> int:
        freed = 0
        for path in self._folders(_WORKSPACE):
            # A process holds the lock of its workspace for as long as it lives.
            with suppress(Timeout, OSError), FileLock(path / _LOCK, blocking=False):
                freed += _size(path)
                shutil.rmtree(path)
        return freed

    def _folders(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the folders that match; anything else in there does not belong to charrnn."""
        if not self.encoded.is_dir():
            return []
        return [path for path in self.encoded.iterdir() if pattern.fullmatch(path.name)]


@contextmanager
def writable_cache(folder: Path | None) -> Iterator[tuple[Cache, Path, bool]]:
    """Open a cache and a workspace in it; also yield whether the cache is a temporary one.

    A temporary cache stands in for the user's cache folder (folder=None) if that is not writable.
    The caller removes it when its corpora are no longer in use; on an error it is removed here.
    Raises CorpusError if a folder was given and it is not writable.
    """
    with ExitStack() as stack:
        cache, temporary = Cache(folder), False
        try:
            workspace = stack.enter_context(cache.workspace())
        except OSError as error:
            if folder is not None:
                raise CorpusError(
                    f"`cache_dir={folder}`: cannot be written ({error.strerror or error})"
                ) from error
            cache, temporary = Cache(Path(tempfile.mkdtemp(prefix="charrnn-"))), True
            stack.enter_context(_removed_on_error(cache.folder))
            workspace = stack.enter_context(cache.workspace())
        yield cache, workspace, temporary


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
