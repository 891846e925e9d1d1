"""Where corpora are kept."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CorpusPlaces:
    """The folders of encoded corpora (None: the user's cache folder) and of fetched ones."""

    cache_dir: Path | None
    corpora_dir: Path

    @staticmethod
    def of(cache_dir: str | Path | None, corpora_dir: str | Path) -> "CorpusPlaces":
        """Take folders as text or paths."""
        return CorpusPlaces(path_or_none(cache_dir), Path(corpora_dir))


def path_or_none(path: str | Path | None) -> Path | None:
    """Return a path, or None for the default."""
    return None if path is None else Path(path)
