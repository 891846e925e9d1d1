"""Corpora looked at, and the cache of encoded ones. `import charrnn` offers these."""

from collections.abc import Sequence
from pathlib import Path

from charrnn.catalog.corpora import Catalog
from charrnn.text.cache import Cache
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.text.encoded import Progress, encode_corpus
from charrnn.text.statistics import CorpusStatistics, statistics
from charrnn.text.store import Stored


def survey(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    corpus_config: CorpusConfig | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    on_progress: Progress = lambda _what, _done, _total: None,
) -> tuple[CorpusStatistics, tuple[str, ...]]:
    """Return the figures of a corpus, and what else the user should know of it.

    The arguments are those of `train`, and so is what is read. Raises CharrnnError.
    """
    encoded = encode_corpus(
        sources(corpus),
        corpus_config or CorpusConfig(),
        Catalog(corpora_dir),
        cache_dir=path_or_none(cache_dir),
        on_progress=on_progress,
    )
    return statistics(encoded), encoded.notices


def cached_corpora(
    cache_dir: str | Path | None = None,
) -> tuple[Path, list[tuple[str, int, float]]]:
    """Return the cache folder, and of each corpus in it its name, bytes, and when it was used.

    The one used last comes first; the time is in seconds since 1970.
    """
    cache = Cache(path_or_none(cache_dir))
    found = []
    for entry in cache.entries():
        try:
            name = Stored.load(entry.path).name
        except (OSError, ValueError):
            name = "damaged"
        found.append((name, entry.bytes, entry.used))
    return cache.folder, found


def clear_cache(cache_dir: str | Path | None = None) -> int:
    """Remove all encoded corpora from the cache; returns the bytes that are free again.

    A run that is going on keeps what it has mapped.
    """
    return Cache(path_or_none(cache_dir)).clear()


def sources(corpus: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return one or several paths or names as a tuple of texts."""
    if isinstance(corpus, str | Path):
        return (str(corpus),)
    return tuple(str(source) for source in corpus)


def path_or_none(path: str | Path | None) -> Path | None:
    """Return a folder's path, None where it is left to charrnn."""
    return None if path is None else Path(path)
