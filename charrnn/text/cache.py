"""The cache folder: corpora that were encoded once, so that the next run starts at once.

<folder>/corpora/<key>/    an encoded corpus, whole or absent; see encoded.py
<folder>/corpora/tmp-*/    work in progress, locked by its process; left-overs go at the next start
<folder>/lock              held for a moment while such a folder is made or removed
"""

import errno
import os
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
_WORKSPACE = "tmp-"
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
        self.corpora = self.folder / "corpora"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Make a folder for work in progress, and remove it at the end; removes left-overs, too.

        Raises OSError where the cache cannot be written.
        """
        self.corpora.mkdir(parents=True, exist_ok=True)
        # So that no one takes for a left-over what is just being made.
        with FileLock(self.folder / _LOCK):
            self._remove_left_overs()
            path = Path(tempfile.mkdtemp(prefix=_WORKSPACE, dir=self.corpora))
            own = FileLock(path / _LOCK)
            own.acquire()
        try:
            yield path
        finally:
            own.release()
            shutil.rmtree(path, ignore_errors=True)

    def find(self, key: str) -> Path | None:
        """Return the entry of a key, and note that it was used."""
        path = self.corpora / key
        if not (path / META_FILE).is_file():
            return None
        with suppress(OSError):  # a cache that can be read alone
            os.utime(path)
        return path

    def commit(self, built: Path, key: str) -> Path:
        """Make a folder the entry of a key, in one step; one that is there already stays."""
        path = self.corpora / key
        try:
            built.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) and not path.is_dir():
                raise
        return path

    def entries(self) -> list[Entry]:
        """Return the entries, the one used last first."""
        found = [
            Entry(path.parent, _size(path.parent), path.parent.stat().st_mtime)
            for path in self.corpora.glob(f"*/{META_FILE}")
        ]
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove all entries and left-overs; returns the bytes that are free again."""
        freed = 0
        for path in [p for p in self.corpora.glob("*/") if not p.name.startswith(_WORKSPACE)]:
            freed += _size(path)
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise CorpusError(f"{path}: cannot be removed ({error.strerror})") from error
        if not self.corpora.is_dir():
            return 0
        with FileLock(self.folder / _LOCK):
            return freed + self._remove_left_overs()

    def _remove_left_overs(self) -> int:
        freed = 0
        for path in self.corpora.glob(f"{_WORKSPACE}*/"):
            # Its process holds the lock as long as it lives.
            with suppress(Timeout, OSError), FileLock(path / _LOCK, blocking=False):
                freed += _size(path)
                shutil.rmtree(path)
        return freed


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
