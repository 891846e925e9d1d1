"""The cache folder: corpora that were encoded once, so that the next run starts at once.

<folder>/encoded/<key>/    an encoded corpus, whole or absent; see encoded.py
<folder>/encoded/tmp-*/    work in progress, locked by its process; left-overs go at the next start
<folder>/lock              held for a moment while such a folder is made or removed
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """An encoded corpus in the cache: its folder, its size, and when it was last used (seconds)."""

    path: Path
    bytes: int
    used: float


class Cache:
    """A folder of encoded corpora. Two processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """Take the folder; the user's cache folder where left out."""
        self.folder = folder or Path(platformdirs.user_cache_dir("charrnn", appauthor=False))
        self.encoded = self.folder / "encoded"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Make a folder for work in progress, and remove it at the end; removes left-overs, too.

        Raises OSError where the cache cannot be written.
        """
        self.encoded.mkdir(parents=True, exist_ok=True)
        # So that no one takes for a left-over what is just being made.
        with FileLock(self.folder / _LOCK):
            self._remove_left_overs()
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.encoded))
            own = FileLock(path / _LOCK)
            own.acquire()
        try:
            yield path
        finally:
            own.release()
            shutil.rmtree(path, ignore_errors=True)

    def find(self, key: str) -> Path | None:
        """Return the entry of a key, and note that it was used."""
        path = self.encoded / key
        if not (path / META_FILE).is_file():
            return None
        with suppress(OSError):  # a cache that can be read alone
            os.utime(path)
        return path

    def commit(self, built: Path, key: str) -> Path:
        """Make a folder the entry of a key, in one step; one that is there already stays."""
        path = self.encoded / key
        if path.is_dir() and not (path / META_FILE).is_file():
            shutil.rmtree(path)  # was being removed
        try:
            built.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) and not path.is_dir():
                raise
        return path

    def entries(self) -> list[Entry]:
        """Return the entries, the one used last first."""
        found = []
        for path in self._folders(_KEY):
            with suppress(OSError):  # one that is being removed
                found.append(Entry(path, _size(path), path.stat().st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove all entries and left-overs; returns the bytes that are free again."""
        freed = 0
        for path in self._folders(_KEY):
            freed += _size(path)
            try:
                (path / META_FILE).unlink(missing_ok=True)  # from now on no entry
                shutil.rmtree(path)
            except OSError as error:
                raise CorpusError(f"{path}: cannot be removed ({error.strerror})") from error
        if not self.encoded.is_dir():
            return 0
        with FileLock(self.folder / _LOCK):
            return freed + self._remove_left_overs()

    def _remove_left_overs(self) -> int:
        freed = 0
        for path in self._folders(_WORKSPACE):
            # Its process holds the lock as long as it lives.
            with suppress(Timeout, OSError), FileLock(path / _LOCK, blocking=False):
                freed += _size(path)
                shutil.rmtree(path)
        return freed

    def _folders(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the folders of a kind; what else may be there is not charrnn's."""
        if not self.encoded.is_dir():
            return []
        return [path for path in self.encoded.iterdir() if pattern.fullmatch(path.name)]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
