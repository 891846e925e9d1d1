"""Statistics of corpora, and the cache of encoded ones: part of the public Python API."""

from collections.abc import Sequence
from pathlib import Path

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.places import CorpusPlaces, path_or_none
from charrnn.text.advice import advice
from charrnn.text.cache import Cache
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.text.encoded import encode_corpus
from charrnn.text.entries import Progress
from charrnn.text.statistics import CorpusStatistics, statistics
from charrnn.text.store import StoredCorpus


def survey(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    corpus_config: CorpusConfig | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    on_progress: Progress = lambda _what, _done, _total: None,
) -> tuple[CorpusStatistics, tuple[str, ...]]:
    """Return the statistics of a corpus, and notices for the user.

    The arguments mean the same as in `train`. on_progress: called with what is being done, the
    number of bytes done, and the total. Raises CharrnnError.
    """
    places = CorpusPlaces.of(cache_dir, corpora_dir)
    config = corpus_config or CorpusConfig()
    encoded = encode_corpus(
        sources(corpus),
        config,
        Catalog(places.corpora_dir),
        cache_dir=places.cache_dir,
        on_progress=on_progress,
    )
    return statistics(encoded), (*encoded.notices, *advice(encoded, config))


def cached_corpora(
    cache_dir: str | Path | None = None,
) -> tuple[Path, list[tuple[str, int, float]]]:
    """Return the cache folder, and the name, size and last use of each corpus in it.

    Sizes are in bytes, times in seconds since 1970. The most recently used corpus comes first.
    Raises CorpusError if the folder cannot be read.
    """
    cache = Cache(path_or_none(cache_dir))
    found = []
    for entry in cache.entries():
        try:
            name = StoredCorpus.load(entry.path).name
        except (OSError, ValueError):
            name = "unusable"  # damaged, of another version, or not the user's alone
        found.append((name, entry.bytes, entry.used))
    return cache.folder, found


def clear_cache(cache_dir: str | Path | None = None) -> int:
    """Remove all encoded corpora from the cache; return the number of bytes freed.

    Runs in progress are not affected: they keep their files open. Raises CorpusError.
    """
    return Cache(path_or_none(cache_dir)).clear()


def sources(corpus: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return one or several paths or names as a tuple of strings."""
    if isinstance(corpus, str | Path):
        return (str(corpus),)
    return tuple(str(source) for source in corpus)
